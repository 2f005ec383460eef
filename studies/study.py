"""Studies by name: `cerebeam study NAME [OPTIONS]`; each is a configuration of one engine (studies/engine).

All take --shards, --task, --output, --encoder or --encoders, --group, --folds, --seeds, --jobs, and
`--SECTION.FIELD VALUE` for every model that trains by a recipe; `cerebeam study NAME --help` lists the rest.
"""

import importlib
import sys
from collections.abc import Sequence

from signals.command_line import show
from signals.help_pages import Page

STUDIES = {
    "fair": ("studies.comparisons.fair", "every model, tuned alike, beside the best trivial one"),
    "loso": ("studies.loso", "one site left out at a time, and the final model"),
    "crossval": ("studies.crossval", "out-of-fold predictions of recipes, by patient"),
    "transfer": ("studies.transfer", "ways of using an encoder, and baselines"),
    "curve": ("studies.comparisons.curve", "models that learn from 8 to 192 people"),
    "ablation": ("studies.comparisons.ablation", "one probe on encoders of different pretrainings"),
    "stress": ("studies.stress", "predictions of recordings made worse, level by level"),
    "synthetic-to-real": ("studies.synthetic_to_real", "a six-class reader that needs no real label"),
}
"""Module and one line about it, by name."""


def page(prog: str) -> Page:
    """Return the list of studies, as help."""
    return Page(
        prog=prog, about=(__doc__ or "").partition(":")[0], commands=tuple((k, v[1]) for k, v in STUDIES.items())
    )


def main(argv: Sequence[str] | None = None, *, prog: str = "cerebeam study") -> None:
    """Run one study; exits with code 0 after the list of studies, with code 2 and one line for an unknown one."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    if arguments[:1] in (["-h"], ["--help"]):
        show(page(prog))
        raise SystemExit(0)
    if not arguments or arguments[0] not in STUDIES:
        given = repr(arguments[0]) if arguments else "none"
        sys.stderr.write(f"{prog}: no study {given}; give one of {', '.join(STUDIES)}\n")
        raise SystemExit(2)
    importlib.import_module(STUDIES[arguments[0]][0]).main(arguments[1:])


if __name__ == "__main__":
    main()
