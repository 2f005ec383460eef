"""The bench of simulated labels pairs the models that started alike, seed by seed, on the same windows."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from benchmarks.studies.six_classes import simulated
from evaluation.schemas.predictions import Predictions, write_predictions
from signals.tasks import SIX_CLASS
from synthetic.segments.families import HELD_OUT, TRAINED

CLASSES = SIX_CLASS.classes
N = 24


def rows(model: str, *, right: float) -> pd.DataFrame:
    """Rows that give the label a share, others the same."""
    label = np.arange(N) % len(CLASSES)
    prob = np.full((N, len(CLASSES)), (1 - right) / (len(CLASSES) - 1))
    prob[np.arange(N), label] = right
    target = np.eye(len(CLASSES))[label]
    return pd.DataFrame(
        {
            "window_key": [f"w{n:02d}" for n in range(N)], "recording_id": [f"r{n}" for n in range(N)],
            "subject_id": [f"s{n // 2}" for n in range(N)], "site_id": "a", "label": [CLASSES[k] for k in label],
            "n_votes": 3, "start_s": 0.0, "hop_s": 10.0, "fold": "a", "model": model,
            **{f"target_{name}": target[:, k] for k, name in enumerate(CLASSES)},
            **{f"prob_{name}": prob[:, k] for k, name in enumerate(CLASSES)},
        }
    )  # fmt: skip


def write(file: Path, *frames: pd.DataFrame) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    frame = pd.concat(frames, ignore_index=True)
    write_predictions(file, Predictions(frame=frame, task="six-class", classes=CLASSES, meta={}))


def test_models_that_started_alike_are_compared(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    for seed in range(2):
        for name, better in (("scratch", 0.2), ("resnet_gru", 0.0)):
            as_is, on = simulated.files(tmp_path, seed, name)
            write(as_is, rows("encoder" if better else "resnet_gru", right=0.4 + better))
            write(on, rows(name, right=0.6 + better), rows("prior", right=1 / 6).iloc[::-1])
    seeds = [rows(f"{name}#seed{k}", right=0.3) for name in ("scratch", "resnet_gru") for k in (0, 1)]
    write(tmp_path / "scratch-2.parquet", *seeds, rows("scratch/mean", right=0.9))
    predictions = simulated.collect(tmp_path, seeds=2)
    ways = {model.split("#")[0] for model in predictions.models}
    assert ways == {
        "prior",
        *(f"{kind}/{name}" for kind in ("as-is", "on", "random") for name in simulated.NAMES.values()),
    }
    assert len(predictions.models) == 13
    simulated.compare(predictions)
    printed = capfd.readouterr().out
    gap = np.log(0.4 / 0.6)
    assert f"as-is/scratch_encoder less as-is/scratch_control_resnet_gru, kl: {gap:+.3f}" in printed
    assert f"on/scratch_encoder less random/scratch_control_resnet_gru, kl: {np.log(0.3 / 0.8):+.3f}" in printed
    assert "over 2 seeds" in printed


def test_a_network_beside_is_compared_as_it_is_by_seed_0_alone(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    for seed in range(2):
        for name in simulated.NAMES:
            for file in simulated.files(tmp_path, seed, name):
                write(file, rows(name, right=0.4), rows("prior", right=1 / 6))
    write(simulated.files(tmp_path, 0, "efficientnet_b3")[0], rows("efficientnet_b3", right=0.8))
    predictions = simulated.collect(tmp_path, seeds=2, beside=("efficientnet_b3",))
    assert [model for model in predictions.models if "b3" in model] == ["as-is/control_efficientnet_b3#seed0"]
    simulated.compare(predictions)
    printed = capfd.readouterr().out
    gap = f"as-is/control_efficientnet_b3 less as-is/scratch_control_resnet_gru, kl: {np.log(0.4 / 0.8):+.3f}"
    assert gap in printed
    assert "as-is/control_efficientnet_b3 kl: 0.223 [0.223, 0.223] over 1 seeds" in printed


def test_networks_beside_learn_from_the_same_segments_and_do_not_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (simulated.seed_folder(tmp_path, 0) / "corpus").mkdir(parents=True)
    (simulated.seed_folder(tmp_path, 0) / "corpus" / "_COMPLETED").touch()
    ran: list[tuple[object, ...]] = []
    monkeypatch.setattr(simulated, "side_by_side", lambda *lanes: ran.extend(one for lane in lanes for one in lane))
    simulated.learn(tmp_path, 0, segments=6, epochs=1, beside=("efficientnet_b3",))
    assert [one[one.index("--recipe") + 1] for one in ran] == ["scratch", "resnet_gru", "efficientnet_b3"]
    assert len({one[one.index("--shards") + 1] for one in ran}) == 1
    ran.clear()
    simulated.answer(tmp_path, 0, epochs=1, beside=("efficientnet_b3",))
    names = ["efficientnet_b3" if "efficientnet_b3" in str(one) else "" for one in ran if one[0] == "studies.crossval"]
    assert names == ["", ""]
    assert sum(one[0] == "studies.predict" for one in ran) == 3


def test_the_corpus_is_of_other_families() -> None:
    assert all(family.original for family in HELD_OUT if family.name == "original")
    assert not any(family.original for family in TRAINED)
