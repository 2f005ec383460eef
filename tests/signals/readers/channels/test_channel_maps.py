import mne
import numpy as np
import pytest

from signals.readers.channels.caps import CAPS, HYDROCEL, NEAREST_128, abc_names, cap_map, positions_128
from signals.readers.channels.channel_maps import ChannelMap, hint, rename_channels
from signals.readers.declaration import Declaration
from signals.readers.memory import recording_of_array
from signals.readers.registry import open_recording
from signals.recording.recording import UnreadableError
from signals.windows.plan import plan_recording
from signals.windows.profiles import PRETRAIN
from synthetic.recordings.files import write_edf

TWENTY = ["Fp1", "Fp2", "F7", "F3", "Fz", "F4", "F8", "T7", "C3", "Cz", "C4", "T8", "P7", "P3", "Pz", "P4", "P8", "O1",
          "Oz", "O2", "Fpz"]  # fmt: skip
EEG_1020_10_10 = set(TWENTY) - {"Oz", "Fpz"}


def recording(ch_names):
    rng = np.random.default_rng(0)
    return recording_of_array(rng.normal(0, 30, (len(ch_names), 256 * 40)), ch_names=ch_names, sfreq=256.0)


def directions(montage):
    places = mne.channels.make_standard_montage(montage).get_positions()["ch_pos"]
    return {name: place / np.linalg.norm(place) for name, place in places.items()}


@pytest.mark.parametrize("cap", ["biosemi16", "biosemi32", "biosemi64"])
def test_orders_of_the_small_caps_are_those_of_mne(cap):
    # MNE's montage files list the labels in BioSemi's order, A1 first
    assert list(CAPS[cap]) == mne.channels.make_standard_montage(cap).ch_names


def test_positions_of_the_cap_of_128_are_those_of_mne():
    theirs = directions("biosemi128")
    ours = positions_128()
    assert list(ours) == list(theirs) == list(abc_names(128))
    for name, place in ours.items():
        # MNE cuts half degrees off BioSemi's angles
        assert np.degrees(np.arccos(min(float(np.dot(place, theirs[name])), 1.0))) < 0.75


def test_the_nearest_electrodes_are_nearest_and_within_six_degrees():
    # BioSemi gives both caps in one system of coordinates; the cap of 64 has 10-20 labels.
    truth, ours = directions("biosemi64"), positions_128()
    assert sorted(NEAREST_128.values()) == sorted(TWENTY)
    for name, label in NEAREST_128.items():
        cosines = {other: float(np.dot(place, truth[label])) for other, place in ours.items()}
        assert max(cosines, key=cosines.__getitem__) == name
        assert np.degrees(np.arccos(min(cosines[name], 1.0))) < 6.5  # MNE cuts half degrees off


def test_without_a_map_abc_names_are_refused_with_what_to_do():
    with pytest.raises(UnreadableError, match=r"no_eeg_channels.*A1.*channels: biosemi32"):
        plan_recording(recording(abc_names(32)), PRETRAIN, site_id="s", subject_id="p", source_sha256="0" * 64)
    assert hint(["A1", "A2", "Fp1", "Fp2"]) == ""  # ears
    assert "net's numbers" in hint([f"E{k}" for k in range(1, 65)])


def test_a_declared_cap_names_the_electrodes(tmp_path):
    names, path = (*abc_names(32), "EXG1"), tmp_path / "lab" / "x.bdf"
    path.parent.mkdir()
    x = 30 * np.random.default_rng(0).standard_normal((33, 40 * 256))
    write_edf(path, [x], file_format="bdf", ch_names=names, sfreq=256, patient="X",
              record_onsets_s=[float(k) for k in range(40)])  # fmt: skip
    assert open_recording(str(path)).ch_names[:2] == ("A1", "A2")
    named = open_recording(str(path), declared=Declaration(channel_map=cap_map("biosemi32")))
    assert named.ch_names == (*CAPS["biosemi32"], "EXG1")
    assert "channel_map" in named.notes
    plan = plan_recording(named, PRETRAIN, site_id="s", subject_id="p", source_sha256="0" * 64)
    assert len(plan.picks) >= 16
    np.testing.assert_allclose(named.read([0]), x[:1], atol=0.05)
    with pytest.raises(UnreadableError, match="32 of the 128 labels"):
        open_recording(str(path), declared=Declaration(channel_map=cap_map("biosemi128")))


def test_sensors_and_the_reference_can_be_declared():
    named = Declaration(sensors=(("EXG1", "eog"),), reference="A1/A2").applied(recording(("Fp1", "EXG1")))
    assert (named.sensor_types, named.reference) == (("eeg", "eog"), "A1/A2")
    with pytest.raises(ValueError, match="'EXG1' is 'eye', which is none of eeg, eog"):
        Declaration(sensors=(("EXG1", "eye"),))


def test_another_cap_is_refused():
    with pytest.raises(UnreadableError, match="16 of the 64 labels") as caught:
        rename_channels(recording(abc_names(16)), cap_map("biosemi64"))
    assert caught.value.reason == "no_eeg_channels"


def test_the_a1_of_a_cap_of_128_is_no_ear():
    named = rename_channels(recording(abc_names(128)), cap_map("biosemi128"))
    assert (named.ch_names[0], named.ch_names[1]) == ("Cz", "BioSemi A2")
    assert len(set(named.ch_names)) == 128
    plan = plan_recording(named, PRETRAIN, site_id="s", subject_id="p", source_sha256="0" * 64)
    assert {d.anode for d in plan.derivations} <= {*TWENTY, "T3", "T4", "T5", "T6"}


def test_contradictions():
    with pytest.raises(ValueError, match="cap='biosemi20' is none of"):
        cap_map("biosemi20")
    with pytest.raises(ValueError, match="needs labels, each once"):
        ChannelMap(name="x", labels=(("a", "Fp1"), ("a", "Fp2")))


@pytest.mark.parametrize(("n", "most"), [(128, 17), (256, 12)])
def test_hydrocel_nets_lie_at_their_10_20_places(n, most):
    """Directions from the centre of the sphere fitted to each of MNE's montages, of net and of the 10-20 system."""
    net = mne.channels.make_standard_montage(f"GSN-HydroCel-{n + 1}").get_positions()["ch_pos"]
    net[f"E{n + 1}"] = net.pop("Cz")
    brain = mne.channels.make_standard_montage("standard_1020").get_positions()["ch_pos"]

    def directions(places, names):
        points = np.array(list(places.values()))
        centre = np.linalg.lstsq(np.c_[2 * points, np.ones(len(points))], (points**2).sum(axis=1))[0][:3]
        chosen = np.array([places[name] for name in names]) - centre
        return chosen / np.linalg.norm(chosen, axis=1, keepdims=True)

    places = HYDROCEL[n]
    assert sorted(places.values()) == sorted(EEG_1020_10_10)
    cosines = (directions(net, places) * directions(brain, places.values())).sum(axis=1)
    assert np.degrees(np.arccos(cosines)).max() < most
    at = dict(zip(places.values(), directions(net, places), strict=True))
    for left, right in (("F3", "F4"), ("C3", "C4"), ("P3", "P4"), ("O1", "O2"), ("F7", "F8"), ("T7", "T8")):
        np.testing.assert_allclose(at[left] * [-1, 1, 1], at[right], atol=0.05)
    mapped = dict(cap_map(f"hydrocel{n}").labels)
    assert len(mapped) == n + 1
    assert all(mapped[f"E{k}"] == places.get(f"E{k}", f"EGI E{k}") for k in range(1, n + 2))
