import dataclasses

import mne
import numpy as np
import pytest

from signals.electrodes import electrode_positions
from signals.modality import EEG_1020
from signals.montage.labels import Derivation, find_electrodes
from signals.montage.montage import harmoniser
from signals.montage.references import DOUBLE_BANANA, UndefinedReferenceError, bipolar_matrix
from signals.recording.recording import Recording, Segment, UnreadableError
from signals.window import ABSENT, INTERPOLATED, MEASURED
from signals.windows.plan import plan_recording
from signals.windows.profiles import PRETRAIN
from synthetic.subject.sources import SOURCES, mixing

NAMES = [*EEG_1020.ch_names, "A1", "A2"]
SFREQ, SECONDS = 128.0, 12


def raw_of(names, seed=0):
    """Return MNE's container of random potentials in µV, read as if they were volts."""
    data = 20 * np.random.default_rng(seed).standard_normal((len(names), round(SECONDS * SFREQ)))
    info = mne.create_info(list(names), SFREQ, "eeg")
    return mne.io.RawArray(data, info, verbose="error")


def ours(raw, reference, labels=None):
    found = find_electrodes(labels or raw.ch_names, ["eeg"] * len(raw.ch_names))
    return harmoniser(found.derivations, EEG_1020, reference).matrix @ raw.get_data()[list(found.picks)]


@pytest.mark.parametrize(
    ("reference", "theirs"), [("cz", ["Cz"]), ("linked-ears", ["A1", "A2"]), ("average", list(EEG_1020.ch_names))]
)
def test_references_are_mnes(reference, theirs):
    raw = raw_of(NAMES)
    wanted = raw.copy().set_eeg_reference(theirs, verbose="error").get_data(picks=list(EEG_1020.ch_names))
    assert np.abs(ours(raw, reference) - wanted).max() < 1e-6 * np.abs(wanted).max()


def test_mastoids_stand_in_for_ears():
    raw = raw_of([*EEG_1020.ch_names, "M1", "M2"])
    wanted = raw.copy().set_eeg_reference(["M1", "M2"], verbose="error").get_data(picks=list(EEG_1020.ch_names))
    assert np.abs(ours(raw, "linked-ears") - wanted).max() < 1e-4


def test_ears_are_no_scalp_electrodes():
    with_ears = harmoniser(tuple(Derivation(name, None) for name in NAMES if name != "Cz"), EEG_1020, "average")
    without = harmoniser(tuple(Derivation(name, None) for name in NAMES[:-2] if name != "Cz"), EEG_1020, "average")
    assert np.abs(with_ears.matrix[:, :-2] - without.matrix).max() == 0  # not in the average, not in the splines
    assert (with_ears.matrix[:, -2:] == 0).all()
    assert find_electrodes(["A1", "EEG A2-REF"], ["eeg", "eeg"]).picks == ()


def test_recorded_as_linked_ears_stays_as_it_is():
    raw = raw_of(EEG_1020.ch_names)
    assert np.array_equal(
        ours(raw, "linked-ears", [f"EEG {name}-LE" for name in raw.ch_names]), raw.get_data().astype(np.float64)
    )


def test_the_electrode_of_a_common_reference_is_zero_and_takes_part():
    # 18 channels against Cz: MNE adds the reference back as a flat channel before it takes the average.
    raw = raw_of([name for name in EEG_1020.ch_names if name != "Cz"])
    wanted = mne.add_reference_channels(raw, "Cz").set_eeg_reference(verbose="error")
    labels = [f"{name}-Cz" for name in raw.ch_names]
    assert np.allclose(ours(raw, "average", labels), wanted.get_data(picks=list(EEG_1020.ch_names)), atol=1e-4)
    assert np.abs(ours(raw, "cz", labels)[EEG_1020.ch_names.index("Cz")]).max() == 0


@pytest.mark.parametrize(
    ("labels", "reference", "why"),
    [
        (EEG_1020.ch_names, "linked-ears", "neither both ears nor both mastoids"),
        ([*EEG_1020.ch_names, "A1"], "linked-ears", "neither both ears nor both mastoids"),
        ([name for name in EEG_1020.ch_names if name != "Cz"], "cz", "Cz was not recorded"),
        (["Fp1-A2", "F3-A2", "C3-A2", "Cz-A1", "C4-A1", "F4-A1"], "cz", "several references"),
        (["Fp1-LE", "F3-LE", "C3-REF", "Cz-REF"], "linked-ears", "several references"),
    ],
)
def test_an_undefined_reference_is_refused(labels, reference, why):
    found = find_electrodes(labels, ["eeg"] * len(labels))
    with pytest.raises(UndefinedReferenceError, match=why):
        harmoniser(found.derivations, EEG_1020, reference)


