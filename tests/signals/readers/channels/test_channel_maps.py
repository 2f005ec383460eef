import mne
import numpy as np
import pytest

from signals.readers.channels.caps import CAPS, NEAREST_128, abc_names, cap_map, positions_128
from signals.readers.channels.channel_maps import ChannelMap, declare_map, hint, rename_channels
from signals.readers.memory import recording_of_array
from signals.readers.registry import open_recording
from signals.recording.recording import UnreadableError
from signals.windows.plan import plan_recording
from signals.windows.profiles import PRETRAIN
from synthetic.recordings.files import write_edf

TWENTY = ["Fp1", "Fp2", "F7", "F3", "Fz", "F4", "F8", "T7", "C3", "Cz", "C4", "T8", "P7", "P3", "Pz", "P4", "P8", "O1",
          "Oz", "O2", "Fpz"]  # fmt: skip


@pytest.fixture(autouse=True)
def declared(monkeypatch):
    """Maps declared in a test stay in it."""
    monkeypatch.setattr("signals.readers.channels.channel_maps._declared", {})


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
    with pytest.raises(UnreadableError, match=r"no_eeg_channels.*A1.*cap_map\('biosemi32', pattern="):
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
    declare_map(cap_map("biosemi32", pattern="*/lab/*"))
    named = open_recording(str(path))
    assert named.ch_names == (*CAPS["biosemi32"], "EXG1")
    assert "channel_map" in named.notes
    plan = plan_recording(named, PRETRAIN, site_id="s", subject_id="p", source_sha256="0" * 64)
    assert len(plan.picks) >= 16
    np.testing.assert_allclose(named.read([0]), x[:1], atol=0.05)
    declare_map(cap_map("biosemi64", pattern="*/lab/x.*"))  # the longer pattern counts, and it is another cap's
    with pytest.raises(UnreadableError, match="16 of the 64 labels") as caught:
        rename_channels(recording(abc_names(16)), cap_map("biosemi64", pattern="*"))
    assert caught.value.reason == "no_eeg_channels"


def test_the_a1_of_a_cap_of_128_is_no_ear():
    named = rename_channels(recording(abc_names(128)), cap_map("biosemi128", pattern="*"))
    assert (named.ch_names[0], named.ch_names[1]) == ("Cz", "BioSemi A2")
    assert len(set(named.ch_names)) == 128
    plan = plan_recording(named, PRETRAIN, site_id="s", subject_id="p", source_sha256="0" * 64)
    assert {d.anode for d in plan.derivations} <= {*TWENTY, "T3", "T4", "T5", "T6"}


def test_contradictions():
    with pytest.raises(ValueError, match="cap='biosemi20' is none of"):
        cap_map("biosemi20", pattern="*")
    with pytest.raises(ValueError, match="needs labels, each once"):
        ChannelMap(name="x", labels=(("a", "Fp1"), ("a", "Fp2")))
    declare_map(cap_map("biosemi32", pattern="*/a/*"))
    declare_map(cap_map("biosemi32", pattern="*/a/*"))
    with pytest.raises(ValueError, match="another channel map"):
        declare_map(cap_map("biosemi64", pattern="*/a/*"))
