import numpy as np
import pytest
from scipy.special import eval_legendre

from signals.electrodes import POSITIONS, TEN_TWENTY, electrode_positions
from signals.modality import EEG_1020
from signals.montage.splines import (
    constants_matrix,
    field_covariance,
    interpolation_error,
    spline_kernel,
    spline_matrix,
)

SCALP = [name for name in POSITIONS if name not in {"A1", "A2", "M1", "M2"}]


def test_spherical_splines_agree_with_mne():
    from mne.channels.interpolation import _make_interpolation_matrix

    names = [name for name in EEG_1020.ch_names if name not in {"Cz", "T5"}]
    sources, targets = electrode_positions(names), electrode_positions(["Cz", "T5"])
    theirs = _make_interpolation_matrix(sources, targets)
    assert np.abs(spline_matrix(sources, targets) - theirs).max() < 1e-9
    # Only directions count.
    assert np.abs(spline_matrix(3 * sources, 0.5 * targets) - theirs).max() < 1e-9


def test_the_kernel_is_the_sum_of_perrin():
    a, b = electrode_positions(["C3"]), electrode_positions(["F4"])
    x = float(a[0] @ b[0] / np.linalg.norm(a[0]) / np.linalg.norm(b[0]))
    wanted = sum((2 * n + 1) / (n * (n + 1)) ** 4 * eval_legendre(n, x) for n in range(1, 51)) / (4 * np.pi)
    assert spline_kernel(a, b)[0, 0] == pytest.approx(wanted, rel=1e-9)


def test_the_covariance_is_one_at_no_distance_and_falls_with_the_angle():
    angles = np.radians([0, 10, 30, 60, 90])
    places = np.stack([np.sin(angles), 0 * angles, np.cos(angles)], axis=1)
    row = field_covariance(places[:1], places)[0]
    assert row[0] == pytest.approx(1.0)
    assert (np.diff(row) < 0).all()
    n = np.arange(1, 81)
    power = (2 * n + 1) / (n * (n + 1.0)) ** 1.75
    wanted = [float(power @ eval_legendre(n, np.cos(angle)) / power.sum()) for angle in angles]
    assert row == pytest.approx(wanted, rel=1e-9)


def test_splines_carry_a_smooth_field():
    # A potential linear in space is what a distant dipole makes; splines must carry it to a left-out electrode.
    names = [name for name in SCALP if name != "C3"]
    field = electrode_positions(names) @ [1.0, 2.0, 3.0]
    wanted = electrode_positions(["C3"]) @ [1.0, 2.0, 3.0]
    weights = spline_matrix(electrode_positions(names), electrode_positions(["C3"]))
    assert weights @ field == pytest.approx(wanted, rel=0.05)


def drawn(names, n=20_000, seed=0):
    """Draw potentials with the covariance of the model, noise of an electrode included, shape (n_names, n)."""
    places = electrode_positions(names)
    covariance = field_covariance(places, places) + 0.03 * np.eye(len(places))
    return np.linalg.cholesky(covariance) @ np.random.default_rng(seed).standard_normal((len(names), n))


def typical():
    x = drawn(TEN_TWENTY, seed=1)
    return np.sqrt(((x - x.mean(axis=0)) ** 2).mean())


@pytest.mark.parametrize("targets", [["C3"], ["T3", "T5"], ["T4", "O2", "Fp2"]])
def test_the_predicted_error_is_that_of_drawn_fields(targets):
    sources = [name for name in TEN_TWENTY if name not in targets]
    x = drawn([*sources, *targets])
    weights = spline_matrix(electrode_positions(sources), electrode_positions(targets))
    missed = x[len(sources) :] - weights @ x[: len(sources)]
    wanted = np.sqrt((missed**2).mean(axis=1)) / typical()
    # 20,000 draws give a standard deviation to 0.5%.
    error = interpolation_error(electrode_positions(sources), electrode_positions(targets), weights)
    assert error == pytest.approx(wanted, rel=0.03)


def test_the_error_of_a_measured_place_is_the_noise_and_grows_with_the_distance():
    sources = electrode_positions(TEN_TWENTY)
    weights = np.eye(19)[:1]
    # Twice the noise of an electrode, 0.03 each, over the typical size.
    assert interpolation_error(sources, sources[:1], weights)[0] == pytest.approx(np.sqrt(0.06) / typical(), rel=0.02)
    left = electrode_positions(["Fp1", "F7", "T3", "T5", "O1", "F3", "C3", "P3"])
    targets = electrode_positions(["Fz", "F4", "F8"])
    error = interpolation_error(left, targets, spline_matrix(left, targets))
    assert 0.9 < error[0] < error[1] < error[2]


def test_constants_make_the_field_smoothest():
    names = ["C3", "F3", "P3", "C4", "F4", "P4", "Fz", "Cz"]
    parts = np.array([0, 0, 0, 1, 1, 1, 2, 2])
    places = electrode_positions(names)
    constants, _ = constants_matrix(places, parts)
    assert constants.shape == (3, 8)
    assert (constants[0] == 0).all()
    precision = np.linalg.inv(field_covariance(places, places) + 0.03 * np.eye(8))

    def roughness(v):
        """v' P v with the level that makes it least."""
        level = precision.sum(axis=0) @ v / precision.sum()
        return (v - level) @ precision @ (v - level)

    u = np.random.default_rng(0).standard_normal(8)
    c = constants @ u
    for step in np.array([[0, 0.01, 0], [0, 0, 0.01], [0, -0.01, 0.01]]):
        assert roughness(u + c[parts]) < roughness(u + (c + step)[parts])
        assert roughness(u + c[parts]) < roughness(u + (c - step)[parts])
    # Constants that were already in u are taken out again: only differences within parts decide.
    shifted = constants @ (u + np.array([0.0, 5.0, -3.0])[parts])
    assert shifted - c == pytest.approx([0.0, -5.0, 3.0])


def test_the_error_of_constants_is_that_of_drawn_fields():
    names = [
        *["Fp1", "F7", "T3", "T5", "O1", "F3", "C3", "P3"],
        *["Fp2", "F8", "T4", "T6", "O2", "F4", "C4", "P4"],
        "Fz",
        "Cz",
        "Pz",
    ]
    parts = np.repeat([0, 1, 2], [8, 8, 3])
    constants, error = constants_matrix(electrode_positions(names), parts)
    x = drawn(names)
    missed = (x + (constants @ x)[parts]) - x  # what the estimate adds to the truth
    missed -= missed.mean(axis=0)
    wanted = [np.sqrt((missed[parts == part] ** 2).mean()) / typical() for part in range(3)]
    assert error == pytest.approx(wanted, rel=0.03)
    assert (error < 0.5).all()
