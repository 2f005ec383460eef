"""The blocks of code of the pages, and what becomes of each."""

import re
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[3]
_FENCE = re.compile(r"^```([a-z]*)([^\n`]*)\n(.*?)^```", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True, kw_only=True)
class Block:
    """A fenced block."""

    page: str
    """Its path below docs/, or its name at the root."""
    kind: str
    """The word after the fence, "none" without."""
    text: str

    @property
    def key(self) -> str:
        """Return the name that docs/blocks.toml has for blocks like it."""
        return f"{self.page} {self.kind}"


def blocks() -> Iterator[Block]:
    """Yield all blocks of README.md, CONTRIBUTING.md and docs/."""
    pages = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
    for page in pages:
        below = page.relative_to(ROOT / "docs") if (ROOT / "docs") in page.parents else page.relative_to(ROOT)
        for kind, _, text in _FENCE.findall(page.read_text(encoding="utf-8")):
            yield Block(page=below.as_posix(), kind=kind or "none", text=text)


def register() -> tuple[dict[str, str], dict[str, str]]:
    """Return the test of each kind of block that is run, and the reason of each that is not."""
    read = tomllib.loads((ROOT / "docs" / "blocks.toml").read_text(encoding="utf-8"))
    return read["run"], read["not_run"]
