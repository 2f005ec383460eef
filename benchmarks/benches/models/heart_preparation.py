"""How many hours of twelve leads are prepared in a minute of one core, beside wfdb and SciPy at equal work.

Equal work: a record is read, taken to 0.5-45 Hz at zero phase and 100 Hz, and cut into float32 windows of 10 s;
`_whole` adds what the pipeline stores beside samples (flags, quality, features). Ways take turns, and processor time is
what counts, so that other work on the machine disturbs less.
"""

import os
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import numpy as np

from benchmarks.harness import figure
from signals.bundles.inputs import windows_of_file
from signals.window import Window
from signals.windows.prepare import EVERYTHING
from signals.windows.profiles import ECG_RHYTHM
from synthetic.heart.files import write_corpus

ROUNDS = 3
Way = Callable[[Path], Sequence[np.ndarray]]


def ours(path: Path, *, whole: bool) -> list[np.ndarray]:
    """Return the windows of a record, mV."""
    windows: Sequence[Window] = list(windows_of_file(ECG_RHYTHM, str(path), want=EVERYTHING if whole else ()))
    return [window.data for window in windows]


def by_wfdb_and_scipy(path: Path) -> list[np.ndarray]:
    """Return the same windows by the libraries' own functions: the linear-phase filter of 0.5 Hz is theirs too."""
    import wfdb
    from scipy import signal

    record = wfdb.rdrecord(str(path.with_suffix("")))
    rate, sfreq = round(record.fs), round(ECG_RHYTHM.signal.sfreq)
    n_taps = round(3.3 * rate / ECG_RHYTHM.l_freq) | 1  # a Hamming window's transition band of 0.5 Hz
    taps = signal.firwin(n_taps, (ECG_RHYTHM.l_freq, ECG_RHYTHM.h_freq or 45.0), fs=rate, pass_zero=False)
    reach = n_taps // 2
    padded = np.pad(record.p_signal.T, ((0, 0), (reach, reach)), mode="reflect" if record.sig_len > reach else "edge")
    x = signal.resample_poly(signal.oaconvolve(padded, taps[None], mode="valid", axes=1), sfreq, rate, axis=1)
    n_window = round(ECG_RHYTHM.window_s * sfreq)
    return [x[:, at : at + n_window].astype(np.float32) for at in range(0, x.shape[1] - n_window + 1, n_window)]


WAYS: dict[str, Way] = {
    "": partial(ours, whole=False), "_whole": partial(ours, whole=True), "_wfdb_scipy": by_wfdb_and_scipy,
}  # fmt: skip


def processor_s() -> float:
    """Return the processor time of this process and of those that it started and that still run, seconds.

    Files are opened in a process of their own, so that a reader that crashes harms nobody; that is a cost of ours.
    """
    tasks = Path("/proc/self/task").iterdir()
    children = [pid for task in tasks for pid in (task / "children").read_text().split()]
    ticks = 0
    while children:
        pid = children.pop()
        fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
        ticks += int(fields[11]) + int(fields[12])  # utime, stime
        children += Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return time.process_time() + ticks / os.sysconf("SC_CLK_TCK")


def preparation(folder: Path, *, n_people: int) -> None:
    """Write generated people of two sites to a folder and print hours prepared in a minute of one core, by each way."""
    files = sorted(write_corpus(folder, n_people=n_people, seed=0, sites=("basel", "quito")))
    spent: dict[str, list[float]] = defaultdict(list)
    for _ in range(ROUNDS + 1):
        for name, way in WAYS.items():
            started, n_windows = processor_s(), 0
            for path in files:
                n_windows += len(way(path))
            spent[name].append((processor_s() - started) / n_windows)
    per_minute = {
        name: ECG_RHYTHM.window_s / 3600 / (float(np.median(s[1:])) / 60) for name, s in spent.items()
    }  # the first round loads libraries
    for name, hours in per_minute.items():
        figure(f"ecg_preprocess_hours_per_minute{name}", hours, "h")
    figure("ecg_preprocess_speed_against_wfdb_scipy", per_minute[""] / per_minute["_wfdb_scipy"], "times")
