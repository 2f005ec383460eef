"""Each published clinical montage, from EDF to window, on one focus of each side; the bench takes all."""

import dataclasses

import numpy as np
import pytest

from benchmarks.benches.recordings.montages_clinical import (
    KEPT,
    MONTAGES,
    amplitudes,
    first_window,
    judged,
    planted,
    referential,
    written,
)
from signals.modality import EEG_1020
from signals.window import MEASURED


def sides(montage):
    """Return a focus on the left and one on the right."""
    return [next(f for f in montage.foci if f[-1] in digits) for digits in ("1357", "2468")]


@pytest.mark.parametrize("name", MONTAGES)
def test_a_focal_discharge_keeps_side_place_and_amplitude_or_is_refused(name, tmp_path):
    montage = MONTAGES[name]
    outcomes = [judged(montage, focus, tmp_path) for focus in sides(montage)]
    assert all(outcome.is_right for outcome in outcomes), outcomes
    shares = [outcome.share for outcome in outcomes]
    if montage.refused:
        assert all(outcome.detail.startswith(montage.refused) for outcome in outcomes)
    else:
        assert KEPT[0] <= min(shares) <= max(shares) <= KEPT[1]


def test_the_double_banana_keeps_a_left_discharge_on_the_left(tmp_path):
    # 12 of 175 µV were left at T3 when the larger part of the montage was kept and the rest interpolated from it.
    potentials, wave = planted("T3")
    truth = amplitudes(
        first_window(written(tmp_path / "r.edf", referential(EEG_1020.ch_names, "{a}"), potentials)), wave
    )
    window = first_window(written(tmp_path / "b.edf", MONTAGES["double banana"], potentials))
    sizes = amplitudes(window, wave)
    at = {name: i for i, name in enumerate(EEG_1020.ch_names)}
    assert (window.ch_state == MEASURED).all()
    assert sizes[at["T3"]] / truth[at["T3"]] > 0.6
    assert abs(sizes[at["T4"]]) < 0.4 * abs(sizes[at["T3"]])
    reference = first_window(tmp_path / "r.edf")
    r = np.corrcoef(window.data[at["T3"]], reference.data[at["T3"]])[0, 1]
    assert r > 0.9


def test_judging_notices_a_discharge_on_the_wrong_side(tmp_path):
    # The same pairs with left and right names exchanged: the discharge comes out over the other side.
    banana = MONTAGES["double banana"]
    swap = str.maketrans("12345678", "21436587")
    mirrored = dataclasses.replace(banana, labels=tuple(label.translate(swap) for label in banana.labels))
    assert not judged(mirrored, "T3", tmp_path).is_right
    assert not judged(dataclasses.replace(banana, refused="bipolar_montage"), "T3", tmp_path).is_right
    assert not judged(dataclasses.replace(MONTAGES["Sleep-EDF"], refused=""), "O1", tmp_path).is_right
