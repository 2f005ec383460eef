"""Every format: is it read, does it equal its library, what becomes of damaged files, what memory does an hour take?

`python -m benchmarks formats`. Files are written here, by the format's library where it can write; where
CEREBEAM_REAL_DATA is set, ANT's .cnt, which nothing writes, is taken from there, and the odd files are counted.
"""

import argparse
import os
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from benchmarks.benches.recordings.file_formats import FORMATS, NAMES, SFREQ, Format, slow_noise
from benchmarks.drills.fuzzing.children import Series, fuzz
from benchmarks.drills.fuzzing.damages import PARTS
from benchmarks.harness import figure, machine, run
from signals.readers.channels.channel_maps import ChannelMap
from signals.readers.declaration import Declaration
from signals.readers.layouts.layout import layout_of
from signals.readers.registry import open_recording
from signals.recording.recording import Recording, UnreadableError

HOUR_CHANNELS, HOUR_HZ = 64, 256


def declared(path: Path) -> Declaration:
    """Return how this bench's own arrays and tables are laid out, and its nets; children of the fuzz need it too."""
    if path.suffix in (".raw", ".mff"):
        net = tuple((f"E{number + 1}", label) for number, label in enumerate(NAMES))
        return Declaration(channel_map=ChannelMap(name="net", labels=net))
    layouts = []
    for n_chans, sfreq in ((len(NAMES), SFREQ), (HOUR_CHANNELS, HOUR_HZ)):
        labels = [*NAMES, *(f"X{k}" for k in range(n_chans - len(NAMES)))]
        common = {"channels": labels, "rate": sfreq, "unit": "µV"}
        arrays = {"formats": ["mat", "npz", "npy", "h5"], "variable": "eeg|array"}
        layouts.append(layout_of(common | arrays, name=f"bench-arrays-{n_chans}"))
        layouts.append(layout_of(common | {"formats": ["csv", "parquet"]}, name=f"bench-tables-{n_chans}"))
    return Declaration(layouts=tuple(reversed(layouts)))


def base_of(form: Format, folder: Path) -> Path | None:
    """Write the sound recording of a format into a folder of its own; None where there is neither writer nor file."""
    place = folder / f"{form.name}{PARTS}"
    place.mkdir()
    path = place / form.file
    if form.write is not None:
        form.write(path, slow_noise(), NAMES, SFREQ)
        return path
    root = os.environ.get("CEREBEAM_REAL_DATA")
    found = sorted(Path(root).glob(form.real)) if root else []
    if not found:
        return None
    path.write_bytes(found[0].read_bytes())
    return path


def samples(recording: Recording) -> np.ndarray:
    """Return all samples of all segments one after the other, shape (n_chans, n_times)."""
    picks = range(len(recording.ch_names))
    return np.concatenate([recording.read(picks, segment=k) for k in range(len(recording.segments))], axis=1)


def equals_reference(form: Format, path: Path) -> bool:
    """Return whether what we read is what another program reads, within the rounding of float32."""
    recording = open_recording(str(path), declared=declared(path))
    ours, theirs = samples(recording), np.asarray(form.reference(path))
    kinds = recording.sensor_types[: min(len(ours), len(theirs))]
    electric = [k for k, kind in enumerate(kinds) if kind in ("eeg", "eog", "emg")]
    if ours.shape[1] != theirs.shape[1] or not electric:
        return False
    return bool(np.abs(ours[electric] - theirs[electric]).max() <= form.tolerance_uv)


def try_formats(chosen: Sequence[Format], bases: dict[str, Path]) -> tuple[int, int]:
    """Print what is read and what equals its reference; returns both counts."""
    n_read = n_equal = 0
    for form in chosen:
        if form.name not in bases:
            print(f"{form.name:14s} no file: nothing writes it, and CEREBEAM_REAL_DATA is not set")
            continue
        began = time.perf_counter()
        try:
            recording = open_recording(str(bases[form.name]), declared=declared(bases[form.name]))
            equal = equals_reference(form, bases[form.name])
        except UnreadableError as error:
            print(f"{form.name:14s} refused: {error}")
            continue
        n_read, n_equal = n_read + 1, n_equal + equal
        source = "real file" if form.write is None else "written here"
        print(
            f"{form.name:14s} {len(recording.ch_names):3d} channels, {source}, "
            f"{'equals' if equal else 'DIFFERS FROM'} {form.by}, {time.perf_counter() - began:.1f} s"
        )
    return n_read, n_equal


def fuzz_formats(chosen: Sequence[Format], bases: dict[str, Path], n: int) -> int:
    """Damage each new format `n` times and print what became of it; returns how many files were lost."""
    n_lost = 0
    for form in chosen:
        if not form.is_new or form.name not in bases:
            continue
        began = time.perf_counter()
        base, declares = bases[form.name], "benchmarks.benches.recordings.formats:declared"
        series = Series(bases=(base,), seed=0, libraries=(base.suffix,) if form.library else (), declares=declares)
        outcomes = list(fuzz(series, range(n)))
        lost = [outcome for outcome in outcomes if outcome.is_lost]
        counts = Counter(outcome.result for outcome in outcomes if not outcome.is_lost)
        print(f"{form.name:14s} {dict(counts.most_common())}, {len(lost)} lost, {time.perf_counter() - began:.0f} s")
        for outcome in lost:
            print(f"    lost {outcome.number} ({outcome.seconds:.1f} s): {outcome.result}")
        n_lost += len(lost)
    return n_lost


