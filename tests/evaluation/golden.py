"""Files of what was computed when it was last looked at, and where a value is another one now.

They are written by `CEREBEAM_WRITE_GOLDEN=1 pytest`: whoever changes a result on purpose runs that, reads the
difference, and gives the reason in the commit.
"""

import json
import math
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

GOLDEN = Path(__file__).parents[1] / "golden"


def kept(path: str, text: str) -> str:
    """Return the text of a golden file; where golden files are written, this text."""
    file = GOLDEN / path
    if os.environ.get("CEREBEAM_WRITE_GOLDEN"):
        file.parent.mkdir(exist_ok=True)
        file.write_text(text, encoding="utf-8")
    return file.read_text(encoding="utf-8")


def kept_json(path: str, values: Any) -> Any:
    """Return the values of a golden JSON file; where golden files are written, these."""
    return json.loads(kept(path, json.dumps(values, indent=0, ensure_ascii=False).replace(",\n", ",") + "\n"))


def gaps(known: Any, found: Any, place: str = "", *, rel: float = 1e-3) -> Iterator[str]:
    """Yield every place where values are not those of the golden file, to a relative difference of `rel`.

    A probe of what was erased decides between classes that are equally likely, and a processor's last bit turns some
    of those decisions: it may differ by a fifth.
    """
    if place.endswith("_probe_erased"):
        rel = 0.2
    if isinstance(known, dict) and isinstance(found, dict):
        yield from (f"{place}.{key}: only on one side" for key in known.keys() ^ found.keys())
        for key in known.keys() & found.keys():
            yield from gaps(known[key], found[key], f"{place}.{key}", rel=rel)
    elif isinstance(known, list) and isinstance(found, list) and len(known) == len(found):
        for i, (a, b) in enumerate(zip(known, found, strict=True)):
            yield from gaps(a, b, f"{place}[{i}]", rel=rel)
    elif isinstance(known, float) and isinstance(found, float | int):
        if not math.isclose(known, found, rel_tol=rel, abs_tol=rel / 1000):
            yield f"{place}: {known} is now {found}"
    elif known != found:
        yield f"{place}: {known!r} is now {found!r}"
