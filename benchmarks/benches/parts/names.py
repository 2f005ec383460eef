"""Names planted in recordings and tables, and looked for in everything that runs over them leave and print."""

import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from pyarrow.parquet import read_table

from benchmarks.harness import figure
from signals.shards.tfrecord import read_shard
from synthetic.recordings.named import PLANTED, NamedTree, write_named

RUNS: tuple[tuple[str, ...], ...] = (
    (), ("--site-from", "constant:ward-1"), ("--direct_num_workers=2",), ("--keep", "device,start-hour,age-group"),
)  # fmt: skip
"""Options of the runs that are searched."""


def traces(text: bytes, names: Sequence[str]) -> list[str]:
    """Return the names that stand in some bytes, whatever their case, as text of one or of two bytes a letter."""
    lower = text.lower()
    return [name for name in names if name.lower().encode() in lower or name.lower().encode("utf-16-le") in lower]


def texts_left(output: Path) -> Iterator[tuple[str, bytes]]:
    """Yield (where, bytes) of everything in a shard set: names of files, files, records and indexes decompressed."""
    for path in sorted(path for path in output.rglob("*") if path.is_file()):
        where = path.relative_to(output).as_posix()
        yield where, where.encode() + path.read_bytes()
        if path.suffix == ".snappy":
            yield from ((where, record) for record in read_shard(path))
        elif path.suffix == ".parquet":
            yield where, str(read_table(path).to_pylist()).encode()


def search(tree: NamedTree, output: Path, options: Sequence[str]) -> list[str]:
    """Preprocess a tree that names somebody and return a line per name that is found again, and where."""
    command = [
        sys.executable, "-m", "pipelines.preprocess", "--input", str(tree.root), "--labels", str(tree.labels),
        "--output", str(output), "--salt", "s", *options,
    ]  # fmt: skip
    process = subprocess.run(command, capture_output=True, check=False)
    if process.returncode:
        raise RuntimeError(f"the run over planted names failed: {process.stderr.decode().strip()}")
    texts = [*texts_left(output), ("what the run prints", process.stdout + process.stderr)]
    return sorted({f"{name} in {where}" for where, text in texts for name in traces(text, list(PLANTED))})


def names_found() -> None:
    """Print how many names were planted, and how many of them are found again after several runs."""
    found = []
    with tempfile.TemporaryDirectory() as folder:
        tree = write_named(Path(folder))
        for number, options in enumerate(RUNS):
            lines = search(tree, Path(folder) / f"out{number}", options)
            found += lines
            print(f"  names after a run with {' '.join(options) or 'no options'}: {len(lines)} found", flush=True)
            for line in lines:
                print(f"    {line}", flush=True)
    figure("names_planted", len(PLANTED), "names")
    figure("names_found", len(found), "names")
