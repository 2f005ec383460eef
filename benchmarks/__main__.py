"""python -m benchmarks NAME [OPTIONS]: run the bench, study or drill of that name, wherever it stands."""

import runpy
import sys
from pathlib import Path

HERE = Path(__file__).parent
FOLDERS = ("benches", "studies", "drills")


def programs() -> dict[str, str]:
    """Return the module of each program by its name, dashes for underscores."""
    return {
        path.stem.replace("_", "-"): ".".join(("benchmarks", *path.relative_to(HERE).with_suffix("").parts))
        for folder in FOLDERS
        for path in sorted((HERE / folder).rglob("*.py"))
        if "def main(" in path.read_text(encoding="utf-8")
    }


def main() -> None:
    """Run one program; an unknown name ends in one line and exit code 2."""
    names = programs()
    if len(sys.argv) < 2 or sys.argv[1] not in names:
        sys.stderr.write(f"benchmarks: give one of {', '.join(names)}\n")
        raise SystemExit(2)
    module = names[sys.argv[1]]
    sys.argv = sys.argv[1:]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
