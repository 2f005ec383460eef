import csv
import io
import json
from contextlib import redirect_stdout

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from scipy.special import rel_entr

from cerebeam.six_class.commands import main
from model.supervised.supervised import new_network
from signals.modality import EEG_1020
from signals.shards.normalise import Normaliser
from signals.tasks import SIX_CLASS
from signals.windows.profiles import PROFILES
from synthetic.recordings.hms import write_hms

VOTES = list(SIX_CLASS.vote_columns)


@pytest.fixture(scope="module")
def hms(tmp_path_factory):
    """Four patients with holes and overlapping labels; the first one's spectrogram is missing."""
    made = write_hms(tmp_path_factory.mktemp("data") / "hms", seed=11, n_patients=4, recordings_per_patient=1)
    with (made.root / "train.csv").open() as file:
        row = next(csv.DictReader(file))
    (made.root / "train_spectrograms" / f"{row['spectrogram_id']}.parquet").unlink()
    return made


@pytest.fixture(scope="module")
def trained(hms, tmp_path_factory):
    out = tmp_path_factory.mktemp("runs") / "hms"
    command = ["train", "--json", "--hms", str(hms.root), "--output", str(out), "--folds", "2", "--", "--tiny"]
    with redirect_stdout(io.StringIO()) as printed:
        assert main(command) == 0
    assert json.loads(printed.getvalue())["scores"] == json.loads((out / "competition.json").read_text())["scores"]
    return out, command


def test_training_leaves_predictions_a_score_and_a_model(hms, trained, capsys):
    out, _ = trained
    frame = pd.read_parquet(out / "predictions.parquet")
    encoder = frame[frame["model"] == "encoder"]
    assert len(encoder) == hms.n_labels
    # a patient stands in one fold
    assert (encoder.groupby("subject_id")["fold"].nunique() == 1).all()
    assert encoder["subject_id"].nunique() == 4
    with (hms.root / "train.csv").open() as file:
        votes = sorted(sum(float(row[name]) for name in VOTES) for row in csv.DictReader(file))
    assert sorted(encoder["n_votes"]) == votes
    scores = json.loads((out / "competition.json").read_text())["scores"]
    ours = next(row for row in scores if (row["model"], row["group"]) == ("encoder", "all"))
    assert (ours["n_recordings"], ours["n_patients"]) == (4, 4)
    # by hand: votes added, answers averaged and clipped, scipy's relative entropy
    kl = []
    for _, rows in encoder.groupby("recording_id"):
        target = np.average(rows[[f"target_{c}" for c in SIX_CLASS.classes]], axis=0, weights=rows["n_votes"])
        prob = rows[[f"prob_{c}" for c in SIX_CLASS.classes]].mean().to_numpy()
        kl.append(rel_entr(target, np.clip(prob, 1e-15, 1 - 1e-15)).sum())
    assert ours["kl"] == pytest.approx(np.mean(kl), rel=1e-6)
    config = json.loads((out / "model" / "config.json").read_text())
    assert config["profile"]["name"] == "six-class-spectrogram"