def awkward_share() -> float | None:
    """Return the share of the odd files that open, None without CEREBEAM_REAL_DATA."""
    root = Path(os.environ.get("CEREBEAM_REAL_DATA", "/nonexistent"), "awkward")
    files = [path for path in sorted(root.glob("*/*")) if path.suffix not in (".eeg", ".vmrk")]
    if not files:
        return None
    refused = []
    for path in files:
        try:
            open_recording(str(path))
        except UnreadableError as error:
            refused.append(f"{path.name} ({error.reason})")
    print(f"odd files: {len(files) - len(refused)} of {len(files)} open; refused: {', '.join(refused)}")
    return 1 - len(refused) / len(files)


def memory_of_an_hour(chosen: Sequence[Format], folder: Path) -> None:
    """Print the peak memory of reading an hour of 64 channels in blocks of 10 s, our process and the library's."""
    labels = [*NAMES, *(f"X{k}" for k in range(HOUR_CHANNELS - len(NAMES)))]
    rng = np.random.default_rng(0)
    x = np.round(rng.normal(0, 3, (HOUR_CHANNELS, 3600 * HOUR_HZ)).cumsum(axis=1) % 400 - 200, 1)
    for form in chosen:
        if form.write is None or form.name == "csv":  # a text of 300 MB tells nothing new
            continue
        place = folder / f"hour-{form.name}"
        place.mkdir()
        path = place / form.file
        form.write(path, x, labels, HOUR_HZ)
        run(sys.executable, "-m", "benchmarks.benches.recordings.formats", "--read", path, "--name", form.name)
        for file in sorted(place.rglob("*"), reverse=True):
            file.unlink() if file.is_file() else file.rmdir()


def _peak_mb(pid: int) -> float:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next((int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM")), 0.0)


def _children() -> list[int]:
    """Return the processes that this one has started and that still run."""
    found = []
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = status.read_text().rpartition(")")[2].split()
        except OSError:  # it has just ended
            continue
        if int(fields[1]) == os.getpid():
            found.append(int(status.parent.name))
    return found


def read_in_blocks(path: Path, name: str) -> None:
    """Read a recording in blocks of 10 s and print the peak memory of this process and of the library's."""
    recording = open_recording(str(path), declared=declared(path))
    began = time.perf_counter()
    for segment in range(len(recording.segments)):
        n_times, step = recording.n_times(0, segment), round(10 * recording.sfreqs[0])
        for start in range(0, n_times, step):
            recording.read(
                range(len(recording.ch_names)), segment=segment, start=start, stop=min(start + step, n_times)
            )
    seconds = time.perf_counter() - began
    own, library = _peak_mb(os.getpid()), sum(_peak_mb(pid) for pid in _children())
    print(f"{name:14s} {own:.0f} MB here, {library:.0f} MB in the library's process, {seconds:.1f} s", flush=True)
    figure(f"formats_hour_{name}", own + library, "MB")


def main(argv: Sequence[str] | None = None) -> int:
    """Print the table and the figures; returns 1 where a damaged file was lost or a format differs."""
    parser = argparse.ArgumentParser(
        prog="benchmarks.benches.recordings.formats", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("--n", type=int, default=200, help="damages per new format; 0 for none")
    parser.add_argument("--formats", nargs="+", choices=[form.name for form in FORMATS], help="only these")
    parser.add_argument("--no_memory", action="store_true", help="leave the hour of 64 channels out")
    parser.add_argument("--read", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--name", default="", help=argparse.SUPPRESS)
    args = parser.parse_args(argv)
    if args.read:
        read_in_blocks(args.read, args.name)
        return 0
    print(machine())
    with tempfile.TemporaryDirectory() as folder:
        chosen = [form for form in FORMATS if args.formats is None or form.name in args.formats]
        written = {form.name: base_of(form, Path(folder)) for form in chosen}
        bases = {name: path for name, path in written.items() if path is not None}
        n_read, n_equal = try_formats(chosen, bases)
        share = awkward_share()
        n_lost = fuzz_formats(chosen, bases, args.n) if args.n else 0
        if not args.no_memory:
            memory_of_an_hour(chosen, Path(folder))
    figure("formats_read", n_read, "formats")
    figure("formats_checked_against_reference", n_equal, "formats")
    if args.n:
        figure("formats_fuzz_lost", n_lost, "files")
    if share is not None:
        figure("awkward_accepted_share", share, "of files")
    return int(n_lost > 0 or n_equal < n_read)


if __name__ == "__main__":
    sys.exit(main())
