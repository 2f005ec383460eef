"""The bench of a taught student pairs it with its ensemble and with the same network untaught, on the same windows."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from benchmarks.studies.six_classes import simulated, taught
from evaluation.schemas.predictions import Predictions, write_predictions
from signals.tasks import SIX_CLASS
from studies.predict import MEAN
from tests.benchmarks.test_simulated import rows, write

RIGHT = {"taught": 0.55, "votes": 0.5, "one_encoder": 0.65, "encoder_votes": 0.62}
"""The share that each student gives the label; the ensemble gives 0.6."""


def write_scores(folder: Path, *, seeds: int) -> None:
    members = [rows("encoder", right=0.9), rows("resnet_gru", right=0.3), rows(MEAN, right=0.6)]
    write(folder / "taught" / "scores" / "ensemble.parquet", *members)
    write(folder / "taught" / "scores" / "member.parquet", rows("encoder", right=0.45))
    for seed in range(seeds):
        write(folder / "taught" / "scores" / f"untaught-{seed}.parquet", rows("resnet_gru", right=0.4))
    for kind, right in RIGHT.items():
        for seed in taught.seeds_of(kind, seeds):
            write(folder / "taught" / "scores" / f"{kind}-{seed}.parquet", rows("resnet_gru", right=right))


def test_a_student_is_paired_with_its_ensemble_and_with_the_untaught(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    write_scores(tmp_path, seeds=2)
    predictions = taught.answers(tmp_path, seeds=2, students=list(taught.STUDENTS))
    assert set(predictions.models) == {
        "ensemble", "member", "untaught#seed0", "untaught#seed1", "taught#seed0", "taught#seed1", "votes#seed0",
        "one_encoder#seed0", "one_encoder#seed1", "encoder_votes#seed0",
    }  # fmt: skip
    taught.compare(predictions)
    printed = capfd.readouterr().out
    assert f"figure student_kl_gap {np.log(0.6 / 0.55):.4g} nats" in printed
    gain, over_votes = np.log(0.55 / 0.4), np.log(0.55 / 0.5)
    assert f"taught less untaught, kl: {-gain:+.3f} [{-gain:+.3f}, {-gain:+.3f}]" in printed
    assert f"taught less votes, kl: {-over_votes:+.3f}" in printed
    assert "taught kl: 0.598" in printed  # -ln 0.55, since labels are hard here
    assert "over 2 seeds" in printed
    assert f"figure one_encoder_gain {np.log(0.65 / 0.45):.4g} nats" in printed
    assert f"figure one_encoder_kl_gap {np.log(0.6 / 0.65):.4g} nats" in printed
    assert f"figure one_encoder_gain_over_votes {np.log(0.65 / 0.62):.4g} nats" in printed


def test_a_part_of_the_students_gives_a_part_of_the_figures(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    write_scores(tmp_path, seeds=1)
    taught.compare(taught.answers(tmp_path, seeds=1, students=["taught"]))
    printed = capfd.readouterr().out
    assert "figure taught_gain " in printed
    assert "one_encoder" not in printed
    assert "votes" not in printed


def test_other_windows_cannot_be_paired(tmp_path: Path) -> None:
    write_scores(tmp_path, seeds=1)
    other: pd.DataFrame = rows("resnet_gru", right=0.5)
    other["window_key"] = [f"x{n}" for n in range(len(other))]
    frame = Predictions(frame=other, task="six-class", classes=SIX_CLASS.classes, meta={})
    write_predictions(tmp_path / "taught" / "scores" / "votes-0.parquet", frame)
    with pytest.raises(ValueError, match="different windows"):
        taught.compare(taught.answers(tmp_path, seeds=1, students=list(taught.STUDENTS)))


def test_the_fresh_segments_are_none_that_the_ensemble_knows() -> None:
    assert taught.FRESH_SEED != simulated.CORPUS_SEED
    assert taught.untaught(Path("out"), 0) == Path("out/simulated/seed0/resnet_gru")  # learnt from what it did
    assert taught.untaught(Path("out"), 1) == Path("out/taught/untaught-1")
    assert 51_200 * (1 - taught.VALIDATION_SHARE) >= 50_000
    assert taught.STUDENTS["votes"].weight == 0


def test_students_named_encoder_go_on_from_the_member_the_others_start_from_random_weights() -> None:
    member = taught.member_of(Path("out"))
    assert member == Path("out/simulated/seed0/scratch")
    for kind, weight in (("one_encoder", 0.5), ("encoder_votes", 0)):
        on = taught.STUDENTS[kind].options(member)
        assert on[on.index("--student") + 1] == member
        assert on[on.index("--recipe") + 1] == "scratch"
        assert float(on[on.index("--optim.learning-rate") + 1]) == pytest.approx(3e-4)
        assert float(on[on.index("--weight") + 1]) == weight
    for kind in ("taught", "votes"):
        assert "--student" not in taught.STUDENTS[kind].options(member)
