import numpy as np
import pytest

from signals.modality import ECG_12, LIMB_LEADS, lead_vectors
from signals.montage.leads import INVERTED, MODIFIED, find_leads, lead_harmoniser, lead_of
from signals.window import ABSENT, INTERPOLATED, MEASURED

LIMB, CHEST = tuple(LIMB_LEADS), ("V1", "V2", "V3", "V4", "V5", "V6")


def twelve(rng, n_times=50):
    """Twelve leads of nine electrodes: the definitions of the leads themselves, not our relations."""
    right, left, leg, *chest = rng.normal(size=(9, n_times))
    wilson = (right + left + leg) / 3
    limb = [left - right, leg - right, leg - left, 1.5 * (right - wilson), 1.5 * (left - wilson), 1.5 * (leg - wilson)]
    return np.array([*limb, *(v - wilson for v in chest)])


def fitted(names):
    found = find_leads(names, ["ecg"] * len(names))
    return found, lead_harmoniser(found.derivations, ECG_12, "source")


@pytest.mark.parametrize(
    ("label", "lead", "reference"),
    [
        ("i", "I", ""), ("avr", "aVR", ""), ("V6", "V6", ""), ("ECG II", "II", ""), ("MDC_ECG_LEAD_aVF", "aVF", ""),
        ("Lead III", "III", ""), ("MLII", "II", MODIFIED), ("MCL1", "V1", MODIFIED), ("-aVR", "aVR", INVERTED),
    ],
)  # fmt: skip
def test_names(label, lead, reference):
    found = lead_of(label)
    assert (found.anode, found.reference) == (lead, reference)


@pytest.mark.parametrize("label", ["ECG", "EKG1", "V7", "IV", "Fp1", "resp", "", "VI"])
def test_what_names_no_lead(label):
    assert lead_of(label) is None


@pytest.mark.parametrize("known", [(a, b) for i, a in enumerate(LIMB) for b in LIMB[i + 1 :]])
def test_any_two_limb_leads_give_the_others_exactly(known):
    x = twelve(np.random.default_rng(0))
    _, fit = fitted([*known, "V1"])
    rows = [ECG_12.ch_names.index(name) for name in (*known, "V1")]
    y = fit.matrix.astype(np.float64) @ x[rows]
    np.testing.assert_allclose(y[:6], x[:6], atol=1e-6)
    state = dict(zip(ECG_12.ch_names, fit.ch_state.tolist(), strict=True))
    assert {state[name] for name in (*known, "V1")} == {MEASURED}
    assert {state[name] for name in set(LIMB) - set(known)} == {INTERPOLATED}
    assert {state[name] for name in CHEST[1:]} == {ABSENT}
    assert not y[7:].any()


def test_one_limb_lead_gives_no_other_and_all_twelve_stay_as_they_are():
    _, fit = fitted(["I", "V2"])
    assert (fit.ch_state != ABSENT).sum() == 2
    names = [name.lower() for name in reversed(ECG_12.ch_names)]
    _, whole = fitted(names)
    x = twelve(np.random.default_rng(1))
    np.testing.assert_array_equal(whole.matrix @ x[::-1].astype(np.float32), x.astype(np.float32))


def test_a_lead_twice_is_taken_once_and_a_plain_one_before_a_modified_one():
    found, _ = fitted(["MLII", "II", "II", "I"])
    assert found.picks == (1, 3)
    found, fit = fitted(["MLII", "V1"])
    assert found.picks == (0, 1)
    assert (fit.ch_state == MEASURED).sum() == 2


def test_an_inverted_lead_is_turned_and_its_relatives_follow():
    x = twelve(np.random.default_rng(2))
    _, fit = fitted(["I", "-aVR"])
    y = fit.matrix.astype(np.float64) @ np.stack([x[0], -x[3]])
    np.testing.assert_allclose(y[:6], x[:6], atol=1e-6)


def test_channels_of_other_sensors_name_no_lead_and_leads_keep_their_reference():
    assert find_leads(["I", "V1"], ["eeg", "resp"]).picks == ()
    found, _ = fitted(["I", "II"])
    with pytest.raises(ValueError, match="leads keep their own"):
        lead_harmoniser(found.derivations, ECG_12, "average")


def test_the_graph_joins_what_algebra_or_direction_ties():
    vectors = lead_vectors()
    np.testing.assert_allclose(vectors["III"], vectors["II"] - vectors["I"])
    np.testing.assert_allclose(vectors["aVF"], (vectors["II"] + vectors["III"]) / 2)
    near = {frozenset(edge) for edge in ECG_12.edges}
    assert {frozenset((a, b)) for a in LIMB for b in LIMB if a != b} <= near
    assert frozenset(("V1", "V2")) in near
    assert frozenset(("V1", "V6")) not in near
    assert ECG_12.adjacency().any(axis=1).all()
