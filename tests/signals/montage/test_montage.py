import itertools

import numpy as np
import pytest

from signals.electrodes import electrode_positions
from signals.modality import EEG_1020
from signals.montage.labels import Derivation, find_electrodes
from signals.montage.montage import harmoniser, has_no_potential, identity, shortfall
from signals.montage.references import DOUBLE_BANANA, UndefinedReferenceError
from signals.window import ABSENT, INTERPOLATED, MEASURED

NAMES = EEG_1020.ch_names
BANANA = " ".join(f"{a}-{b}" for a, b in DOUBLE_BANANA)
LEFT = ["Fp1", "F7", "T3", "T5", "O1", "F3", "C3", "P3"]


def derivations(labels):
    labels = labels.split()
    return find_electrodes(labels, ["eeg"] * len(labels)).derivations


def states(labels, reference="average"):
    """Return the names of measured, interpolated and absent channels."""
    fit = harmoniser(derivations(labels), EEG_1020, reference)
    return tuple({n for n, s in zip(NAMES, fit.ch_state, strict=True) if s == state} for state in (2, 1, 0))


def referential(names):
    return tuple(Derivation(name, None) for name in names)


def test_interpolated_channels_are_those_of_mne():
    import mne

    names = list(EEG_1020.ch_names)
    positions = dict(zip(names, 0.095 * electrode_positions(names), strict=True))
    x = 20 * np.random.default_rng(3).standard_normal((19, 500))
    raw = mne.io.RawArray(x, mne.create_info(names, 256.0, "eeg"), verbose="error")
    raw.set_montage(mne.channels.make_dig_montage(positions, coord_frame="head"))
    raw.info["bads"] = ["Cz", "T5"]
    raw.interpolate_bads(origin=(0.0, 0.0, 0.0), verbose="error")
    kept = [name for name in names if name not in {"Cz", "T5"}]
    fit = harmoniser(referential(kept), EEG_1020, "source")
    ours = fit.matrix.astype(np.float64) @ x[[names.index(name) for name in kept]]
    assert np.abs(ours - raw.get_data(picks=names)).max() < 1e-6 * np.abs(x).max()


def test_measured_interpolated_and_absent_are_distinguished():
    names = [name for name in EEG_1020.ch_names if name != "Cz"]
    fit = harmoniser(referential(names), EEG_1020, "source")
    cz = EEG_1020.ch_names.index("Cz")
    assert fit.ch_state[cz] == INTERPOLATED
    assert (np.delete(fit.ch_state, cz) == MEASURED).all()
    few = harmoniser(referential(["Fp1", "C3", "O1"]), EEG_1020, "source")
    assert (few.ch_state == MEASURED).sum() == 3
    assert (few.ch_state == ABSENT).sum() == 16


def test_order_of_channels_does_not_matter():
    rng = np.random.default_rng(0)
    x = rng.standard_normal((19, 100)).astype(np.float32)
    order = rng.permutation(19)
    shuffled = referential([EEG_1020.ch_names[i] for i in order])
    in_order = harmoniser(referential(EEG_1020.ch_names), EEG_1020, "average").matrix @ x
    assert np.allclose(harmoniser(shuffled, EEG_1020, "average").matrix @ x[order], in_order, atol=1e-5)


def test_average_reference_sums_to_zero_and_forgets_the_old_reference():
    x = np.random.default_rng(1).standard_normal((19, 50)).astype(np.float32)
    fit = harmoniser(referential(EEG_1020.ch_names), EEG_1020, "average")
    assert np.abs((fit.matrix @ x).sum(axis=0)).max() < 1e-4
    assert np.allclose(fit.matrix @ (x + 50.0), fit.matrix @ x, atol=1e-3)


def test_unneeded_picks_are_not_read():
    names = [*EEG_1020.ch_names, "FC1", "CP2", "PO7"]
    assert harmoniser(referential(names), EEG_1020, "average").used.tolist() == list(range(19))


def test_connected_bipolar_chains_give_the_average_referenced_potentials():
    chain = [
        "Fp1",
        "F7",
        "T3",
        "T5",
        "O1",
        "P3",
        "C3",
        "F3",
        "Fz",
        "Cz",
        "Pz",
        "P4",
        "C4",
        "F4",
        "Fp2",
        "F8",
        "T4",
        "T6",
        "O2",
    ]
    potentials = np.random.default_rng(2).standard_normal((19, 30))
    index = {name: i for i, name in enumerate(EEG_1020.ch_names)}
    pairs = list(itertools.pairwise(chain))
    bipolar = np.stack([potentials[index[a]] - potentials[index[b]] for a, b in pairs])
    fit = harmoniser(tuple(Derivation(a, b) for a, b in pairs), EEG_1020, "average")
    assert (fit.ch_state == MEASURED).all()
    assert np.allclose(fit.matrix @ bipolar, potentials - potentials.mean(axis=0), atol=1e-4)


