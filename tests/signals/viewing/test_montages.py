import numpy as np
import pytest

from signals.electrodes import CHAINS, TEN_TWENTY
from signals.readers.memory import recording_of_array
from signals.viewing.montages import MONTAGES, side_of, view_montage, view_sfreq

SFREQ = 200.0


def recording(names, n_times=400):
    rng = np.random.default_rng(0)
    return recording_of_array(rng.normal(0, 20, (len(names), n_times)).astype(np.float32), ch_names=names, sfreq=SFREQ)


def seen(one, name, bad=()):
    montage = view_montage(one, name, sfreq=SFREQ, bad=bad)
    return {
        row.label: values for row, values in zip(montage.rows, montage.matrix @ one.read(montage.picks), strict=True)
    }


def test_every_montage_is_what_its_labels_name():
    one = recording(TEN_TWENTY)
    x = dict(zip(TEN_TWENTY, one.read(range(19)), strict=True))
    mean = np.mean(list(x.values()), axis=0)
    np.testing.assert_array_equal(seen(one, "recorded")["Fp1"], x["Fp1"])
    np.testing.assert_allclose(seen(one, "average")["Fp1-avg"], x["Fp1"] - mean, atol=1e-4)
    np.testing.assert_allclose(seen(one, "longitudinal")["F7-T3"], x["F7"] - x["T3"], atol=1e-4)
    np.testing.assert_allclose(seen(one, "transverse")["C3-Cz"], x["C3"] - x["Cz"], atol=1e-4)
    # Nearest four of Cz on the template's sphere: C3 and C4 (0.70 of 1), Fz and Pz (0.73 and 0.70).
    around = (x["C3"] + x["C4"] + x["Fz"] + x["Pz"]) / 4
    np.testing.assert_allclose(seen(one, "laplacian")["Cz-Lap"], x["Cz"] - around, atol=1e-4)
    assert [len(seen(one, name)) for name in MONTAGES] == [19, 19, 18, 18, 19]


def test_pairs_of_a_file_are_read_in_other_montages():
    """The left chains alone: eight electrodes that pairs connect, whose differences are known exactly."""
    names = ("Fp1", "F7", "T3", "T5", "O1", "F3", "C3", "P3")
    uv = dict(zip(names, np.random.default_rng(0).normal(0, 20, (8, 400)), strict=True))
    pairs = [pair for chain in ("LL", "LP") for pair in CHAINS[chain]]
    x = np.array([uv[a] - uv[b] for a, b in pairs], dtype=np.float32)
    one = recording_of_array(x, ch_names=[f"{a}-{b}" for a, b in pairs], sfreq=SFREQ)
    np.testing.assert_allclose(seen(one, "longitudinal")["F7-T3"], uv["F7"] - uv["T3"], atol=1e-3)
    np.testing.assert_allclose(seen(one, "transverse")["F7-F3"], uv["F7"] - uv["F3"], atol=1e-3)
    mean = np.mean(list(uv.values()), axis=0)
    np.testing.assert_allclose(seen(one, "average")["O1-avg"], uv["O1"] - mean, atol=1e-3)


def test_bad_electrodes_reach_no_other_row():
    names = list(TEN_TWENTY)
    one = recording(names)
    x = one.read(range(19))
    x[names.index("T4")] = 1e4
    worse = recording_of_array(x, ch_names=names, sfreq=SFREQ)
    for name in ("average", "laplacian"):
        clean, spoilt = seen(one, name, bad=["T4"]), seen(worse, name, bad=["T4"])
        for label in clean:
            if not label.startswith("T4"):
                np.testing.assert_allclose(spoilt[label], clean[label], atol=1e-2)
    assert abs(seen(worse, "average")["Fp1-avg"].mean()) > 100  # not named bad, it does


def test_few_electrodes_name_the_reason():
    one = recording(["Fp1", "T5", "O2"])
    for name in ("average", "longitudinal", "transverse", "laplacian"):
        montage = view_montage(one, name, sfreq=SFREQ)
        assert montage.rows == ()
        assert montage.reason
    assert len(seen(one, "recorded")) == 3


def test_no_electrode_at_all_is_shown_as_recorded():
    one = recording(["Temp", "<img src=x onerror=alert(1)>", "ECG"])
    montage = view_montage(one, "recorded", sfreq=view_sfreq(one))
    assert [row.side for row in montage.rows] == ["other"] * 3
    assert view_montage(one, "average", sfreq=SFREQ).reason


def test_the_ecg_stands_below_and_is_read_in_microvolts():
    one = recording([*TEN_TWENTY, "ECG"])
    montage = view_montage(one, "longitudinal", sfreq=SFREQ)
    assert montage.rows[-1].kind == "ecg"
    assert montage.rows[-1].label == "ECG"
    np.testing.assert_allclose(seen(one, "longitudinal")["ECG"], 1e3 * one.read([19])[0], rtol=1e-4)
    assert one.read([19]).std() < 1  # mV in the recording


@pytest.mark.parametrize(("name", "side"), [("Fp1", "left"), ("T4", "right"), ("Cz", "midline"), ("P10", "right")])
def test_sides(name, side):
    assert side_of(name) == side


def test_an_unknown_montage_is_refused():
    with pytest.raises(ValueError, match="none of recorded, average"):
        view_montage(recording(TEN_TWENTY), "banana", sfreq=SFREQ)
