"""The competition's score against SciPy and scikit-learn, and what it refuses."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.special import rel_entr
from scipy.stats import entropy
from sklearn.metrics import log_loss

from evaluation.competition import (
    CompetitionScore,
    SubmissionError,
    by_recording,
    competition_scores,
    main,
    score,
    table,
)
from evaluation.schemas.predictions import Predictions, write_predictions
from signals.tasks import SIX_CLASS

COLUMNS = list(SIX_CLASS.vote_columns)


def shares(n: int, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return rng.multinomial(8, rng.dirichlet(np.ones(6) / 2), size=n) / 8


def answers(n: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).dirichlet(np.ones(6), size=n)


def csv_table(values: np.ndarray) -> pd.DataFrame:
    return pd.DataFrame({"eeg_id": np.arange(len(values)) + 1000, **dict(zip(COLUMNS, values.T, strict=True))})


def test_score_equals_scipy_and_scikit_learn() -> None:
    target, prob = shares(300, 0), answers(300, 1)
    ours = score(csv_table(target), csv_table(prob))
    assert ours == pytest.approx(rel_entr(target, prob).sum(axis=1).mean(), abs=1e-12)
    assert ours == pytest.approx(entropy(target, prob, axis=1).mean(), abs=1e-12)
    # KL = cross-entropy minus the votes' own entropy; scikit-learn's log loss with a row a class, weighted by its share
    weights, classes = target.ravel(), np.tile(np.arange(6), len(target))
    cross = log_loss(classes, np.repeat(prob, 6, axis=0), sample_weight=weights, labels=range(6))
    assert ours == pytest.approx(cross - entropy(target, axis=1).mean(), abs=1e-9)


def test_certainty_is_clipped_and_not_rescaled() -> None:
    target, prob = np.eye(6)[[0, 1]], np.eye(6)[[0, 0]]
    # The right one costs -ln(1 - 1e-15), the wrong one 15 ln 10.
    expected = (-np.log(1 - 1e-15) + 15 * np.log(10)) / 2
    assert score(csv_table(target), csv_table(prob)) == pytest.approx(expected, rel=1e-12)


def test_rows_and_columns_go_by_name() -> None:
    target, prob = csv_table(shares(20, 2)), csv_table(answers(20, 3))
    shuffled = prob.sample(frac=1.0, random_state=0)[[*COLUMNS[::-1], "eeg_id"]]
    assert score(target, shuffled) == pytest.approx(score(target, prob), abs=1e-15)


def broken(change: str) -> pd.DataFrame:
    table = csv_table(answers(5, 0))
    if change == "column":
        return table.drop(columns="gpd_vote")
    if change == "missing":
        return table.iloc[:-1]
    if change == "unknown":
        return pd.concat([table, table.iloc[:1].assign(eeg_id=7)])
    if change == "twice":
        return pd.concat([table, table.iloc[:1]])
    if change == "text":
        return table.assign(lpd_vote="much")
    values = table[COLUMNS].to_numpy().copy()
    values[2] = {"sum": values[2] * 0.9, "negative": [-0.1, 1.1, 0, 0, 0, 0], "nan": np.nan}[change]
    return csv_table(values)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ("column", "submission is missing the columns gpd_vote"),
        ("missing", "submission is missing eeg_id 1004"),
        ("unknown", "submission has eeg_id 7,"),
        ("twice", "eeg_id 1000 more than once"),
        ("text", "no number: .*much"),
        ("sum", "eeg_id 1002 sums to 0.9, not to 1"),
        ("negative", "eeg_id 1002 has a value outside"),
        ("nan", "eeg_id 1002 has a value outside"),
    ],
)
def test_what_the_competition_refuses_is_refused_by_row(change: str, says: str) -> None:
    with pytest.raises(SubmissionError, match=says):
        score(csv_table(shares(5, 0)), broken(change))


def predictions(n_windows: int = 12) -> Predictions:
    """Windows of 4 recordings of 2 patients; the last recording has few votes."""
    frames = []
    for model, seed in (("encoder", 4), ("prior", 5)):
        target, prob = shares(n_windows, 6), answers(n_windows, seed)
        recording = np.arange(n_windows) % 4
        frames.append(pd.DataFrame({
            "window_key": [f"{i:04}" for i in range(n_windows)],
            "recording_id": [f"r{i}" for i in recording],
            "subject_id": [f"p{i // 2}" for i in recording],
            "site_id": "hms", "fold": "fold0", "model": model,
            "label": [SIX_CLASS.classes[k] for k in target.argmax(axis=1)],
            "n_votes": np.where(recording == 3, 4.0, 12.0),
            **{f"target_{c}": target[:, k] for k, c in enumerate(SIX_CLASS.classes)},
            **{f"prob_{c}": prob[:, k] for k, c in enumerate(SIX_CLASS.classes)},
        }))  # fmt: skip
    return Predictions(frame=pd.concat(frames), task="six-class", classes=SIX_CLASS.classes)


def test_a_recordings_windows_are_one_row() -> None:
    given = predictions()
    rows = given.of("encoder")
    rows.loc[rows["window_key"] == "0000", "n_votes"] = 36.0  # thrice the say of its two neighbours
    joined = by_recording(rows, given.classes).set_index("recording_id")
    mine = rows[rows["recording_id"] == "r0"]
    weights = mine["n_votes"].to_numpy()
    for name in given.classes:
        expected = np.average(mine[f"target_{name}"], weights=weights)
        assert joined.loc["r0", f"target_{name}"] == pytest.approx(expected)
        assert joined.loc["r0", f"prob_{name}"] == pytest.approx(mine[f"prob_{name}"].mean())
    assert joined.loc["r0", "most_votes"] == 36.0
    assert joined.loc["r3", "subject_id"] == "p1"
    # without counts every window has one voice
    plain = by_recording(rows.drop(columns="n_votes"), given.classes).set_index("recording_id")
    assert plain.loc["r0", "target_LPD"] == pytest.approx(mine["target_LPD"].mean())


def test_scores_by_recording_with_patients_drawn() -> None:
    given = predictions()
    scores = competition_scores(given)
    assert [(s.model, s.group, s.n_recordings) for s in scores] == [
        ("encoder", "all", 4), ("encoder", "10 votes", 3), ("prior", "all", 4), ("prior", "10 votes", 3),
    ]  # fmt: skip
    joined = by_recording(given.of("encoder"), given.classes)
    columns = [[f"{kind}_{c}" for c in given.classes] for kind in ("target", "prob")]
    kl = rel_entr(joined[columns[0]].to_numpy(), joined[columns[1]].to_numpy()).sum(axis=1)
    assert scores[0].kl == pytest.approx(kl.mean())
    # Two patients a and b of two recordings: the standard error of their mean is |a - b| / 2, Student's t of one degree
    # of freedom 12.706, and the interval is that of the logarithm.
    reach = 12.706 * abs(kl[:2].mean() - kl[2:].mean()) / 2 / kl.mean()
    assert np.log(scores[0].high / scores[0].kl) == pytest.approx(reach, rel=0.05)
    assert np.log(scores[0].kl / scores[0].low) == pytest.approx(reach, rel=0.05)


def test_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_predictions(tmp_path / "p.parquet", predictions())
    assert main([str(tmp_path / "p.parquet"), "--output", str(tmp_path / "scores.json")]) == 0
    assert "encoder" in capsys.readouterr().out
    written = json.loads((tmp_path / "scores.json").read_text())["scores"]
    assert [row["kl"] for row in written] == [s.kl for s in competition_scores(predictions())]
    csv_table(shares(5, 0)).to_csv(tmp_path / "solution.csv", index=False)
    csv_table(answers(5, 1)).to_csv(tmp_path / "submission.csv", index=False)
    both = ["--submission", str(tmp_path / "submission.csv"), "--solution", str(tmp_path / "solution.csv")]
    assert main(both) == 0
    expected = score(csv_table(shares(5, 0)), csv_table(answers(5, 1)))
    assert capsys.readouterr().out == f"KL {expected:.6f}\n"
    assert main([*both, "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"kl": expected}
    assert main([str(tmp_path / "p.parquet"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"scores": written}
    csv_table(answers(4, 1)).to_csv(tmp_path / "submission.csv", index=False)
    assert main(both) == 2
    assert capsys.readouterr().err == "cerebeam competition: submission is missing eeg_id 1004, and 0 more\n"
    with pytest.raises(SystemExit, match="2"):
        main([])


def test_the_table_shows_each_model_with_its_interval_or_the_reason() -> None:
    row = CompetitionScore(
        model="encoder", group="all", n_recordings=24, n_patients=7, kl=0.12345, low=0.0501, high=0.9999
    )
    lone = replace(row, group="10 votes", n_patients=1, low=float("nan"), high=float("nan"), remark="one subject")
    assert table([row, lone]).splitlines() == [
        "model         recordings       n  patients      KL  95% interval over patients",
        "encoder       all             24         7  0.1235  [0.050, 1.000]",
        "encoder       10 votes        24         1  0.1235  one subject",
    ]


def test_recordings_of_one_patient_have_no_interval_and_ten_votes_are_many() -> None:
    given = predictions()
    frame = given.frame.assign(subject_id="p0", n_votes=np.where(given.frame["recording_id"] == "r0", 10.0, 9.0))
    alone = competition_scores(replace(given, frame=frame))
    assert [(s.group, s.n_recordings, s.n_patients) for s in alone[:2]] == [("all", 4, 1), ("10 votes", 1, 1)]
    assert all(np.isnan(s.low) and np.isnan(s.high) and "one subject" in s.remark for s in alone)
    few = competition_scores(replace(given, frame=frame.assign(n_votes=9.0)))
    assert [s.group for s in few] == ["all", "all"]
    assert [s.remark for s in competition_scores(given)] == [""] * 4


def test_what_is_left_out_or_of_another_task_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    given = predictions()
    mixed = replace(given, classes=given.classes[::-1], task="own")
    write_predictions(tmp_path / "p.parquet", mixed)
    assert main([str(tmp_path / "p.parquet")]) == 2
    assert capsys.readouterr().err.endswith("is of task 'own'; the competition's is 'six-class'\n")
    for options in (["--submission", "a.csv"], ["--solution", "a.csv"], ["p", "--submission", "a", "--solution", "b"]):
        with pytest.raises(SystemExit, match="2"):
            main(options)
    with pytest.raises(SubmissionError, match="missing eeg_id 1002, and 2 more"):
        score(csv_table(shares(5, 0)), csv_table(answers(5, 0)).iloc[:2])
    with pytest.raises(SubmissionError, match="solution has eeg_id 1000 more than once"):
        score(pd.concat([csv_table(shares(2, 0))] * 2), csv_table(answers(2, 0)))
