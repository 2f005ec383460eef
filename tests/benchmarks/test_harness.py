"""Outputs that a bench keeps are those of its settings, or it ends in one line."""

from pathlib import Path

import pytest

from benchmarks.harness import same_settings
from benchmarks.studies import planted_truth
from benchmarks.studies.six_classes import simulated, taught


def test_outputs_of_other_settings_end_the_bench(tmp_path: Path) -> None:
    folder = tmp_path / "deep" / "folder"
    same_settings(folder, steps=400, small=False)
    same_settings(folder, small=False, steps=400)
    with pytest.raises(SystemExit, match="keeps outputs of steps 400, not 2000: give another --output"):
        same_settings(folder, steps=2000, small=False)
    same_settings(folder, steps=400, small=False)  # nothing of the other settings was noted


def test_each_bench_that_keeps_outputs_compares_its_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for made in (
        simulated.seed_folder(tmp_path, 0) / "corpus",
        tmp_path / "taught" / "fresh",
        tmp_path / "shards",
    ):
        made.mkdir(parents=True)
        (made / "_COMPLETED").touch()
    monkeypatch.setattr(simulated, "side_by_side", lambda *lanes: None)
    simulated.learn(tmp_path, 0, segments=6, epochs=1)
    with pytest.raises(SystemExit, match="segments 6, not 7"):
        simulated.learn(tmp_path, 0, segments=7, epochs=1)
    with pytest.raises(SystemExit, match="epochs 1, not 2"):
        simulated.learn(tmp_path, 0, segments=6, epochs=2)
    taught.draw_fresh(tmp_path, segments=8)
    with pytest.raises(SystemExit, match="fresh 8, not 9"):
        taught.draw_fresh(tmp_path, segments=9)


def test_planted_truth_of_other_steps_is_not_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("recordings", "bank_of", "learn", "report"):
        monkeypatch.setattr(planted_truth, name, lambda *args, **kwargs: None)
    monkeypatch.setattr("sys.argv", ["planted_truth", "--output", str(tmp_path), "--steps", "400"])
    planted_truth.main()
    monkeypatch.setattr("sys.argv", ["planted_truth", "--output", str(tmp_path)])
    with pytest.raises(SystemExit, match="steps 400, not None"):
        planted_truth.main()
