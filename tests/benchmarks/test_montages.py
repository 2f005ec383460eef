"""What vectors of montages are tested for, on vectors of known content."""

from pathlib import Path

import numpy as np
import pytest

from benchmarks.studies.montages import (
    HEADSET,
    Windows,
    montage_of,
    recording_windows,
    rest_or_task,
    which_person,
)
from signals.electrodes import electrode_positions
from signals.modality import EEG_1020
from signals.window import MEASURED


def planted(rng: np.random.Generator) -> tuple[np.ndarray, Windows]:
    """Six people, four of whom did both; the first dimension holds the task, the next six the person."""
    people = np.repeat([f"S{k}" for k in range(6)], 12)
    is_task = np.tile(np.repeat([False, True], 6), 6)
    is_task[48:60], is_task[60:] = True, False
    x = 0.1 * rng.normal(size=(72, 8))
    x[:, 0] += is_task
    x[np.arange(72), 1 + np.repeat(np.arange(6), 12)] += 1
    is_last = np.tile([False] * 4 + [True] * 2, 12)
    return x, Windows(x=[], states=[], people=people, is_task=is_task, is_last=is_last)


def test_task_and_person_are_read_where_they_are_planted() -> None:
    rng = np.random.default_rng(0)
    x, windows = planted(rng)
    assert rest_or_task(x, x, windows) == 1.0
    assert which_person(x, x, windows) == 1.0
    noise = rng.normal(size=x.shape)
    assert rest_or_task(x, noise, windows) < 0.8
    assert which_person(noise, noise, windows) < 0.5


def test_one_recording_is_seen_through_three_montages(real: Path) -> None:
    path = real / "albany-eegmmidb" / "S001R01.edf"
    native = montage_of("four and more", (*HEADSET, "Fpz", "Oz", "Cz", "FC5"))
    found = recording_windows(path, {"4": montage_of("headset", HEADSET), "19": EEG_1020, "8": native})
    assert {name: (len(parts), parts[0][0].shape) for name, parts in found.items()} == {
        "4": (6, (4, 2560)), "19": (6, (19, 2560)), "8": (6, (8, 2560)),
    }  # fmt: skip
    for parts in found.values():
        x, state = parts[0]
        assert (state == MEASURED).all()
        np.testing.assert_allclose(x.mean(axis=0), 0, atol=1e-4)  # each against its own average
        assert np.median(x.std(axis=1)) == pytest.approx(1.0, abs=1e-3)
    four, eight = found["4"][0][0], found["8"][0][0][:4]
    shared = [np.corrcoef(four[0] - four[1], eight[0] - eight[1])[0, 1], np.corrcoef(four[0], eight[2])[0, 1]]
    assert shared[0] == pytest.approx(1.0, abs=1e-4)  # differences do not know the reference
    assert shared[1] < 0.9
    assert montage_of("x", HEADSET).positions[0] == tuple(electrode_positions(HEADSET)[0])
