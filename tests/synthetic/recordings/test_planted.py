from dataclasses import replace

import numpy as np
import pytest

from synthetic.recordings.planted import SIZES, clean_recording, in_memory, plant
from synthetic.recordings.sites import SITES
from synthetic.subject.subjects import draw_subject

SITE = replace(SITES[0], mains_uv=0.01, noise_uv=0.1)


@pytest.mark.parametrize("kind", SIZES)
def test_an_artifact_lies_where_stated_and_nowhere_else(kind):
    rng = np.random.default_rng(0)
    data = (10 * rng.standard_normal((len(SITE.ch_names), 4000))).astype(np.float32)
    out, one = plant(rng, data, kind, SIZES[kind][-1], site=SITE, onset_s=4.0, targets=["C3", "T4"])
    changed = ~np.isclose(out, data, atol=1e-3, equal_nan=False)
    rows = {SITE.ch_names[i].removeprefix("EEG ").removesuffix("-REF") for i in np.flatnonzero(changed.any(axis=1))}
    assert set(one.ch_names) <= rows
    if kind != "blink":  # every electrode near the eyes sees a blink
        assert rows == set(one.ch_names)
    samples = np.flatnonzero(changed.any(axis=0)) / SITE.sfreq
    assert samples.min() >= one.onset_s
    assert samples.min() < one.onset_s + one.duration_s


def test_a_clean_recording_has_no_artifact_in_its_truth():
    rng = np.random.default_rng(1)
    made = clean_recording(rng, site=SITE, subject=draw_subject(rng), labels=["Other"])
    kinds = {event.kind for truth in made.truths for event in truth.events}
    assert not kinds & {"pop", "flat", "noisy", "blink", "eye_movement", "muscle", "drift"}
    recording = in_memory(made.stretches[0], site=SITE)
    np.testing.assert_array_equal(recording.read([2, 0], start=5, stop=9), made.stretches[0][[2, 0], 5:9])


def test_an_unknown_kind_is_refused():
    with pytest.raises(ValueError, match="kind='sneeze'"):
        plant(np.random.default_rng(0), np.zeros((20, 100)), "sneeze", 1.0, site=SITE, onset_s=0.0, targets=["C3"])
