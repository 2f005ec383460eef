"""The command of the pretraining in pieces, at a size that a test can take."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from benchmarks.studies import pretraining_gpu
from training.corpus.corpus import Corpus

TINY = [
    "--schedule.steps=2", "--schedule.warmup-steps", "1", "--model.dim", "32", "--model.depth", "1",
    "--model.stem-dim", "16", "--data.crop-s", "4", "--data.resident", "device", "--optim.batch", "2",
    "--optim.micro-batch", "2", "--track.evaluate-windows", "1", "--track.skill-windows", "1",
    "--track.validate-windows", "4", "--data.held-out-share", "0.4",
]  # fmt: skip


def test_pieces_make_a_curve_and_go_on_where_they_stopped(
    make_toy_shards: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shards = make_toy_shards(n_sites=1, n_subjects=5, n_windows=2)
    command = ["--shards", str(shards), "--output", str(tmp_path / "out"), "--pieces", "2", "--pack-mb", "0.4"]
    pretraining_gpu.main([*command, "--minutes", "0", *TINY])  # the first piece is begun whatever it takes
    first = capsys.readouterr().out
    assert "1 of 2 steps: start the same command again to go on" in first
    pack = Corpus.open(tmp_path / "out" / "packed")
    # A window of 19 channels and 10 s is 97 kB as int16: 0.4 MB hold half of the ten, one of each person.
    assert len(pack) == 5
    assert {entry.subject_id for entry in pack.entries} == {entry.subject_id for entry in Corpus.open(shards).entries}
    pretraining_gpu.main([*command, *TINY])
    curve = pretraining_gpu.read_curve(tmp_path / "out" / "curve.jsonl")
    assert [point.step for point in curve] == [1, 2]
    # 2 windows of 4 s a step
    assert [point.hours for point in curve] == [pytest.approx(8 / 3600), pytest.approx(16 / 3600)]
    figures = dict(re.findall(r"figure (\S+) (\S+)", capsys.readouterr().out))
    assert float(figures["pretrain_gpu_seconds"]) == pytest.approx(curve[-1].seconds, rel=1e-3, nan_ok=True)
    variance = float(figures["pretrain_gpu_latent_variance"])
    assert variance == pytest.approx(curve[-1].latent_variance, rel=1e-3, nan_ok=True)
    pretraining_gpu.main([*command, *TINY])  # there is nothing left to do
    assert len(pretraining_gpu.read_curve(tmp_path / "out" / "curve.jsonl")) == 2


def test_pieces_end_at_the_last_step_and_none_is_empty() -> None:
    assert pretraining_gpu.ends(1500, 10) == list(range(150, 1501, 150))
    assert pretraining_gpu.ends(2, 10) == [1, 2]
