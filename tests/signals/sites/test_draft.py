"""First drafts: what they infer is right, what is left to fill in is marked, and a completed draft reads the file."""

import re

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from scipy.io import savemat

from cerebeam.cli import main
from signals.readers.channels.caps import abc_names
from signals.readers.registry import open_recording
from signals.recording.recording import UnreadableError
from signals.sites.card import CardError
from signals.sites.card_file import read_card
from signals.sites.draft import draft
from synthetic.recordings.files import write_edf
from synthetic.recordings.laboratory_files import write_mat73

NAMES = ["Fp1", "Fp2", "C3", "C4", "O1", "O2"]


def signal(n=6, n_times=1500, seed=0):
    return 10 * np.random.default_rng(seed).normal(size=(n, n_times)).cumsum(axis=1) % 120 - 60


def answered(path, **answers):
    """Return the card of a file's draft, questions answered: the text behind each key replaced."""
    text = draft(path)
    for key, answer in answers.items():
        text, n = re.subn(rf"^( *){key}: [^\n]*", rf"\g<1>{key}: {answer}", text, flags=re.MULTILINE)
        assert n == 1, key
    card = path.parent / "site-card.yaml"
    card.write_text(text, encoding="utf-8")
    return read_card(str(card))


def test_a_file_that_states_all_needs_no_answer(tmp_path):
    x = signal()
    labels = np.array(NAMES, dtype=object)
    savemat(
        tmp_path / "kid7_a.mat", {"eeg": x.T, "srate": 250.0, "chanlabels": labels, "t": np.arange(1500.0)[:, None]}
    )
    card = answered(tmp_path / "kid7_a.mat")
    recording = open_recording(str(tmp_path / "kid7_a.mat"), declared=card.declared)
    assert (recording.ch_names, recording.sfreqs[0]) == (tuple(NAMES), 250.0)
    np.testing.assert_allclose(recording.read([5]), x[5:], rtol=1e-6)
    assert card.known(str(tmp_path / "kid7_a.mat")).subject == "kid7"


@pytest.mark.parametrize("name", ["v9.npz", "x_v9.mat", "v9.npy", "new_v9.mat"])
@pytest.mark.parametrize("axis", [0, 1])
def test_arrays_need_rate_and_labels(tmp_path, name, axis):
    x, path = signal(), tmp_path / name
    stored = x if axis == 1 else x.T
    if name.endswith(".npz"):
        np.savez(path, v9=stored, small=np.ones((3, 40)))
    elif name.endswith(".npy"):
        np.save(path, stored)
    elif name.startswith("new"):
        write_mat73(path, {"v9": stored})
    else:
        savemat(path, {"v9": stored})
    assert f"axis: {axis} # ? the array is" in draft(path)
    card = tmp_path / "unanswered.yaml"
    card.write_text(draft(path))
    with pytest.raises(CardError, match=r"layout.*: needs"):
        read_card(str(card))
    read = answered(path, rate=200, channels=str(NAMES))
    recording = open_recording(str(path), declared=read.declared)
    np.testing.assert_allclose(recording.read([2]), x[2:3], rtol=1e-6)


def test_a_table_gives_its_clock_and_counter(tmp_path):
    x, path = signal(2, 900), tmp_path / "p1.csv"
    rows = (f"{k % 256},{a},{b},{k / 250:.3f},{1700000000 + k * 0.004:.3f}" for k, (a, b) in enumerate(x.T))
    path.write_text("Sample Index,ch one,ch two,note,Timestamp\n" + "\n".join(rows) + "\n")
    text = draft(path)
    assert "rate: 250.0 # ? by the column 'Timestamp'" in text
    assert 'counter: ["Sample Index", 256]' in text
    text = text.replace('"ch one": ""', '"ch one": "O1"').replace('"ch two": ""', '"ch two": "O2"')
    (tmp_path / "site-card.yaml").write_text(re.sub(r'    "note": ""\n', "", text))
    recording = open_recording(str(path), declared=read_card(str(tmp_path / "site-card.yaml")).declared)
    assert recording.ch_names == ("O1", "O2")
    np.testing.assert_allclose(recording.read([0, 1]), x, rtol=1e-5)


def test_named_electrodes_are_taken_by_name(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("idx,Fp1,Fp2,battery\n" + "\n".join(f"{k},{k % 7},{k % 5},98" for k in range(300)) + "\n")
    recording = open_recording(str(path), declared=answered(path, rate=100).declared)
    assert recording.ch_names == ("Fp1", "Fp2")


def test_a_parquet_table_is_taken_by_its_named_columns(tmp_path):
    x, path = signal(2, 900), tmp_path / "p1.parquet"
    stamps = 1700000000 + np.arange(900) * 0.005
    table = {"time": stamps, "Fp1": x[0], "C3": x[1], "note": ["eyes open"] * 900, "battery": np.full(900, 98)}
    pq.write_table(pa.table(table), path)
    assert "rate: 200.0 # ? by the column 'time'" in draft(path)
    recording = open_recording(str(path), declared=answered(path).declared)
    assert (recording.ch_names, recording.sfreqs) == (("Fp1", "C3"), (200.0, 200.0))
    np.testing.assert_allclose(recording.read([0, 1]), x, rtol=1e-6)
    pq.write_table(pa.table({"note": ["none"] * 9}), path)
    with pytest.raises(UnreadableError, match="unsupported_format"):
        draft(path)


def test_an_array_of_more_rows_than_any_cap_has_electrodes_is_no_recording(tmp_path):
    for n in (600, 601):
        np.save(tmp_path / f"{n}.npy", np.random.default_rng(0).normal(size=(n, 1300)))
    assert "layout:" in draft(tmp_path / "600.npy")
    with pytest.raises(UnreadableError, match="unsupported_format"):
        draft(tmp_path / "601.npy")


def test_a_cap_is_required(tmp_path, capsys):
    path, names = tmp_path / "s.bdf", (*abc_names(32), "EXG1")
    write_edf(path, [signal(33, 20 * 256)], file_format="bdf", ch_names=names, sfreq=256, patient="X",
              record_onsets_s=[float(k) for k in range(20)])  # fmt: skip
    assert main(["site-card", str(path)]) == 0
    text = capsys.readouterr().out
    assert "channels: biosemi32 # ? 32 electrodes are called A1, A2, ...: which cap was worn?" in text
    assert "# ? as it is, the file would be refused: no_eeg_channels" in text
    (tmp_path / "site-card.yaml").write_text(text)
    recording = open_recording(str(path), declared=read_card(str(tmp_path / "site-card.yaml")).declared)
    assert recording.ch_names[:2] == ("Fp1", "AF3")


def test_a_damaged_or_missing_file_is_one_line(tmp_path, capsys):
    (tmp_path / "a.npz").write_bytes(b"PK\x03\x04" + bytes(50))
    (tmp_path / "a.pdf").write_bytes(b"%PDF")
    (tmp_path / "a.csv").write_text("only,names\n")
    for name in ("a.npz", "a.pdf", "a.csv", "none.edf"):
        with pytest.raises(SystemExit) as caught:
            main(["site-card", str(tmp_path / name)])
        assert caught.value.code == 2
        printed = capsys.readouterr()
        assert printed.err.count("\n") == 1
        assert printed.out == ""
