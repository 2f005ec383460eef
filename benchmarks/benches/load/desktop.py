"""A desktop viewer beside ours: mne-qt-browser without a screen, on one file; run by a Python that has it.

    QT_QPA_PLATFORM=offscreen PYTHON -m benchmarks.benches.load.desktop FILE --pages N

Prints one line of JSON: seconds from nothing imported, and from everything imported, to the first page; milliseconds of
each page turn, painted into the window's own store.
"""

import argparse
import json
import os
import time
from pathlib import Path


def main() -> None:
    """Open the file, turn pages, print the times."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("file", type=Path)
    parser.add_argument("--pages", type=int, default=100)
    args = parser.parse_args()
    began = time.perf_counter()
    import mne
    import mne_qt_browser  # noqa: F401  # counted with the imports
    from qtpy.QtWidgets import QApplication

    mne.set_log_level("ERROR")
    mne.viz.set_browser_backend("qt")
    imported = time.perf_counter()
    raw = mne.io.read_raw_edf(args.file, preload=False)
    figure = raw.plot(
        duration=10.0, n_channels=19, highpass=0.5, lowpass=70.0, filtorder=2, clipping=None, block=False,
        precompute=False,
    )  # fmt: skip
    figure.resize(1440, 900)
    QApplication.processEvents()
    first = time.perf_counter()
    turns = []
    for _ in range(args.pages):
        at = time.perf_counter()
        figure.hscroll("+full")
        QApplication.processEvents()
        turns.append(1e3 * (time.perf_counter() - at))
    print(json.dumps({"cold_s": first - began, "first_s": first - imported, "turns_ms": turns}), flush=True)
    os._exit(0)  # PySide6 6.12 frees None too often while the interpreter ends


if __name__ == "__main__":
    main()
