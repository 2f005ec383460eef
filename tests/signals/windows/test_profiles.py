import json
from dataclasses import replace

import pytest

from signals.conditioning.cleaning import Cleaning
from signals.windows.profiles import (
    PRETRAIN,
    PROFILES,
    SIX_CLASS,
    SIX_CLASS_CLEAN,
    SLEEP,
    Profile,
    with_overrides,
)


def test_options_that_are_off_leave_the_hashes_alone():
    # Written down when bad electrodes were first repaired: an option that is off must not split a corpus in two.
    assert PRETRAIN.config_hash == "3049dd846163c898"
    assert SIX_CLASS.config_hash == "46ff91139c89820d"
    hashes = {profile.config_hash for profile in PROFILES.values()}
    assert len(hashes) == len(PROFILES)


def test_only_the_derived_profile_cleans():
    assert not any(PROFILES[name].cleaning.any for name in ("pretrain", "six-class", "sleep"))
    assert SIX_CLASS_CLEAN.cleaning.ica
    assert replace(SIX_CLASS_CLEAN, name="six-class", cleaning=Cleaning()) == SIX_CLASS


@pytest.mark.parametrize("profile", PROFILES.values(), ids=PROFILES)
def test_json_round_trip_also_of_profiles_without_the_newer_options(profile):
    fields = json.loads(json.dumps(profile.to_dict()))
    assert Profile.from_dict(fields) == profile
    del fields["cleaning"], fields["annotation_task"], fields["spectrogram"]
    older = replace(profile, cleaning=Cleaning(), annotation_task="", spectrogram=False)
    assert Profile.from_dict(fields) == older


def test_overrides_have_types():
    given = {
        "window_s": "20", "hop_s": "2.5", "l_freq": "1", "h_freq": "45", "reference": "source", "min_measured": "10",
        "windows": "tile", "label_span_s": "5,15", "cleaning.ica": "true", "cleaning.wavelets": "True",
    }  # fmt: skip
    assert with_overrides(SIX_CLASS, given) == replace(
        SIX_CLASS, window_s=20.0, hop_s=2.5, l_freq=1.0, h_freq=45.0, reference="source", min_measured=10,
        windows="tile", label_span_s=(5.0, 15.0), cleaning=Cleaning(ica=True, wavelets=True),
    )  # fmt: skip
    assert with_overrides(SIX_CLASS, {}) == SIX_CLASS
    assert with_overrides(SIX_CLASS, {"label_span_s": "none"}).label_span_s is None
    assert not with_overrides(SIX_CLASS_CLEAN, {"cleaning.ica": "false"}).cleaning.ica
    assert with_overrides(SIX_CLASS_CLEAN, {"cleaning.ica": "false"}).cleaning.transients
    assert with_overrides(SIX_CLASS, {"hop_s": "10"}).config_hash != SIX_CLASS.config_hash


@pytest.mark.parametrize(
    ("option", "value", "says"),
    [
        ("hop", "5", "no option 'hop'"),
        ("name", "mine", "no option 'name'"),
        ("cleaning", "true", "no option 'cleaning'"),
        ("cleaning.ic", "true", "no option 'cleaning.ic'"),
        ("hop_s", "five", "hop_s='five' is not a number"),
        ("hop_s", "nan", "hop_s=nan must be"),
        ("hop_s", "0.3", "whole number of samples"),
        ("window_s", "inf", "window_s=inf must be"),
        ("min_measured", "8.5", "is not a whole number"),
        ("cleaning.ica", "yes", "is not true or false"),
        ("reference", "nose", "is not average or source or linked-ears or cz"),
        ("label_span_s", "20", "two numbers as 20,30"),
        ("label_span_s", "45,55", "does not lie within window_s"),
        ("l_freq", "60", "l_freq=60"),
        ("modality", "ecg", "modality='ecg' is none of"),
        ("annotation_task", "naps", "annotation_task='naps' is none of"),
    ],
)
def test_bad_overrides_are_one_line(option, value, says):
    with pytest.raises(ValueError, match=says) as caught:
        with_overrides(SIX_CLASS, {option: value})
    assert "\n" not in str(caught.value)


def test_sleep_is_thirty_seconds():
    assert (SLEEP.window_s, SLEEP.hop_s, SLEEP.annotation_task) == (30, 30, "sleep")


@pytest.mark.parametrize(
    ("option", "says"),
    [
        ("window_s=1", "at least 2"),  # the features' spectra
        ("l_freq=0.25", "above 0.25 Hz"),  # half a transition band
        ("l_freq=0", "above 0.25 Hz"),
        ("antialias_db=200", "outside of 40 to 160 dB"),
        ("antialias_db=nan", "outside of 40 to 160 dB"),
        ("min_measured=0", "within 1 and 19"),
        ("min_measured=20", "within 1 and 19"),
        ("h_freq=nan", "below h_freq=nan"),
        ("l_freq=115.2", "leaves nothing of 256 Hz"),  # 0.45 x 256 Hz is as high as a pass band reaches
    ],
)
def test_what_would_kill_a_run_later_is_refused_at_once(option, says):
    name, _, value = option.partition("=")
    with pytest.raises(ValueError, match=says) as raised:
        with_overrides(PRETRAIN, {name: value})
    assert len(str(raised.value).splitlines()) == 1
    assert str(raised.value).startswith(name) or name in str(raised.value)


@pytest.mark.parametrize("options", [{"window_s": "2", "hop_s": "1"}, {"l_freq": "0.26"}, {"antialias_db": "160"}])
def test_the_nearest_that_does_is_taken(options):
    with_overrides(PRETRAIN, options)
