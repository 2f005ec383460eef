import re
from pathlib import Path

import pytest

from pipelines.report.advice import ADVICE, NOTES
from pipelines.stages.outcome import REASONS


def test_every_reason_states_what_to_do():
    assert set(ADVICE) == {reason for reasons in REASONS.values() for reason in reasons}


def test_every_bids_note_states_what_was_done():
    source = (Path(__file__).parents[3] / "signals" / "readers" / "bids.py").read_text()
    written = set(re.findall(r'notes\.append\("(\w+)"\)', source))
    assert written
    assert {name for name in NOTES if name.startswith("bids_")} == written


@pytest.mark.parametrize(
    ("code", "word"),
    [
        ("missing_file", "side file"), ("unsupported_format", "Convert"), ("not_what_it_says", "git-lfs"),
        ("corrupt_header", "contradict"), ("no_samples", "data record"), ("reader_crashed", "library failed"),
        ("missing_library", "pip install"), ("reader_timeout", "did not finish"), ("no_eeg_channels", "10-20 electrode"),
        ("bipolar_montage", "pairs"), ("undefined_reference", "reference"), ("implausible_amplitude", "unit"),
        ("unusable_rate", "resample"), ("too_short", "window"), ("too_few_channels", "Fewer measured"),
        ("label_out_of_range", "onset"), ("contradicting_labels", "votes"), ("duplicate_recording", "Nothing is lost"),
        ("unreadable_samples", "damaged"), ("internal_error", "fault of ours"), ("mostly_missing", "half"),
        ("flat", "flat throughout"),
    ],
)  # fmt: skip
def test_advice_is_about_its_reason(code, word):
    assert word in ADVICE[code]


@pytest.mark.parametrize(
    ("note", "word"),
    [
        ("copies_left_out", "several times"), ("duplicate_labels", "one name"), ("dropped_channels", "left aside"),
        ("channel_map", "declared map"), ("epochs", "epochs"), ("rate_disagrees", "stream declares"),
        ("sample_width_guessed", "wide"), ("several_eeg_streams", "largest"), ("standard_electrode_table", "maker"),
        ("dc_offset", "constant"), ("gaps", "interrupted"), ("mixed_references", "several references"),
        ("parts_joined", "smoothest field"), ("parts_apart", "cannot be compared"),
        ("bad_channels_repaired", "interpolated"), ("bad_channels_kept", "too few others"),
        ("bids_bad_channels", "calls channels bad"), ("bids_channels_unmatched", "names none"),
        ("bids_sfreq_disagrees", "sampling rate"), ("bids_sidecar_unreadable", "cannot be read"),
        ("bids_unit_disagrees", "another unit"), ("bids_units", "names no unit"), ("mixed_rates", "several rates"),
        ("missing_records", "more data records"), ("n_records_unknown", "counted"),
        ("name_disagrees", "another format"), ("truncated_last_record", "cut short"), ("trailing_bytes", "more bytes"),
        ("unit_guessed", "found plausible"), ("unit_not_electric", "no voltage"),
    ],
)  # fmt: skip
def test_notes_are_explained(note, word):
    assert word in NOTES[note]
