import io
from pathlib import Path

import numpy as np
import pytest

from signals.files import file_sha256
from signals.shards.manifest import COMPLETED, Manifest, ManifestError, read_manifest
from signals.shards.records import decode_window, encode_window
from signals.shards.tally import Tally
from signals.shards.tfrecord import read_shard, write_shard
from signals.shards.writer import write_set, write_windows
from signals.window import ABSENT, Window
from signals.windows.profiles import SIX_CLASS as PROFILE
from tests.toy_shards import toy_window


def windows(n: int, *, site: str = "a", subject: str = "s") -> list[Window]:
    rng = np.random.default_rng(n)
    return [toy_window(rng, site=site, subject=subject, number=k, label="LPD", window_s=10.0) for k in range(n)]


def written(folder: Path) -> Manifest:
    sites = {"a": [iter(windows(2)), iter(windows(1, subject="t"))], "b": [iter(windows(3, site="b", subject="u"))]}
    return write_set(folder, sites, profile=PROFILE)


def test_an_open_file_gets_the_bytes_of_a_shard_and_the_tally_its_windows(tmp_path):
    file, tally, some = io.BytesIO(), Tally(), windows(3)
    written = write_windows(file, iter(some), path="p", site_id="a", tally=tally)
    info = write_shard(tmp_path / "whole", map(encode_window, some))
    assert file.getvalue() == (tmp_path / "whole").read_bytes()
    assert written is not None
    shard = written.shard
    assert (shard.n_windows, shard.n_bytes, shard.sha256) == (3, info.n_bytes, info.sha256)
    assert tally.subjects()["s"].n_windows == 3


def test_no_windows_are_no_shard():
    assert write_windows(io.BytesIO(), [], path="p", site_id="a", tally=Tally()) is None


def test_a_set_reads_back_as_it_was_written(tmp_path):
    manifest = written(tmp_path)
    read = read_manifest(tmp_path)
    assert read.shards == manifest.shards
    assert not read.has_accounting
    assert [file_sha256(tmp_path / shard.path) for shard in read.shards] == [shard.sha256 for shard in read.shards]
    assert {name: entry.n_windows for name, entry in read.subjects.items()} == {"s": 2, "t": 1, "u": 3}
    subjects = [decode_window(r).subject_id for shard in read.shards for r in read_shard(tmp_path / shard.path)]
    assert subjects == ["s", "s", "t", "u", "u", "u"]


def test_moments_leave_out_absent_channels(tmp_path):
    (window,) = windows(1)
    window.ch_state[3] = ABSENT
    write_set(tmp_path, {"a": [[window]]}, profile=PROFILE)
    count = read_manifest(tmp_path).subjects["s"].moments.count
    assert count[3] == 0
    assert (np.delete(count, 3) == window.data.shape[1]).all()


def test_a_generator_that_fails_leaves_no_finished_set(tmp_path):
    def broken():
        yield windows(1)[0]
        raise RuntimeError("no more")

    with pytest.raises(RuntimeError, match="no more"):
        write_set(tmp_path, {"a": [windows(1, subject="t"), broken()]}, profile=PROFILE)
    assert not (tmp_path / COMPLETED).exists()
    with pytest.raises(ManifestError):
        read_manifest(tmp_path)
    names = sorted(path.name for path in tmp_path.rglob("*") if path.is_file())
    assert names == ["windows-00000-of-00002.index.parquet", "windows-00000-of-00002.tfrecord.snappy"]


def test_a_shard_without_windows_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"windows-00000-of-00001.* would hold no windows"):
        write_set(tmp_path, {"a": [[]]}, profile=PROFILE)
