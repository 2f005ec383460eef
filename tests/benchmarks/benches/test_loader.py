import re
from pathlib import Path

import numpy as np
import pytest

from benchmarks.benches.models import loader
from signals.shards.records import as_stored


def test_a_tiny_form_runs_to_its_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for package in ("tensorflow", "lmdb", "h5py"):
        pytest.importorskip(package)
    monkeypatch.setattr(loader, "PER_SHARD", 8)
    loader.main(["--output", str(tmp_path / "loader"), "--windows", "20", "--repeats", "1"])
    figures = dict(re.findall(r"^figure (\S+) (\S+) speed_ratio$", capsys.readouterr().out, re.M))
    names = {
        f"loader_vs_{name}{state}"
        for name in ("tfdata", "lmdb", "hdf5", "memmap")
        for state in ("", "_cold", "_processor")
    }
    assert set(figures) == names
    assert all(float(value) > 0 for value in figures.values())
    assert not (tmp_path / "loader").exists()


def test_shards_give_every_window_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loader, "PER_SHARD", 4)
    rng = np.random.default_rng(0)
    windows = [loader.make_window(rng, number) for number in range(10)]
    paths = []
    for start in range(0, 10, 4):
        paths.append(tmp_path / f"{start}.tfrecord.snappy")
        loader.write_shard(paths[-1], map(loader.encode_window, windows[start : start + 4]))
    order = rng.permutation(10)
    read = list(loader.from_shards(paths, order))
    expected = [loader.scaled(as_stored(windows[n].data)) for n in order]
    assert len(read) == 10
    assert {x.tobytes() for x in read} == {x.tobytes() for x in expected}
