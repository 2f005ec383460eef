"""make bench-preprocess: how fast, how small and how steady preprocessing is, beside MNE on the same files.

    python -m benchmarks preprocess [--output DIR] [--only PART ...] [--rounds N]

Parts: throughput (against MNE, and against reading alone), workers, memory, slope, shards, opening, stages, filters,
splines.
Everything runs on one thread but `workers`. Recordings are generated, except for `splines`, which reads real ones.
"""

import argparse
import os
import shutil
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from benchmarks.benches.parts.filters import filters
from benchmarks.benches.parts.shards import shards
from benchmarks.benches.parts.splines import joined_errors, predicted_errors, splines
from benchmarks.benches.parts.stages import stages
from benchmarks.harness import figure, machine, module
from signals.conditioning.conditioning import Conditioner
from signals.conditioning.filters import bandpass, effective_band
from signals.modality import EEG_1020
from signals.montage.labels import find_electrodes
from signals.montage.montage import harmoniser
from signals.readers.registry import open_recording, reopen_recording
from signals.windows.native import read_native
from signals.windows.plan import plan_recording
from signals.windows.prepare import prepare_recording
from signals.windows.profiles import PRETRAIN
from synthetic.recordings.long_recording import long_recording

FILES = ((64, 160), (21, 500), (32, 256))
"""(channels, Hz) of the recordings, 1 h each."""
MAINS_HZ = 50.0
BLOCK_S = PRETRAIN.block_s
REOPENINGS = 2029
"""How often recordings are opened while 50 of 24 h are written: shards draw their chunks at random, 8 stay open."""
AGREE = 0.005
"""Largest RMS difference between two chains, over the signal's RMS, within 1-45 Hz: both filters ripple by 0.2%."""


def recordings(output: Path, hours: float, n_chans: int, sfreq: int, *, seed: int = 1) -> Path:
    """Return a generated EDF file of that size, made where it is not there yet."""
    path = output / f"{n_chans}x{sfreq}-{hours:g}h-{seed}.edf"
    if not path.exists():
        output.mkdir(parents=True, exist_ok=True)
        long_recording(path, hours=hours, n_chans=n_chans, sfreq=sfreq, seed=seed)
    return path


def conditioned(path: Path) -> Iterator[np.ndarray]:
    """Read, notch, band-pass and resample the 19 channels; yields float32 µV block by block, as the pipeline does."""
    recording = open_recording(str(path))
    electrodes = find_electrodes(recording.ch_names, recording.sensor_types)
    fit = harmoniser(electrodes.derivations, EEG_1020, "source")
    picks, sfreq = [electrodes.picks[i] for i in fit.used], recording.sfreqs[electrodes.picks[0]]
    chain = Conditioner(
        harmoniser=fit, native_sfreq=sfreq, sfreq=EEG_1020.sfreq, mains_hz=MAINS_HZ,
        offsets=(0.0,) * len(electrodes.picks),
        band=effective_band(0.5, PRETRAIN.h_freq, native_sfreq=sfreq, sfreq=EEG_1020.sfreq),
    )  # fmt: skip
    n_out, n_block = chain.n_times(recording.n_times(picks[0])), int(BLOCK_S * EEG_1020.sfreq)
    for start in range(0, n_out, n_block):
        stop = min(start + n_block, n_out)
        yield chain.condition(read_native(recording, picks, chain, segment=0, start=start, stop=stop), start, stop).x


def ours(path: Path) -> int:
    """Go through all blocks; returns the number of samples. They need not lie in memory together, so they do not."""
    return sum(block.shape[1] for block in conditioned(path))


def reading(path: Path) -> None:
    """Read and decode what `ours` reads, and nothing else."""
    recording = open_recording(str(path))
    picks = [recording.ch_names.index(name) for name in EEG_1020.ch_names]
    n_times, n_block = recording.n_times(picks[0]), int(BLOCK_S * recording.sfreqs[picks[0]])
    for start in range(0, n_times, n_block):
        recording.read(picks, start=start, stop=min(start + n_block, n_times))


