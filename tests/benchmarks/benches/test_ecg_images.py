import re

import numpy as np
import pytest

from benchmarks.benches.models import ecg_images
from benchmarks.benches.parts.peak_finder import beat_points
from synthetic.heart.person import CONDITIONS
from synthetic.paper.beats import BEFORE_S


def test_a_tiny_form_runs_to_its_end(monkeypatch, capsys):
    monkeypatch.setattr(ecg_images, "SMALL", {"image_px": 256, "width": 16, "depth": 1, "decoder_depth": 1})
    create = ecg_images.create_ecg_vit_detr_model
    monkeypatch.setattr("sys.argv", ["ecg-images", "--pages", "0", "--pictures", "4", "--steps", "1", "--classes", "8"])
    monkeypatch.setattr(
        ecg_images, "create_ecg_vit_detr_model",
        lambda pretrained, **options: create(pretrained, **({"width": 16, "depth": 1, "decoder_depth": 1} | options)),
    )  # fmt: skip
    monkeypatch.setattr(ecg_images, "registry", lambda: None)  # tests/model/images has every entry
    ecg_images.main()
    figures = dict(re.findall(r"^figure (\S+) (\S+)", capsys.readouterr().out, re.M))
    assert set(figures) == {
        *(f"ecg_points{side}_{what}" for side in ("", "_signal") for what in ("ms", "mv", "found", "right")),
        "ecg_points_512_loss", "ecg_image_auroc", "ecg_signal_auroc",
    }  # fmt: skip
    assert float(figures["ecg_points_signal_ms"]) < 10


def test_errors_count_what_is_found_and_what_is_right():
    some = ecg_images.pictures(2, 0, ("normal",))
    exact = [[(p.lead, p.wave, p.at_s, p.mv) for p in one.points] for one in some]
    found = ecg_images.errors(some, exact)
    assert (found.ms, found.mv, found.found, found.right) == (0.0, 0.0, 1.0, 1.0)
    late = [[(lead, wave, at + 0.01, mv + 0.1) for lead, wave, at, mv in rows[::2]] for rows in exact]
    found = ecg_images.errors(some, late)
    assert (found.ms, found.mv) == pytest.approx((10.0, 0.1))
    assert found.found == pytest.approx(0.5, abs=0.02)
    wild = [[*rows, *[("I", "P", 0.8, 0.0)] * len(rows)] for rows in exact]
    assert ecg_images.errors(some, wild).right == 0.5
    assert np.isnan(ecg_images.errors(some, [[], []]).ms)


@pytest.mark.parametrize("condition", ["normal", "infarction", "tachycardia"])
def test_the_peak_finder_is_near_the_truth(condition):
    assert condition in CONDITIONS
    some = ecg_images.pictures(3, 1, (condition,))
    found = ecg_images.errors(some, [beat_points(one.x_mv, one.sfreq, qrs_s=BEFORE_S) for one in some])
    assert found.ms < 8
    assert found.found > 0.7