def test_a_set_of_channels_is_worked_out_once():
    names = [name for name in EEG_1020.ch_names if name != "Cz"]
    assert harmoniser(referential(names), EEG_1020, "average") is harmoniser(referential(names), EEG_1020, "average")


def test_unknown_reference_is_refused():
    with pytest.raises(ValueError, match="linked"):
        harmoniser(referential(["Cz"]), EEG_1020, "linked")  # type: ignore[arg-type]


def test_a_full_set_against_one_reference_is_only_re_referenced():
    fit = harmoniser(referential(NAMES), EEG_1020, "source")
    assert np.array_equal(fit.matrix, np.eye(19))
    assert (fit.reference, fit.n_parts, fit.apart, fit.notes) == ("source", 1, (), ())
    assert np.array_equal(fit.depends, np.eye(19, dtype=bool))
    assert (fit.spread == 0).all()
    averaged = harmoniser(referential(NAMES), EEG_1020, "average")
    # Computed once, in float64: the shards of one version are those of the next.
    assert np.array_equal(averaged.matrix, (np.eye(19) - np.full((19, 19), 1 / 19)).astype(np.float32))
    assert np.array_equal(averaged.depends, np.eye(19, dtype=bool))
    assert averaged.reference == "average"


def test_the_double_banana_keeps_both_sides_and_the_midline():
    assert states(BANANA) == (set(NAMES), set(), set())
    fit = harmoniser(derivations(BANANA), EEG_1020, "average")
    assert fit.n_parts == 3
    assert fit.notes == ("parts_joined",)
    assert fit.used.tolist() == list(range(18))
    assert np.abs(fit.matrix.sum(axis=0)).max() < 1e-6
    row = NAMES.index("T3")
    # T3 is made of the left chains; the others only say where its level lies.
    assert [f"{a}-{b}" for (a, b), d in zip(DOUBLE_BANANA, fit.depends[row], strict=True) if d] == [
        f"{a}-{b}" for a, b in DOUBLE_BANANA if a in LEFT and b in LEFT
    ]


@pytest.mark.parametrize("labels", ["Fpz-Cz Pz-Oz", "C3-P3 C4-P4", "F3-C3 C3-P3 F4-C4 C4-P4", "F3-Cz C3-Cz"])
@pytest.mark.parametrize("reference", ["average", "source", "cz", "linked-ears"])
def test_a_pair_never_becomes_a_referential_channel(labels, reference):
    assert states(labels, reference) == (set(), set(), set(NAMES))
    fit = harmoniser(derivations(labels), EEG_1020, reference)
    assert fit.used.size == 0
    assert fit.notes == ("parts_apart",)


def test_an_own_channel_wins_over_a_pair_listed_first():
    labels = f"F7-T3 C4-P4 {' '.join(f'{name}-REF' for name in NAMES)}"
    fit = harmoniser(derivations(labels), EEG_1020, "source")
    assert np.array_equal(fit.matrix, np.eye(19, 21, 2))


def test_one_side_does_not_interpolate_the_other():
    measured, interpolated, absent = states(" ".join(LEFT))
    assert (measured, interpolated, absent) == (set(LEFT), set(), set(NAMES) - set(LEFT))
    fit = harmoniser(referential(LEFT), EEG_1020, "average")
    assert (fit.matrix[fit.ch_state == ABSENT] == 0).all()
    assert not fit.depends[fit.ch_state == ABSENT].any()
    # The average is that of what is known.
    assert np.abs(fit.matrix.sum(axis=0)).max() < 1e-6


@pytest.mark.parametrize(
    ("removed", "interpolated"),
    [
        *(([name], {name}) for name in NAMES),
        (["T3", "T5"], set()),  # nothing is left over the temple
        (["O1", "O2"], {"O1", "O2"}),
        (["C3", "C4"], {"C3", "C4"}),
        (["Fz", "Cz", "Pz"], {"Fz", "Cz", "Pz"}),
        (["Fp1", "Fp2", "F7", "F8"], set()),
    ],
)
def test_what_geometry_allows_is_interpolated(removed, interpolated):
    kept = [name for name in NAMES if name not in removed]
    assert states(" ".join(kept)) == (set(kept), interpolated, set(removed) - interpolated)


def test_fewer_than_eight_interpolate_nothing():
    seven = ["Fz", "Cz", "Pz", "F3", "P3", "F4", "P4"]
    assert states(" ".join(seven))[1] == set()
    assert {"C3", "C4"} <= states(" ".join([*seven, "T3"]))[1]


def test_interpolated_channels_depend_on_all_electrodes_they_are_made_of():
    labels = " ".join(f"{name}-REF" for name in [*(n for n in NAMES if n != "Cz"), "A1", "FC1"])
    fit = harmoniser(derivations(labels), EEG_1020, "average")
    cz = NAMES.index("Cz")
    assert fit.depends[cz].tolist() == [True] * 18 + [False, True]  # the ear is no source, FC1 is one
    assert fit.used.tolist() == [*range(18), 19]