def test_the_double_banana_runs_from_front_to_back():
    y = dict(zip(EEG_1020.ch_names, np.asarray(EEG_1020.positions)[:, 1], strict=True))
    assert all(y[anode] > y[cathode] for anode, cathode in DOUBLE_BANANA)
    assert len({frozenset(pair) for pair in DOUBLE_BANANA}) == 18
    assert {name for pair in DOUBLE_BANANA for name in pair} == set(EEG_1020.ch_names)


def test_bipolar_pairs_are_mnes():
    raw = raw_of(EEG_1020.ch_names)
    anodes, cathodes = zip(*DOUBLE_BANANA, strict=True)
    theirs = mne.set_bipolar_reference(raw, list(anodes), list(cathodes), verbose="error")
    wanted = theirs.get_data(picks=[f"{a}-{b}" for a, b in DOUBLE_BANANA])
    assert np.abs(bipolar_matrix(EEG_1020.ch_names) @ raw.get_data() - wanted).max() < 1e-9
    # Pairs do not depend on the reference.
    averaged = harmoniser(tuple(Derivation(name, None) for name in EEG_1020.ch_names), EEG_1020, "average").matrix
    assert np.abs(bipolar_matrix(EEG_1020.ch_names) @ averaged @ raw.get_data() - wanted).max() < 1e-4
    with pytest.raises(ValueError, match="Pz"):
        bipolar_matrix(["Cz"], [("Cz", "Pz")])


def plan(labels, reference, *, flat=(), data=None, **options):
    """Return the plan of channels with these labels; those of `flat` are zero."""
    data = raw_of(labels).get_data() if data is None else data
    data = np.where(np.isin(labels, flat)[:, None], 0.0, data).astype(np.float32)
    recording = Recording(
        uri="test", reader="test", ch_names=tuple(labels), sensor_types=("eeg",) * len(labels),
        sfreqs=(SFREQ,) * len(labels), segments=(Segment(0.0, data.shape[1] / SFREQ),),
        read_samples=lambda picks, segment, start, stop: data[list(picks), start:stop],
    )  # fmt: skip
    profile = dataclasses.replace(PRETRAIN, reference=reference, **options)
    return plan_recording(recording, profile, site_id="s", subject_id="p", source_sha256="0" * 64)


def head(names, seed=0):
    """Return 24 s of potentials of one head, µV, which neighbours share: enough to judge electrodes by each other."""
    sources = np.random.default_rng(seed).standard_normal((len(SOURCES), round(24 * SFREQ)))
    return 20 * mixing(electrode_positions(names)) @ sources


def test_a_plan_states_what_was_recorded_and_refuses_what_cannot_be_made():
    linked = plan([f"EEG {name}-LE" for name in EEG_1020.ch_names], "linked-ears")
    assert (linked.source_reference, linked.profile.reference, linked.notes) == ("le", "linked-ears", ())
    mixed = plan(["Fp1-A2", "F3-A2", "C4-A1", "F4-A1"], "average")
    assert (mixed.source_reference, mixed.notes) == ("a1/a2", ("mixed_references", "parts_joined"))
    with pytest.raises(UnreadableError, match="undefined_reference: cz: Cz was not recorded"):
        plan(["Fp1", "F3", "C4", "F4"], "cz")


@pytest.mark.parametrize("repair", [True, False])
@pytest.mark.parametrize(
    ("reference", "flat", "why"),
    [
        ("linked-ears", ["A1"], "A1 is flat"),
        ("linked-ears", ["A2", "A1"], "A1 is flat, A2 is flat"),
        ("cz", ["Cz"], "Cz is flat"),
    ],
)
def test_a_flat_reference_electrode_is_refused_by_name(reference, flat, why, repair):
    data = head(NAMES)
    assert plan(NAMES, reference, data=data, repair_bad_channels=repair).bad_channels == ()
    with pytest.raises(UnreadableError, match=f"undefined_reference: {reference}: {why}$"):
        plan(NAMES, reference, flat=flat, data=data, repair_bad_channels=repair)
    with pytest.raises(UnreadableError, match=f"undefined_reference: {reference}: {why}$"):
        plan(["Fp1", "Fp2", "Cz", "A1", "A2"], reference, flat=flat)  # too few to judge electrodes by their neighbours


