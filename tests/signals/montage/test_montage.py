import itertools

import numpy as np
import pytest

from signals.electrodes import POSITIONS, electrode_positions
from signals.modality import EEG_1020
from signals.montage.montage import Derivation, find_electrodes, harmoniser, parse_label, spline_matrix
from signals.window import ABSENT, INTERPOLATED, MEASURED


def referential(names):
    return tuple(Derivation(name, None) for name in names)


@pytest.mark.parametrize(
    ("label", "wanted"),
    [
        ("Fp1", Derivation("Fp1", None)),
        ("EEG Fp1-REF", Derivation("Fp1", None, "REF")),
        ("EEG FP1-LE", Derivation("Fp1", None, "LE")),
        ("FP1-A2", Derivation("Fp1", None, "A2")),
        ("Fc5.", Derivation("FC5", None)),
        ("EEG T7", Derivation("T3", None)),
        ("POL F3", Derivation("F3", None)),
        ("T8-P8-0", Derivation("T4", "T6")),
        ("FP1-F7", Derivation("Fp1", "F7")),
        ("EEG A1-REF", Derivation("A1", None, "REF")),
        ("EEG A2-A1", None),
        ("EKG", None),
        ("SpO2", None),
    ],
)
def test_parse_label(label, wanted):
    assert parse_label(label) == wanted


def test_find_electrodes_leaves_other_sensors_and_repeats_out():
    found = find_electrodes(["Fp1", "EKG", "FP1", "C3"], ["eeg", "ecg", "eeg", "eeg"])
    assert found.picks == (0, 3)


def test_spherical_splines_agree_with_mne():
    from mne.channels.interpolation import _make_interpolation_matrix

    names = [name for name in EEG_1020.ch_names if name not in {"Cz", "T5"}]
    sources, targets = electrode_positions(names), electrode_positions(["Cz", "T5"])
    theirs = _make_interpolation_matrix(sources, targets)
    assert np.abs(spline_matrix(sources, targets) - theirs).max() < 1e-9


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


def test_splines_carry_a_smooth_field():
    # A potential linear in space is what a distant dipole makes; splines must carry it to a left-out electrode.
    names = [name for name in POSITIONS if name not in {"A1", "A2", "M1", "M2", "C3"}]
    field = electrode_positions(names) @ [1.0, 2.0, 3.0]
    wanted = electrode_positions(["C3"]) @ [1.0, 2.0, 3.0]
    assert spline_matrix(electrode_positions(names), electrode_positions(["C3"])) @ field == pytest.approx(
        wanted, rel=0.05
    )


def test_measured_interpolated_and_absent_are_told_apart():
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
    straight = harmoniser(referential(EEG_1020.ch_names), EEG_1020, "average").matrix @ x
    assert np.allclose(harmoniser(shuffled, EEG_1020, "average").matrix @ x[order], straight, atol=1e-5)


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


def test_channels_against_one_electrode_are_referential():
    labels = [f"{name}-Cz" for name in EEG_1020.ch_names if name != "Cz"]
    found = find_electrodes(labels, ["eeg"] * len(labels))
    assert not found.is_bipolar


def test_a_set_of_channels_is_worked_out_once():
    names = [name for name in EEG_1020.ch_names if name != "Cz"]
    assert harmoniser(referential(names), EEG_1020, "average") is harmoniser(referential(names), EEG_1020, "average")


def test_unknown_reference_is_refused():
    with pytest.raises(ValueError, match="linked"):
        harmoniser(referential(["Cz"]), EEG_1020, "linked")  # type: ignore[arg-type]