def test_three_channels_have_no_average():
    fit = harmoniser(referential(["Fp1", "C3", "O1"]), EEG_1020, "average")
    assert fit.reference == "source"
    assert np.array_equal(fit.matrix[[NAMES.index(n) for n in ("Fp1", "C3", "O1")]], np.eye(3))
    four = harmoniser(referential(["Fp1", "C3", "O1", "Fz"]), EEG_1020, "average")
    assert four.reference == "average"
    assert np.allclose(four.matrix.sum(axis=0), 0, atol=1e-7)


def test_few_channels_against_opposite_ears_are_as_recorded():
    fit = harmoniser(derivations("F4-A1 Cz-A2"), EEG_1020, "average")
    assert (fit.reference, fit.n_parts) == ("source", 1)
    assert fit.matrix[[NAMES.index("F4"), NAMES.index("Cz")]].tolist() == [[1, 0], [0, 1]]


def test_as_recorded_interpolates_from_one_reference_only():
    right = [name for name in NAMES if name not in LEFT]
    labels = " ".join([f"{name}-A1" for name in right if name != "C4"] + [f"{name}-A2" for name in LEFT])
    fit = harmoniser(derivations(labels), EEG_1020, "source")
    c4 = NAMES.index("C4")
    assert fit.ch_state[c4] == INTERPOLATED
    assert (fit.matrix[c4, : len(right) - 1] != 0).all()
    assert (fit.matrix[c4, len(right) - 1 :] == 0).all()
    assert fit.notes == ()
    # Each against its own reference.
    assert np.array_equal(fit.matrix[NAMES.index("T3")], np.eye(18)[len(right) - 1 + LEFT.index("T3")])


@pytest.mark.parametrize("reference", ["average", "source", "cz"])
def test_spread_is_what_one_electrode_does_to_all_channels(reference):
    kept = [name for name in NAMES if name not in ("T4", "Pz")]
    fit = harmoniser(referential(kept), EEG_1020, reference)
    for name in ("C3", "Cz", "T6"):
        potentials = np.array([float(other == name) for other in kept])
        alone = np.array([float(other == name) for other in NAMES])
        wanted = fit.matrix.astype(np.float64) @ potentials - alone
        assert np.allclose(fit.spread[:, NAMES.index(name)], wanted, atol=1e-6)
    assert (fit.spread[:, NAMES.index("T4")] == 0).all()


def test_spread_of_pairs_follows_both_ends():
    fit = harmoniser(derivations(BANANA), EEG_1020, "average")
    seen = np.array([float(a == "T3") - float(b == "T3") for a, b in DOUBLE_BANANA])
    alone = np.array([float(name == "T3") for name in NAMES])
    assert np.allclose(fit.spread[:, NAMES.index("T3")], fit.matrix @ seen - alone, atol=1e-6)


def test_pairs_have_no_recorded_reference():
    with pytest.raises(UndefinedReferenceError, match="no common reference"):
        harmoniser(derivations(BANANA), EEG_1020, "source")
    with pytest.raises(UndefinedReferenceError, match="Cz was not recorded together"):
        harmoniser(derivations(BANANA), EEG_1020, "cz")


def test_the_identity_changes_nothing():
    fit = identity(2)
    assert np.array_equal(fit.matrix, np.eye(2))
    # Samples are float32, and stay so.
    assert {a.dtype for a in (fit.matrix, fit.spread)} == {np.dtype(np.float32)}
    averaged = harmoniser(referential(NAMES), EEG_1020, "average")
    assert {a.dtype for a in (averaged.matrix, averaged.spread)} == {np.dtype(np.float32)}
    assert fit.used.tolist() == [0, 1]
    assert (fit.ch_state == MEASURED).all()
    assert (fit.reference, fit.notes) == ("source", ())
    assert fit.depends.tolist() == [[True, False], [False, True]]
    assert (fit.spread == 0).all()


@pytest.mark.parametrize(
    ("labels", "line"),
    [
        (
            "F4-A1 Cz-A2",
            "there are Cz F4; missing are Fp1 F3 C3 P3 F7 T3 T5 O1 Fz Pz Fp2 C4 P4 F8 T4 T6 O2",
        ),
        (
            "C3-P3 C4-P4",
            "there is none of the 19; pairs connect only C3-P3, C4-P4, and 8 electrodes must belong together",
        ),
        ("C3-SD", "there is none of the 19; source derivations (Laplacian) give no potentials"),
    ],
)
def test_a_shortfall_names_what_is_there_and_what_is_missing(labels, line):
    found = derivations(labels)
    assert shortfall(found, harmoniser(found, EEG_1020, "average"), EEG_1020) == line
    assert has_no_potential(found) == ("SD" in labels)
