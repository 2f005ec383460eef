"""A run on two processes of this machine: which shards there are, and what its stages count."""

import json
from collections import Counter
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines import local
from pipelines.local import shards_of
from pipelines.on_beam import stage_counters
from pipelines.preprocess import main
from pipelines.transforms import count
from signals.modality import EEG_1020
from signals.shards.sharding import CHUNKS_PER_SHARD, WINDOW_BYTES_PER_S, block_seconds, chunk_hash
from signals.windows.blocks import Block, WindowStart


@dataclass(frozen=True)
class Profile:
    """Stands for a profile."""

    signal = EEG_1020
    window_s = 10.0


@dataclass(frozen=True)
class Plan:
    """Stands for a plan: what decides a shard."""

    site_id: str
    source_sha256: str
    uri: str = "/a.edf"
    profile: Profile = Profile()


def blocks_of(recordings):
    """Blocks of two windows: (site, recording, number of blocks) each."""
    return [
        Block(Plan(site, sha), tuple(WindowStart(0, (20 * k + 10 * i) * 256) for i in range(2)))
        for site, sha, n in recordings
        for k in range(n)
    ]


@given(
    recordings=st.lists(
        st.tuples(st.sampled_from("ab"), st.text("0123456789abcdef", min_size=4, max_size=4), st.integers(1, 9)),
        min_size=1, max_size=12, unique_by=lambda r: r[1],
    ),
    shard_mb=st.sampled_from([0.3, 1.0, 128.0]),
)  # fmt: skip
def test_each_block_is_in_one_shard_and_chunks_stay_whole(recordings, shard_mb):
    blocks = blocks_of(recordings)
    shards = shards_of(iter(blocks), shard_mb)
    assert Counter(map(id, blocks)) == Counter(id(block) for of_shard in shards.values() for block in of_shard)
    of_chunk = {}
    for (site, index, total), of_shard in shards.items():
        assert 0 <= index < total == max(k[2] for k in shards if k[0] == site)
        assert {block.plan.site_id for block in of_shard} == {site}
        for block in of_shard:
            of_chunk.setdefault((site, chunk_hash(block, shard_mb)), set()).add(index)
    assert all(len(indexes) == 1 for indexes in of_chunk.values())
    # No shard is longer than its share by more than a chunk and the windows that a chunk may end with.
    chunk_s = min(1800.0, shard_mb * 1e6 / WINDOW_BYTES_PER_S / CHUNKS_PER_SHARD)
    for site in {key[0] for key in shards}:
        sizes = [sum(map(block_seconds, of)) for key, of in shards.items() if key[0] == site]
        total = next(key[2] for key in shards if key[0] == site)
        assert max(sizes) <= sum(sizes) / total + 2 * (chunk_s + 20.0)


class InThisProcess:
    """A pool that works here, so that a test can look on."""

    def __init__(self, n_workers, *, method, initializer, initargs):
        self.n_workers = n_workers
        self.initargs = initargs
        local_pools.append(self)

    def submit(self, work, *args):
        from concurrent.futures import Future

        future = Future()
        self.calls = [*getattr(self, "calls", []), (work, args)]
        try:
            future.set_result(work(*args))
        except BaseException as error:
            future.set_exception(error)
        return future

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.is_closed = True


local_pools = []


@pytest.fixture
def here(monkeypatch):
    monkeypatch.setattr(local, "process_pool", InThisProcess)
    local_pools.clear()


def run(clinics, output, *args):
    return main(["--input", str(clinics), "--output", str(output), "--salt", "secret", "--site-from", "folder", *args])


def test_what_the_stages_count(clinics, tmp_path, here):
    (clinics / "south" / "copy.edf").write_bytes((clinics / "south" / "south0.edf").read_bytes())
    assert run(clinics, tmp_path / "out", "--direct_num_workers=2") == 0
    facts = json.loads((tmp_path / "out" / "run.json").read_text())
    assert facts["timings"]["runner"] == "2 local processes"
    stages = facts["timings"]["stages"]
    assert list(stages) == ["example", "plan", "quarantine", "write"]
    assert list(stages["example"]) == list(stages["plan"]) == ["elements", "milliseconds"]
    assert list(stages["write"]) == ["bytes", "elements", "milliseconds"]
    # 6 files, one of them broken; 24 windows, the copy's aside; an example of each of 2 sites.
    assert (stages["plan"]["elements"], stages["write"]["elements"], stages["example"]["elements"]) == (6, 24, 2)
    assert stages["quarantine"] == {"corrupt_header": 1}
    assert stages["write"]["bytes"] == facts["counts"]["bytes"]
    assert facts["counts"]["files"]["copies"] == 1
    (pool,) = local_pools
    assert pool.is_closed
    assert pool.initargs == (None,)
    assert pool.n_workers == 2


def test_the_longest_shard_is_begun_first(clinics, tmp_path, here):
    from tests.pipelines.conftest import write_edf

    write_edf(clinics / "west" / "long.edf", seconds=130)
    assert run(clinics, tmp_path / "out", "--direct_num_workers=2") == 0
    (pool,) = local_pools
    begun = [args[1] for work, args in pool.calls if "_score_and_write" in str(args[0])]
    sites = [key[0] for key in begun]
    # north and south have 120 s each, west 130.
    assert sites[0] == "west"
    assert sorted(sites) == ["north", "south", "west"]
    assert begun[1:] == sorted(begun[1:])


def test_a_worker_that_dies_is_one_line(clinics, tmp_path, here, monkeypatch, capsys):
    from concurrent.futures.process import BrokenProcessPool

    def dying(*_, **__):
        raise BrokenProcessPool("a child was terminated")

    monkeypatch.setattr(local, "write_shard", dying)
    assert run(clinics, tmp_path / "out", "--direct_num_workers=2") == 2
    assert "the run died: WorkerError: a worker process was killed or crashed" in capsys.readouterr().err
    assert local_pools[0].is_closed


class Metric:
    """Stands for what Beam gives."""

    def __init__(self, stage, name, committed, attempted=None):
        self.key, self.committed, self.attempted = self, committed, attempted
        self.metric, self.namespace, self.name = self, stage, name


class Result:
    def __init__(self, *counters):
        self._counters = list(counters)

    def metrics(self):
        return self

    def query(self):
        return {"counters": self._counters}


def test_counters_of_beam_are_added_up_by_stage():
    counters = (
        Metric("write", "elements", 3), Metric("plan", "elements", None, 2), Metric("write", "elements", 4),
        Metric("plan", "bytes", None), Metric("plan", "aaa", 0, 9),
    )  # fmt: skip
    stages = stage_counters(Result(*counters))
    assert stages == {"plan": {"aaa": 0, "bytes": 0, "elements": 2}, "write": {"elements": 7}}
    assert list(stages) == ["plan", "write"]
    assert list(stages["plan"]) == ["aaa", "bytes", "elements"]
    assert stage_counters(Result()) == {}


def test_what_a_call_of_a_stage_adds(monkeypatch):
    from pipelines import transforms

    counted = {}

    class Counter_:
        def __init__(self, *key):
            self.key = key

        def inc(self, n=1):
            counted[self.key] = n

    monkeypatch.setattr(transforms.Metrics, "counter", Counter_)
    monkeypatch.setattr(transforms.time, "perf_counter", lambda: 12.5)
    count("plan", n=3, started=10.0)
    assert counted == {("plan", "elements"): 3, ("plan", "bytes"): 0, ("plan", "milliseconds"): 2500}
    count("write", n=1, n_bytes=7, started=12.0)
    assert counted["write", "bytes"] == 7
    assert counted["write", "milliseconds"] == 500