def mne_usual(path: Path) -> np.ndarray:
    """MNE as it is mostly written: everything on all channels, then the pick; returns float64 V."""
    import mne

    raw = mne.io.read_raw_edf(path, preload=True, verbose="error")
    raw.notch_filter(MAINS_HZ, verbose="error")
    raw.filter(0.5, None, verbose="error")
    raw.resample(EEG_1020.sfreq, method="polyphase", verbose="error")
    return np.asarray(raw.pick(list(EEG_1020.ch_names)).get_data())


def mne_best(path: Path) -> np.ndarray:
    """MNE at its best: only the 19 channels are read, and filters run at the lower of the two rates."""
    import mne

    raw = mne.io.read_raw_edf(path, include=list(EEG_1020.ch_names), preload=True, verbose="error")
    down = raw.info["sfreq"] > EEG_1020.sfreq
    if down:
        raw.resample(EEG_1020.sfreq, method="polyphase", verbose="error")
    raw.notch_filter(MAINS_HZ, verbose="error")
    raw.filter(0.5, None, verbose="error")
    if raw.info["sfreq"] < EEG_1020.sfreq:
        raw.resample(EEG_1020.sfreq, method="polyphase", verbose="error")
    return raw.pick(list(EEG_1020.ch_names)).get_data()


def difference(a: np.ndarray, b: np.ndarray) -> float:
    """Return the RMS of a - b over that of b within 1-45 Hz, where all chains pass everything; ends left out."""
    n_edge = int(10 * EEG_1020.sfreq)
    cut = slice(0, int(600 * EEG_1020.sfreq))
    a, b = (bandpass(x[:, cut], EEG_1020.sfreq, l_freq=1.0, h_freq=45.0)[:, n_edge:-n_edge] for x in (a, b))
    return float(np.std(a - b) / np.std(b))


def interleaved(jobs: dict[str, Callable[[], object]], rounds: int) -> dict[str, list[float]]:
    """Return the seconds of each job in each round; the first round, which warms the caches, is not counted."""
    seconds: dict[str, list[float]] = {name: [] for name in jobs}
    for _ in range(rounds + 1):
        for name, job in jobs.items():
            started = time.perf_counter()
            job()
            seconds[name].append(time.perf_counter() - started)
    return {name: values[1:] for name, values in seconds.items()}


def throughput(output: Path, rounds: int) -> None:
    """The steps that both do, against MNE's usual and best chain, and against reading alone."""
    ratios: dict[str, list[float]] = {"usual": [], "best": [], "read": []}
    for n_chans, sfreq in FILES:
        path = recordings(output, 1, n_chans, sfreq)
        chains = {"usual": mne_usual, "best": mne_best}
        result = np.concatenate(list(conditioned(path)), axis=1)
        for name, chain in chains.items():
            apart = difference(result, 1e6 * chain(path))
            print(f"  {path.name}: differs from MNE {name} by {apart:.2%} of the RMS within 1-45 Hz")
            if apart > AGREE:
                sys.exit(f"the outputs differ by more than {AGREE:.1%}: they are not the same job")
        del result
        jobs = {"ours": lambda: ours(path), "read": lambda: reading(path)}  # noqa: B023
        jobs |= {name: lambda chain=chain: chain(path) for name, chain in chains.items()}  # type: ignore[misc]  # noqa: B023
        seconds = interleaved(jobs, rounds)
        middle = {name: statistics.median(values) for name, values in seconds.items()}
        for name, values in seconds.items():
            print(
                f"  {path.name}: {name:<6}{middle[name]:7.3f} s [{min(values):.3f}, {max(values):.3f}]"
                f"{60 / middle[name]:8.0f} EEG-hours/min"
            )
        for name in ratios:
            ratio = middle["read"] / middle["ours"] if name == "read" else middle[name] / middle["ours"]
            ratios[name].append(ratio)
        tag = f"{n_chans}ch_{sfreq}hz"
        figure(f"preprocess_hours_per_minute_{tag}", 60 / middle["ours"], "EEG-hours/min")
        figure(f"preprocess_vs_mne_usual_{tag}", ratios["usual"][-1], "x")
        figure(f"preprocess_vs_mne_best_{tag}", ratios["best"][-1], "x")
    figure("preprocess_vs_mne_usual", min(ratios["usual"]), "x")
    figure("preprocess_vs_mne_best", min(ratios["best"]), "x")
    figure("preprocess_share_of_read_limit", min(ratios["read"]), "share")


