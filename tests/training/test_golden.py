"""The loss of the first 50 steps of the recipe eeg_tiny, on data made from seeds, as it was when it was written down.

tests/golden/eeg_tiny_50.json is written by `CEREBEAM_WRITE_GOLDEN=1 pytest tests/training/test_golden.py`: whoever
changes numerics on purpose runs that, and states so in the commit. Other processors add up in another order, hence the
tolerances: tight at the beginning, wider where 50 steps have let differences grow.
"""

import json
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np

from evaluation.scenarios.reconstruction import read_reconstruction
from training import pretrain

GOLDEN = Path(__file__).parent.parent / "golden" / "eeg_tiny_50.json"


def test_loss_curve_is_the_golden_one(
    toy_shards: Path, tmp_path: Path, metrics_of: Callable[[Path], list[dict[str, float]]]
) -> None:
    pretrain.main(
        ["--recipe", "eeg_tiny", "--shards", str(toy_shards), "--output", str(tmp_path), "--max-steps", "100"]
    )
    lines = metrics_of(tmp_path)
    if os.environ.get("CEREBEAM_WRITE_GOLDEN"):
        kept = {name: [line[name] for line in lines[:50]] for name in ("loss", "grad_norm", "order_crc")}
        GOLDEN.write_text(json.dumps(kept, indent=1) + "\n")
    golden = json.loads(GOLDEN.read_text())
    assert [line["order_crc"] for line in lines[:50]] == golden["order_crc"]
    loss = np.array([line["loss"] for line in lines])
    np.testing.assert_allclose(loss[:10], golden["loss"][:10], rtol=1e-4)
    np.testing.assert_allclose(loss[:50], golden["loss"], rtol=0.02)
    # 100 steps learn something: long gaps of people not trained on are filled in better than by a line.
    frame = read_reconstruction(tmp_path / "reconstruction.parquet")
    error = frame[frame["span_ms_low"] == 200].groupby("method")["sum_squared_error"].sum()
    assert error["model"] < error["linear"]
