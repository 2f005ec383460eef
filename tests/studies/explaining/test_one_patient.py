import pytest

from evaluation.audit.claims import claim_findings, is_rejected
from studies.explaining.one_patient import sound_evaluation, unsound_claim
from synthetic.evidence.patients import seizure_recording


def test_the_report_with_every_window_right_is_rejected_and_each_reason_is_named():
    claim = unsound_claim(seizure_recording(0))
    assert claim.accuracy == 1.0
    assert is_rejected(claim)
    assert {finding.code for finding in claim_findings(claim)} == {
        "neighbouring_windows", "subject_on_two_sides", "one_subject", "no_interval", "threshold_of_unknown_origin",
        "saturated_probabilities", "mirrored_maps", "same_top_band",
    }  # fmt: skip


def test_the_sound_evaluation_states_events_and_an_exact_interval():
    of_seizures = sound_evaluation([seizure_recording(0)], left_out="seizure")
    of_patients = sound_evaluation([seizure_recording(k) for k in range(4)], left_out="patient")
    assert (of_seizures.n_events, of_patients.n_events) == (4, 16)
    for found in (of_seizures, of_patients):
        share = found.n_detected / found.n_events
        assert found.low <= share <= found.high
        assert found.high - found.low > 0.15  # few seizures never prove much
        assert found.false_per_hour >= 0
    # All of 4 detected: the exact one-sided bound is 0.05 ** (1 / 4) = 0.473.
    if of_seizures.n_detected == 4:
        assert of_seizures.low == pytest.approx(0.473, abs=0.001)
    with pytest.raises(ValueError, match="left_out"):
        sound_evaluation([seizure_recording(0)], left_out="window")