def test_a_flat_ear_gives_way_to_the_mastoids():
    names = [*NAMES, "M1", "M2"]
    with_ears = plan(names, "linked-ears", data=head(names), repair_bad_channels=False)
    assert len(with_ears.picks) == 23
    without = plan(names, "linked-ears", flat=["A1"], data=head(names), repair_bad_channels=False)
    assert [d.anode for d in without.derivations] == [name for name in names if name != "A1"]
    matrix = without.conditioner.harmoniser.matrix
    assert matrix[0, [names.index("M1") - 1, names.index("M2") - 1]].tolist() == [-0.5, -0.5]


def test_a_bad_reference_electrode_is_refused_by_name():
    data = head(NAMES)
    data[NAMES.index("Cz")] = 3000 * np.random.default_rng(1).standard_normal(data.shape[1])
    with pytest.raises(UnreadableError, match=r"undefined_reference: cz: Cz is (\w+\+)*\w+$") as refused:
        plan(NAMES, "cz", data=data)
    assert "deviant" in refused.value.detail
    # Under the average it is only one electrode less.
    assert [name for name, _ in plan(NAMES, "average", data=data).bad_channels] == ["Cz"]


def test_an_electrode_flat_under_the_average_is_interpolated_or_left_out():
    data = head(NAMES)
    one = plan(NAMES, "average", flat=["T3"], data=data)
    assert one.notes == ("bad_channels_repaired",)
    assert dict(one.bad_channels)["T3"].startswith("flat")
    assert one.conditioner.harmoniser.ch_state[EEG_1020.ch_names.index("T3")] == INTERPOLATED
    two = plan(NAMES, "average", flat=["T3", "T5"], data=data)
    assert two.notes == ("bad_channels_repaired",)
    state = two.conditioner.harmoniser.ch_state
    assert [state[EEG_1020.ch_names.index(name)] for name in ("T3", "T5", "F7")] == [ABSENT, ABSENT, MEASURED]


def test_a_bad_electrode_does_not_come_back_through_a_pair():
    labels = [*(f"{name}-REF" for name in EEG_1020.ch_names), "F7-T3"]
    data = head(EEG_1020.ch_names)
    data = np.vstack([data, data[4:5] - data[5:6]])  # F7 - T3
    planned = plan(labels, "average", flat=["F7-REF"], data=data)
    assert [name for name, _ in planned.bad_channels] == ["F7"]
    assert "F7-T3" not in [labels[pick] for pick in planned.picks]
    assert planned.conditioner.harmoniser.ch_state[EEG_1020.ch_names.index("F7")] == INTERPOLATED


def test_groups_against_different_references_are_judged_apart():
    left = [name for name in EEG_1020.ch_names if name[-1] in "1357z"]
    right = [name for name in EEG_1020.ch_names if name not in left]
    at = {name: i for i, name in enumerate(NAMES)}
    x = head(NAMES)
    x[at["A2"]] += 300 * np.sin(np.arange(x.shape[1]) / 5)  # one ear picks up the heart
    data = np.stack([*(x[at[n]] - x[at["A2"]] for n in left), *(x[at[n]] - x[at["A1"]] for n in right)])
    planned = plan([*(f"{n}-A2" for n in left), *(f"{n}-A1" for n in right)], "average", data=data)
    assert planned.bad_channels == ()
    assert planned.notes == ("mixed_references", "parts_joined")


@pytest.mark.parametrize(
    ("labels", "line"),
    [
        (
            ["C3-P3", "C4-P4"],
            "bipolar_montage: 0 measured, the profile needs 2; there is none of .*; pairs connect only C3-P3",
        ),
        (["C3-SD", "C4-SD"], "bipolar_montage: .*source derivations"),
        (["C3-REF"], "too_few_channels: 1 measured, the profile needs 2; there are C3; missing are Fp1 F3 P3 F7"),
        (["C3-REF", "F8-T4"], "bipolar_montage: 1 measured, the profile needs 2; there are C3; .*only F8-T4"),
        (["F1-REF", "F2-REF"], "too_few_channels: 0 measured, the profile needs 2; there is none of the 19"),
    ],
)
def test_a_refusal_names_what_is_there_and_what_is_missing(labels, line):
    with pytest.raises(UnreadableError, match=line) as refused:
        plan(labels, "average", min_measured=2)
    assert "\n" not in str(refused.value)


def test_profiles_know_their_references():
    with pytest.raises(ValueError, match="'nose' is none of average, source, linked-ears, cz"):
        dataclasses.replace(PRETRAIN, reference="nose")
