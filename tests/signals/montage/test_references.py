import dataclasses

import mne
import numpy as np
import pytest

from signals.modality import EEG_1020
from signals.montage.montage import Derivation, find_electrodes, harmoniser
from signals.montage.references import DOUBLE_BANANA, UndefinedReferenceError, bipolar_matrix
from signals.recording.recording import Recording, Segment, UnreadableError
from signals.windows.plan import plan_recording
from signals.windows.profiles import PRETRAIN

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


def plan(labels, reference):
    raw = raw_of(labels)
    data = raw.get_data().astype(np.float32)
    recording = Recording(
        uri="test", reader="test", ch_names=tuple(labels), sensor_types=("eeg",) * len(labels),
        sfreqs=(SFREQ,) * len(labels), segments=(Segment(0.0, float(SECONDS)),),
        read_samples=lambda picks, segment, start, stop: data[list(picks), start:stop],
    )  # fmt: skip
    profile = dataclasses.replace(PRETRAIN, reference=reference)
    return plan_recording(recording, profile, site_id="s", subject_id="p", source_sha256="0" * 64)


def test_a_plan_says_what_was_recorded_and_refuses_what_cannot_be_made():
    said = plan([f"EEG {name}-LE" for name in EEG_1020.ch_names], "linked-ears")
    assert (said.source_reference, said.profile.reference, said.notes) == ("le", "linked-ears", ())
    mixed = plan(["Fp1-A2", "F3-A2", "C4-A1", "F4-A1"], "average")
    assert (mixed.source_reference, mixed.notes) == ("a1/a2", ("mixed_references",))
    with pytest.raises(UnreadableError, match="undefined_reference: cz: Cz was not recorded"):
        plan(["Fp1", "F3", "C4", "F4"], "cz")


def test_profiles_know_their_references():
    with pytest.raises(ValueError, match="'nose' is none of average, source, linked-ears, cz"):
        dataclasses.replace(PRETRAIN, reference="nose")
