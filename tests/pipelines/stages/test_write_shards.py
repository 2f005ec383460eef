"""One shard from its blocks: what it holds, what is counted, and when an earlier one is kept."""

import hashlib
import json
from collections import Counter
from dataclasses import replace

import pytest

from pipelines.report.advice import ADVICE
from pipelines.runs.progress import PROGRESS
from pipelines.stages import prepare, write_shards
from pipelines.stages.outcome import Refused
from pipelines.stages.prepare import Ready
from pipelines.stages.write_shards import ShardResult, seconds_written, write_shard
from signals.recording.recording import UnreadableError
from signals.shards.index import read_index
from signals.shards.records import decode_window
from signals.shards.tfrecord import read_shard

KEY = ("north", 0, 1)
NAME = "site=north/windows-00000-of-00001.tfrecord.snappy"


@pytest.fixture
def output(tmp_path):
    seconds_written.clear()
    return str(tmp_path / "out")


def sha256(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_a_shard_and_what_is_counted(planned, output, tmp_path):
    # Blocks come in any order; the shard is in that of time.
    result = write_shard(output, 128.0, KEY, reversed(planned.blocks))
    path = tmp_path / "out" / NAME
    windows = [decode_window(record) for record in read_shard(path)]
    assert [window.start_s for window in windows] == [0.0, 10.0, 20.0, 30.0, 40.0, 50.0]
    assert (result.site_id, result.name, result.rejected) == ("north", NAME, {})
    assert (result.has_faults, result.was_kept) == (False, False)
    shard = result.shard
    assert (shard.path, shard.site_id, shard.n_windows) == (NAME, "north", 6)
    assert (shard.n_bytes, shard.sha256) == (path.stat().st_size, sha256(path))
    assert shard.index.path == NAME.replace("tfrecord.snappy", "index.parquet")
    assert shard.index.sha256 == sha256(tmp_path / "out" / shard.index.path)
    assert read_index(tmp_path / "out" / shard.index.path).num_rows == 6
    (subject,) = result.subjects.values()
    assert (subject.n_windows, subject.site_id) == (6, "north")
    assert subject.recording_ids == (planned.file.recording_id,)
    assert result.sums.classes == {"": 6}
    assert sum(result.sums.quality) == 6
    assert seconds_written == Counter({output: 60})
    assert [p.name for p in (tmp_path / "out" / PROGRESS / "site=north").iterdir()] == [f"{path.name}.json"]


def test_a_whole_shard_is_kept_and_its_seconds_count(planned, output, tmp_path):
    first = write_shard(output, 128.0, KEY, planned.blocks)
    path = tmp_path / "out" / NAME
    before = path.stat().st_mtime_ns
    seconds_written.clear()
    second = write_shard(output, 128.0, KEY, planned.blocks)
    assert second == replace(first, was_kept=True, subjects=second.subjects)
    assert {name: entry.to_dict() for name, entry in second.subjects.items()} == {
        name: entry.to_dict() for name, entry in first.subjects.items()
    }
    assert path.stat().st_mtime_ns == before
    assert seconds_written == Counter({output: 60})


@pytest.mark.parametrize("damaged", [NAME, NAME.replace("tfrecord.snappy", "index.parquet")])
@pytest.mark.parametrize("is_gone", [False, True])
def test_a_damaged_shard_or_index_is_written_anew(planned, output, tmp_path, damaged, is_gone):
    first = write_shard(output, 128.0, KEY, planned.blocks)
    path = tmp_path / "out" / damaged
    octets = path.read_bytes()
    if is_gone:
        path.unlink()
    else:
        path.write_bytes(octets[:-1] + bytes([octets[-1] ^ 1]))
    again = write_shard(output, 128.0, KEY, planned.blocks)
    assert not again.was_kept
    assert again.shard == first.shard
    assert path.read_bytes() == octets


def test_other_work_is_not_kept(planned, output):
    write_shard(output, 128.0, KEY, planned.blocks)
    assert not write_shard(output, 128.0, KEY, planned.blocks[:2]).was_kept


def refusing(reason, n):
    """`prepared` with the first n windows of each block refused."""

    def prepared(block):
        for number, outcome in enumerate(prepare.prepared(block)):
            if number < n:
                assert isinstance(outcome, Ready)
                yield Refused(
                    level="window", reason=reason, detail="d", site_id="north", source_id="r", at_s=1.0, uri="/a"
                )
            else:
                yield outcome

    return prepared


def test_refused_windows_lie_beside_the_note(planned, output, tmp_path, monkeypatch):
    monkeypatch.setattr(write_shards, "prepared", refusing("flat", 1))
    result = write_shard(output, 128.0, KEY, planned.blocks)
    assert (result.rejected, result.has_faults, result.shard.n_windows) == ({"flat": 3}, False, 3)
    rows = (tmp_path / "out" / PROGRESS / f"{NAME}.rejected.jsonl").read_text().splitlines()
    wanted = {"recording_id": "r", "start_s": 1.0, "site_id": "north", "reason": "flat"}
    assert [json.loads(row) for row in rows] == [wanted] * 3
    assert not (tmp_path / "out" / PROGRESS / f"{NAME}.faults.jsonl").exists()


def test_faults_have_private_rows_too(planned, output, tmp_path, monkeypatch):
    monkeypatch.setattr(write_shards, "prepared", refusing("internal_error", 1))
    result = write_shard(output, 128.0, KEY, planned.blocks)
    assert (result.rejected, result.has_faults) == ({"internal_error": 3}, True)
    rows = (tmp_path / "out" / PROGRESS / f"{NAME}.faults.jsonl").read_text().splitlines()
    assert json.loads(rows[0]) == {
        "file": "/a", "reason": "internal_error", "detail": "d", "recording_id": "r", "site_id": "north", "at_s": 1.0,
        "hint": ADVICE["internal_error"],
    }  # fmt: skip


def test_of_a_shard_without_windows_nothing_is_left(planned, output, tmp_path, monkeypatch):
    monkeypatch.setattr(write_shards, "prepared", refusing("flat", 2))
    result = write_shard(output, 128.0, KEY, planned.blocks)
    assert (result.shard, result.rejected, result.subjects) == (None, {"flat": 6}, {})
    assert not (tmp_path / "out" / NAME).exists()
    assert result.sums.to_dict() == {}
    # It need not be made again either.
    assert write_shard(output, 128.0, KEY, planned.blocks).was_kept


def test_a_result_goes_through_json(planned, output, monkeypatch):
    monkeypatch.setattr(write_shards, "prepared", refusing("unreadable_samples", 1))
    result = write_shard(output, 128.0, KEY, planned.blocks)
    back = ShardResult.from_dict(json.loads(json.dumps(result.to_dict())))
    assert back == replace(result, was_kept=True, subjects=back.subjects)
    empty = replace(result, shard=None, subjects={}, has_faults=False)
    assert ShardResult.from_dict(json.loads(json.dumps(empty.to_dict()))) == replace(empty, was_kept=True)


def test_windows_are_prepared_alone_where_a_block_fails(planned, monkeypatch):
    block = planned.blocks[1]  # 20 to 40 s
    real = prepare.prepare_block

    def failing(recording, given, **options):
        if given.starts[0].start == block.starts[0].start:
            raise UnreadableError("reader_crashed", "page 7")
        return real(recording, given, **options)

    whole = list(prepare.prepared(block))
    monkeypatch.setattr(prepare, "prepare_block", failing)
    first, second = prepare.prepared(block)
    assert (first.level, first.reason, first.at_s) == ("window", "unreadable_samples", 20.0)
    assert (first.uri, first.source_id, first.site_id) == (block.plan.uri, planned.file.recording_id, "north")
    assert "page 7" in first.detail
    assert (second.start, second.window.start_s) == (block.starts[1], 30.0)
    assert second.window.key == whole[1].window.key


@pytest.mark.parametrize("error", [MemoryError("full"), prepare.TransferError("gone")])
def test_what_may_pass_is_raised(planned, monkeypatch, error):
    def failing(*_, **__):
        raise error

    monkeypatch.setattr(prepare, "prepare_block", failing)
    with pytest.raises(type(error)):
        list(prepare.prepared(planned.blocks[0]))


def test_scores_stay_with_their_windows(planned, monkeypatch):
    import numpy as np

    scores = tuple(np.full((19, 10), value, dtype=np.float32) for value in (1.0, 2.0))
    block = replace(planned.blocks[0], anomaly=scores)
    real = prepare.prepare_block

    def failing(recording, given, **options):
        if len(given.starts) > 1:
            raise LookupError("as a whole")
        return real(recording, given, **options)

    monkeypatch.setattr(prepare, "prepare_block", failing)
    assert [outcome.window.anomaly[0, 0] for outcome in prepare.prepared(block)] == [1.0, 2.0]


def test_samples_that_are_not_finite_are_refused(planned, monkeypatch):
    import numpy as np

    real = prepare.prepare_block

    def infinite(recording, given, **options):
        result = real(recording, given, **options)
        result.windows[0].data[3, 7] = np.inf
        return result

    monkeypatch.setattr(prepare, "prepare_block", infinite)
    outcomes = list(prepare.prepared(planned.blocks[2]))
    assert {outcome.reason for outcome in outcomes} == {"unreadable_samples"}
    assert {outcome.detail for outcome in outcomes} == {"samples are not finite"}