def pipeline(output: Path, inputs: list[Path], *options: str) -> tuple[float, float]:
    """Run the Beam entry; returns (seconds, peak MB of the process itself)."""
    shutil.rmtree(output / "shards", ignore_errors=True)
    args = ("--input", *inputs, "--output", output / "shards", "--salt", "bench", *options)
    return module("pipelines.preprocess", *args)


def workers(output: Path, rounds: int) -> None:
    """The whole pipeline on 100 EEG-hours with one process and with two, start included; 6 GB of files."""
    inputs = [recordings(output, 5, 32, 256, seed=seed) for seed in range(20)]
    hours = 5 * len(inputs)
    seconds: dict[int, list[float]] = {1: [], 2: []}
    for _ in range(max(1, rounds // 5)):
        for n in seconds:
            seconds[n].append(pipeline(output, inputs, "--shard-mb", "16", f"--direct_num_workers={n}")[0])
    for n, values in seconds.items():
        middle = statistics.median(values)
        print(
            f"  {n} worker(s), {hours} h: {middle:.1f} s [{min(values):.1f}, {max(values):.1f}], "
            f"{60 * hours / middle:.1f} EEG-hours/min"
        )
    figure("preprocess_two_workers", statistics.median(seconds[1]) / statistics.median(seconds[2]), "x")
    figure("preprocess_whole_chain_hours_per_minute", hours / statistics.median(seconds[1]) * 60, "EEG-hours/min")


def memory(output: Path, _: int) -> None:
    """Peak memory of the whole pipeline on 1 h and 24 h of 64 channels at 512 Hz; the long file is 5.7 GB."""
    hour = recordings(output, 1, 64, 512)
    day = output / "day.edf"
    header, n_header = hour.read_bytes()[: 256 * 65], 256 * 65
    try:
        with day.open("wb") as file:
            file.write(header[:236] + f"{24 * 3600:<8}".encode() + header[244:])
            for _hour in range(24):
                with hour.open("rb") as source:
                    source.seek(n_header)
                    shutil.copyfileobj(source, file, 1 << 24)
        peaks = {}
        for name, path in (("1h", hour), ("24h", day)):
            seconds, peaks[name] = pipeline(output, [path])
            print(f"  {name}: {path.stat().st_size / 1e6:.0f} MB of EDF, {seconds:.1f} s, peak {peaks[name]:.0f} MB")
            figure(f"preprocess_peak_mb_{name}", peaks[name], "MB")
        figure("preprocess_peak_24h_vs_1h", peaks["24h"] / peaks["1h"], "x")
    finally:
        day.unlink(missing_ok=True)


def slope(output: Path, _: int) -> None:
    """Seconds for 1, 2, 4 and 8 h from file to windows, in this process; the exponent of a power law through them."""
    hours, seconds = (1, 2, 4, 8), []
    for n in (0.01, *hours):  # the first imports and designs what the others use
        path = recordings(output, n, 32, 256, seed=9)
        started = time.perf_counter()
        recording = open_recording(str(path))
        plan = plan_recording(recording, PRETRAIN, site_id="s", subject_id="p", source_sha256="0" * 64)
        n_windows = sum(1 for _ in prepare_recording(recording, plan))
        seconds.append(time.perf_counter() - started)
        print(f"  {n} h: {seconds[-1]:.2f} s, {n_windows} windows, {1000 * seconds[-1] / n_windows:.2f} ms each")
        path.unlink()
    figure("preprocess_slope", np.polyfit(np.log(hours), np.log(seconds[1:]), 1)[0], "exponent")


def shards_part(output: Path, _: int) -> None:
    """Size of shards against EDF and GZIP, and how fast they are read."""
    shards(recordings(output, 1, 19, 256), output)


def day_of_records(path: Path) -> None:
    """Write 24 h of EDF+ with records of 1 s, 19 channels at 128 Hz, an event every 50 s, unless it is there."""
    if path.exists():
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    n_records, n_bytes = 24 * 3600, 114
    labels, per_record = [*EEG_1020.ch_names, "EDF Annotations"], [128] * 19 + [n_bytes // 2]
    columns = (
        (labels, 16), ([""] * 20, 80), (["uV"] * 20, 8), ([-1000] * 20, 8), ([1000] * 20, 8), ([-32768] * 20, 8),
        ([32767] * 20, 8), ([""] * 20, 80), (per_record, 8), ([""] * 20, 32),
    )  # fmt: skip
    fixed = (("0", 8), ("X X X X", 80), ("Startdate X X X X", 80), ("01.01.01", 8), ("00.00.00", 8), (256 * 21, 8),
             ("EDF+C", 44), (n_records, 8), (1, 8), (20, 4))  # fmt: skip
    header = "".join(f"{value:<{width}}" for value, width in fixed)
    header += "".join(f"{value:<{width}}" for values, width in columns for value in values)
    records = np.random.default_rng(0).integers(-1000, 1000, (60, 19 * 128)).astype("<i2")
    with path.open("wb") as file:
        file.write(header.encode())
        for second in range(n_records):
            event = b"+%d\x151.5\x14Eyes closed\x14\x00" % second if second % 50 == 7 else b""
            file.write(records[second % 60].tobytes() + (b"+%d\x14\x14\x00" % second + event).ljust(n_bytes, b"\x00"))


def opening(output: Path, rounds: int) -> None:
    """Open 24 h of EDF+, and reopen it as often as writing 50 such recordings does (2,029 times), each with a block."""
    path = output / "day-edf-plus.edf"
    day_of_records(path)
    seconds = interleaved({"open": lambda: open_recording(str(path))}, rounds)["open"]
    recording = open_recording(str(path))
    picks = list(range(19))
    started = time.perf_counter()
    for number in range(REOPENINGS):
        start = 128 * 120 * (number % 720)
        reopen_recording(str(path), recording.header).read(picks, start=start, stop=start + 128)
    reopening_s = time.perf_counter() - started
    path.unlink()
    print(
        f"  opened: {1000 * statistics.median(seconds):.0f} ms [{1000 * min(seconds):.0f}, {1000 * max(seconds):.0f}]"
    )
    print(f"  one file reopened {REOPENINGS} times, a second read each: {reopening_s:.1f} s")
    figure("edf_open_ms_24h", 1000 * statistics.median(seconds), "ms")
    figure("reopen_seconds_50x24h", reopening_s, "s")


def stages_part(output: Path, _: int) -> None:
    """Where the time of the whole chain goes."""
    for n_chans, sfreq in FILES:
        stages(recordings(output, 1, n_chans, sfreq), output)


def filters_part(_: Path, __: int) -> None:
    """What the filters do to tones, at many rates."""
    filters()


def splines_part(_: Path, __: int) -> None:
    """Leave-one-electrode-out on real 64-channel files."""
    real = Path(os.environ.get("CEREBEAM_REAL_DATA", "")) / "real"
    splines(real / "albany-eegmmidb")
    predicted_errors(real)
    joined_errors(real)


PARTS: dict[str, Callable[[Path, int], None]] = {
    "throughput": throughput, "workers": workers, "memory": memory, "slope": slope, "shards": shards_part,
    "opening": opening, "stages": stages_part, "filters": filters_part, "splines": splines_part,
}  # fmt: skip


def main() -> None:
    """Run all parts, or some."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--output", type=Path, default=Path("bench-output/preprocess"))
    parser.add_argument("--only", nargs="+", choices=sorted(PARTS))
    parser.add_argument("--rounds", type=int, default=5)
    args = parser.parse_args()
    print(machine())
    for name in args.only or PARTS:
        print(f"== {name}", flush=True)
        started = time.perf_counter()
        PARTS[name](args.output, args.rounds)
        print(f"  ({time.perf_counter() - started:.0f} s)", flush=True)
    shutil.rmtree(args.output, ignore_errors=True)


if __name__ == "__main__":
    main()
