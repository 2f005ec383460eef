"""Masked signal is scored by length of gap and band, against the baselines of the file; older files are still read."""

import numpy as np
import pandas as pd
import pytest

from evaluation.report.drawing.blocks import render
from evaluation.report.sections.representation import pretraining
from evaluation.scenarios.reconstruction import score_reconstruction
from signals.json_output import plain

ERRORS = {"model": 0.5, "linear": 1.0, "mean": 2.0, "spline": 1.5, "ar": 0.8, "filling": 0.6}


def section(methods: tuple[str, ...], bands: tuple[str, ...]) -> str:
    rng, rows = np.random.default_rng(0), []
    for w in range(8):
        for low, high in ((15.0, 60.0), (60.0, 200.0), (200.0, 500.0)):
            x = rng.normal(size=40)
            for method in methods:
                y = x + np.sqrt(ERRORS[method]) * rng.normal(size=40)
                sums = {
                    "n_samples": 40, "sum_squared_error": ERRORS[method] * 40, "sum_x": x.sum(), "sum_y": y.sum(),
                    "sum_xy": (x * y).sum(), "sum_xx": (x * x).sum(), "sum_yy": (y * y).sum(),
                }  # fmt: skip
                who = {"window_key": f"w{w}", "subject_id": f"s{w // 2}", "site_id": "a", "method": method}
                rows += [{**who, "span_ms_low": low, "span_ms_high": high, **sums, "band": band} for band in bands]
    frame = pd.DataFrame(rows)
    if bands == ("all",):
        frame = frame.drop(columns="band")
    scores = plain(score_reconstruction(frame, n_boot=50, seed=0))
    return render(pretraining.render({"reconstruction": scores, "history": None}))


def test_every_baseline_length_and_band_is_shown() -> None:
    page = section(tuple(ERRORS), ("all", "alpha"))
    assert "<b>0.50 (0.50 to 0.50)</b> times that of linear interpolation" in page
    assert "<b>0.62 (0.62 to 0.62)</b> times that of an autoregressive model" in page
    for words in ("15–60 ms", "60–200 ms", "200–500 ms", "60–500 ms", "all gaps", "alpha", "spherical splines"):
        assert words in page
    assert page.count("<tr class=main>") == 10  # five groups of gaps, in all bands and in alpha


@pytest.mark.parametrize("methods", [("model", "linear", "mean"), ("model", "ar")])
def test_files_with_fewer_methods_and_without_bands_are_read(methods: tuple[str, ...]) -> None:
    page = section(methods, ("all",))
    assert "By band" not in page
    assert ("spherical splines" in page) is False
    assert ("linear interpolation" in page) is ("linear" in methods)
    assert page.count("<tr class=main>") == 5
