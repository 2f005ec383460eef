import re

import numpy as np
import pytest

from benchmarks.benches.models import ecg_images
from benchmarks.benches.models.pictures import masks as picture_masks
from benchmarks.benches.models.pictures import points as picture_points
from benchmarks.benches.parts.peak_finder import beat_points
from model.images.backbones import IMAGE_NETWORKS
from synthetic.heart.person import CONDITIONS
from synthetic.paper.beats import BEFORE_S


def test_a_tiny_form_runs_to_its_end(monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(picture_points, "SMALL", {"image_px": 256, "width": 16, "depth": 1, "decoder_depth": 1})
    create = picture_points.create_ecg_vit_detr_model
    options = (
        "--pages",
        "0",
        "--pictures",
        "4",
        "--steps",
        "1",
        "--masks",
        "2",
        "--classes",
        "8",
        "--drawing",
        str(tmp_path / "a.png"),
    )
    monkeypatch.setattr("sys.argv", ["ecg-images", *options])
    monkeypatch.setattr(
        picture_points, "create_ecg_vit_detr_model",
        lambda pretrained, **options: create(pretrained, **({"width": 16, "depth": 1, "decoder_depth": 1} | options)),
    )  # fmt: skip
    monkeypatch.setattr(picture_masks, "SMALL", {name: IMAGE_NETWORKS[name].tiny for name in picture_masks.SMALL})
    monkeypatch.setattr(picture_masks, "SIDE_PX", 64)
    monkeypatch.setattr(picture_masks, "LARGE_PX", 64)
    monkeypatch.setattr(picture_masks, "N_HELD_OUT", 2)
    monkeypatch.setattr(picture_masks, "LARGE", IMAGE_NETWORKS["mask2former"].tiny)
    monkeypatch.setattr(ecg_images, "registry", lambda: None)  # tests/model/images has every entry
    ecg_images.main()
    figures = dict(re.findall(r"^figure (\S+) (\S+)", capsys.readouterr().out, re.M))
    assert set(figures) == {
        *(f"ecg_points{by}_{what}" for by in ("", "_delineator", "_peaks") for what in ("ms", "mv", "found", "right")),
        "ecg_points_512_loss", "ecg_mask_unet_iou", "ecg_mask_mask2former_iou", "ecg_mask2former_512_parameters",
        "ecg_mask2former_512_loss", "ecg_image_auroc", "ecg_signal_auroc",
    }  # fmt: skip
    assert float(figures["ecg_points_peaks_ms"]) < 10
    assert (tmp_path / "a.png").stat().st_size > 10_000


def test_errors_count_what_is_found_and_what_is_right():
    some = picture_points.pictures(2, 0, ("normal",))
    exact = [[(p.lead, p.wave, p.at_s, p.mv) for p in one.points] for one in some]
    found = picture_points.errors(some, exact)
    assert (found.ms, found.mv, found.found, found.right) == (0.0, 0.0, 1.0, 1.0)
    late = [[(lead, wave, at + 0.01, mv + 0.1) for lead, wave, at, mv in rows[::2]] for rows in exact]
    found = picture_points.errors(some, late)
    assert (found.ms, found.mv) == pytest.approx((10.0, 0.1))
    assert found.found == pytest.approx(0.5, abs=0.02)
    wild = [[*rows, *[("I", "P", 0.8, 0.0)] * len(rows)] for rows in exact]
    assert picture_points.errors(some, wild).right == 0.5
    assert np.isnan(picture_points.errors(some, [[], []]).ms)


@pytest.mark.parametrize("condition", ["normal", "infarction", "tachycardia"])
def test_the_peak_finder_is_near_the_truth(condition):
    assert condition in CONDITIONS
    some = picture_points.pictures(3, 1, (condition,))
    found = picture_points.errors(some, [beat_points(one.x_mv, one.sfreq, qrs_s=BEFORE_S) for one in some])
    assert found.ms < 8
    assert found.found > 0.7


def test_a_refused_page_is_left_out_of_one_mean_and_counts_nothing_in_the_other(monkeypatch, capsys):
    monkeypatch.setattr(
        ecg_images,
        "pages",
        lambda n, photographed: {"3x4": [20.0, np.nan], "12x1_5mm": [10.0 if photographed else 16.0]},
    )
    ecg_images.digitised(3)
    figures = dict(re.findall(r"^figure (\S+) (\S+)", capsys.readouterr().out, re.M))
    assert (float(figures["ecg_digitise_snr_db"]), float(figures["ecg_digitise_snr_all_db"])) == (18.0, 12.0)
    assert (float(figures["ecg_digitise_snr_photo_db"]), float(figures["ecg_digitise_snr_photo_all_db"])) == (
        15.0,
        10.0,
    )
    assert float(figures["ecg_digitise_failed_share"]) == pytest.approx(1 / 3, abs=1e-3)
