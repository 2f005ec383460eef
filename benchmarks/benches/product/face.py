"""What a user meets first: help of every command, the import of the API, wrong invocations, what each extra brings.

`make bench-face`; `--tiny` takes a few of each. `--install` installs the wheel with each extra into an environment of
its own, one after the other, and removes it.
"""

import argparse
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.benches.parts.doc_blocks import blocks, register
from benchmarks.harness import figure, machine
from cerebeam.cli import COMMANDS
from cerebeam.help.pages import load

ROOT = Path(__file__).parents[3]
EXTRAS = ("", "serve", "beam", "train", "service", "all")
CLI = (sys.executable, "-c", "import sys; from cerebeam.cli import main; sys.exit(main())")


def seconds(*command: str, n: int = 3) -> float:
    """Return the median seconds of a command, to its end; it must succeed."""
    taken = []
    for _ in range(n):
        started = time.perf_counter()
        subprocess.run(command, check=True, capture_output=True)
        taken.append(time.perf_counter() - started)
    return statistics.median(taken)


def walk_help(names: list[str], *, n: int) -> dict[str, float]:
    """Return the seconds of `--help` of each command, from typing it to its end."""
    return {name: seconds(*CLI, *name.split(), "--help", n=n) for name in names}


def import_ms(*, n: int) -> float:
    """Return what `import cerebeam` adds to the start of Python, ms."""
    code = "import time; t = time.perf_counter(); import cerebeam; print(1000 * (time.perf_counter() - t))"
    runs = [subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True) for _ in range(n)]
    return statistics.median(float(run.stdout) for run in runs)


def build(folder: Path) -> Path:
    """Build sdist and wheel; returns the wheel."""
    copy = folder / "source"
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, check=True, capture_output=True, text=True).stdout
    for name in filter(None, listed.split("\0")):
        if (ROOT / name).is_file():
            (copy / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, copy / name)
    code = "from setuptools import build_meta as b; import sys; f = sys.argv[1]; b.build_sdist(f); b.build_wheel(f)"
    subprocess.run([sys.executable, "-c", code, str(folder)], cwd=copy, check=True, capture_output=True)
    assert list(folder.glob("cerebeam-*.tar.gz"))
    return next(folder.glob("cerebeam-*.whl"))


def install(wheel: Path, extra: str, folder: Path) -> tuple[float, float]:
    """Install the wheel with an extra into a new environment; returns (seconds, MB)."""
    made = folder / f"env-{extra or 'base'}"
    subprocess.run([sys.executable, "-m", "venv", str(made)], check=True)
    before = size_mb(made)
    target = f"{wheel}[{extra}]" if extra else str(wheel)
    command = [made / "bin" / "python", "-m", "pip", "install", "-q", "-c", ROOT / "constraints.txt", target]
    started = time.perf_counter()
    subprocess.run([str(part) for part in command], check=True)
    taken, grown = time.perf_counter() - started, size_mb(made) - before
    subprocess.run([made / "bin" / "cerebeam", "--help"], check=True, capture_output=True)
    shutil.rmtree(made)
    return taken, grown


def size_mb(folder: Path) -> float:
    """Return the size of a folder's files, MB."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file() and not path.is_symlink()) / 1e6


def main() -> None:
    """Measure, and print the figures."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--tiny", action="store_true", help="a few commands, few invocations, no installation")
    parser.add_argument("--install", nargs="*", choices=EXTRAS, help="extras to install; all if none is named")
    given = parser.parse_args()
    print(machine())
    n = 1 if given.tiny else 3
    names = ["predict", "loso", "shards merge"] if given.tiny else list(load())
    walked = walk_help(names, n=n)
    worst = max(walked, key=lambda name: walked[name])
    print(f"slowest help: cerebeam {worst}")
    figure("cli_help_worst_s", walked[worst], "s")
    figure("cli_commands", len(COMMANDS), "")
    figure("cli_commands_walked", len({name.split()[0] for name in walked}), "")
    figure("import_ms", import_ms(n=n), "ms")
    all_blocks, (run, _) = list(blocks()), register()
    figure("docs_blocks", len(all_blocks), "")
    figure("docs_blocks_run", sum(block.key in run for block in all_blocks), "")
    every = ("--every", "100" if given.tiny else "1")
    subprocess.run([sys.executable, "-m", "benchmarks", "invocations", *every], check=True)
    if given.install is not None:
        with tempfile.TemporaryDirectory(prefix="install-") as folder:
            wheel = build(Path(folder))
            for extra in given.install or EXTRAS:
                taken, grown = install(wheel, extra, Path(folder))
                print(f"extra {extra or 'none'}")
                figure(f"install_seconds_{extra or 'base'}", taken, "s")
                figure(f"install_mb_{extra or 'base'}", grown, "MB")


if __name__ == "__main__":
    main()
