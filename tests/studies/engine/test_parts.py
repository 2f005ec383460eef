import numpy as np
import pytest

from studies.engine.parts import Parts, parts_folder


def test_parts_come_back_exactly(tmp_path):
    parts = Parts(tmp_path / "run.parts", {"seed": 1, "rates": (0.1, 0.2)})
    assert parts.read("model/fold0") is None
    values = np.random.default_rng(0).random((5, 3))
    parts.write("model/fold0", {"probabilities": values.tolist()})
    again = Parts(tmp_path / "run.parts", {"seed": 1, "rates": (0.1, 0.2)})
    assert (np.array(again.read("model/fold0")["probabilities"]) == values).all()
    assert not list((tmp_path / "run.parts").rglob("*.partial"))


def test_parts_of_another_run_are_refused(tmp_path):
    Parts(tmp_path, {"seed": 1, "task": "eyes"})
    with pytest.raises(ValueError, match=r"holds parts of a run with other settings \(seed\)"):
        Parts(tmp_path, {"seed": 2, "task": "eyes"})


def test_parts_stand_beside_their_output(tmp_path):
    assert parts_folder(tmp_path / "transfer.parquet") == tmp_path / "transfer.parts"