def test_every_row_of_the_test_part_is_answered(hms, trained, tmp_path, capsys):
    """EEGs of 8 s and 30 s, and one with holes: all have a row, in the table's order, and no file is left behind."""
    out, _ = trained
    part = tmp_path / "part"
    for folder in ("test_eegs", "test_spectrograms"):
        (part / folder).mkdir(parents=True)
    (part / "test.csv").write_text((hms.root / "test.csv").read_text())
    with (part / "test.csv").open() as file:
        rows = list(csv.DictReader(file))
    for i, row in enumerate(rows):
        table = pq.read_table(hms.root / "test_eegs" / f"{row['eeg_id']}.parquet").to_pandas()
        table = table.iloc[: {0: 30, 1: 8}.get(i, 50) * 200]  # a label speaks of 10 s
        if i == 2:
            table.iloc[2000:6000] = np.nan
        table.to_parquet(part / "test_eegs" / f"{row['eeg_id']}.parquet")
        if i != 3:
            name = f"{row['spectrogram_id']}.parquet"
            (part / "test_spectrograms" / name).write_bytes((hms.root / "test_spectrograms" / name).read_bytes())
    capsys.readouterr()
    command = ["predict", "--hms-test", str(part), "--model", str(out / "model"), "--out", str(tmp_path / "s.csv")]
    assert main(command) == 0
    printed = capsys.readouterr()
    assert f"line 3: eeg_id {rows[1]['eeg_id']} has no segment that can be used" in printed.err
    assert f"line 5: test_spectrograms/{rows[3]['spectrogram_id']}.parquet does not exist" in printed.err
    answers = pd.read_csv(tmp_path / "s.csv", dtype={"eeg_id": str})
    assert list(answers.columns) == ["eeg_id", *VOTES]
    assert answers["eeg_id"].tolist() == [row["eeg_id"] for row in rows]
    values = answers[VOTES].to_numpy()
    np.testing.assert_allclose(values.sum(axis=1), 1.0, atol=1e-12)
    assert (values > 0).all()
    np.testing.assert_allclose(values[1], 1 / 6)
    assert all(np.ptp(values[i]) > 1e-6 for i in (0, 2, 3))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["part", "s.csv"]
    network = new_network(
        "resnet_gru", SIX_CLASS, EEG_1020, Normaliser(kind="window"), dropout=0.0, provenance={},
        profile=PROFILES["six-class-spectrogram"].to_dict(),
    )  # fmt: skip
    network.save_pretrained(tmp_path / "network")
    capsys.readouterr()
    assert main([*command[:4], str(tmp_path / "network"), "--out", str(tmp_path / "n.csv"), "--json"]) == 0
    printed, row = json.loads(capsys.readouterr().out), f"test.csv line 3: eeg_id {rows[1]['eeg_id']}"
    assert printed == {"submission": str(tmp_path / "n.csv"), "n_rows": 4, "without_an_answer": [row]}
    others = pd.read_csv(tmp_path / "n.csv", dtype={"eeg_id": str})
    assert others["eeg_id"].tolist() == answers["eeg_id"].tolist()
    assert np.abs(others[VOTES].to_numpy() - values)[[0, 2, 3]].max() > 1e-3


def test_the_same_command_goes_on_and_another_is_refused(trained, capsys):
    _, command = trained
    assert main([*command[:-3], "3", "--", "--tiny"]) == 2
    assert "begun with another folds" in capsys.readouterr().err


def model_folder(tmp_path, profile=None):
    (tmp_path / "model").mkdir()
    fields = {} if profile is None else {"profile": profile}
    (tmp_path / "model" / "config.json").write_text(json.dumps(fields))
    return tmp_path / "model"


@pytest.mark.parametrize(
    ("profile", "says"),
    [
        (None, "does not say how windows were made"),
        ({**PROFILES["six-class"].to_dict(), "h_freq": 40.0}, "a changed profile 'six-class'"),
    ],
)
def test_models_of_windows_that_cannot_be_made_again_are_refused(hms, tmp_path, capsys, profile, says):
    model = model_folder(tmp_path, profile)
    assert main(["predict", "--hms-test", str(hms.root), "--model", str(model), "--out", str(tmp_path / "s.csv")]) == 2
    err = capsys.readouterr().err
    assert says in err
    assert err.count("\n") == 1
    assert not (tmp_path / "s.csv").exists()


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ("votes", "line 2: vote counts"),
        ("folds", "--folds 9 must be at least 2 and at most the number of patients, 4"),
        ("nothing", "no train.csv"),
        ("precious", "is no former training"),
    ],
)
def test_bad_input_is_one_line_and_leaves_nothing(hms, tmp_path, capsys, change, says):
    root, out = tmp_path / "hms", tmp_path / "out"
    if change in ("folds", "precious"):
        root = hms.root
    elif change == "votes":
        (root / "train_eegs").mkdir(parents=True)
        lines = (hms.root / "train.csv").read_text().splitlines()
        lines[1] = ",".join([*lines[1].split(",")[:-6], *["0"] * 6])
        (root / "train.csv").write_text("\n".join(lines) + "\n")
    if change == "precious":
        out.mkdir()
        (out / "thesis.txt").touch()
    folds = "9" if change == "folds" else "2"
    assert main(["train", "--hms", str(root), "--output", str(out), "--folds", folds]) == 2
    err = capsys.readouterr().err
    assert says in err
    assert err.count("\n") == 1
    assert [path.name for path in out.iterdir()] == ["thesis.txt"] if change == "precious" else not out.exists()
