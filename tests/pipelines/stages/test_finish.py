import json
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.report.report import read_facts
from pipelines.runs import storage
from pipelines.runs.accounting import COPY
from pipelines.runs.progress import faults_path, rejected_path
from pipelines.stages.example_traces import read_example
from pipelines.stages.finish import Finish, merge_into, renumber
from pipelines.stages.outcome import Refused
from pipelines.stages.write_shards import ShardResult, write_shard
from signals.shards.manifest import Shard, SubjectEntry, parse_manifest, shard_name
from signals.shards.moments import Moments
from signals.shards.tally import Sums
from signals.version import code_version
from signals.windows.profiles import PRETRAIN


def written(root, site, index, total):
    path = shard_name(site, index, total)
    (root / path).parent.mkdir(exist_ok=True)
    (root / path).write_text(f"{site} {index}")
    return Shard(path=path, site_id=site, n_windows=1, n_bytes=1, sha256="")


@given(total=st.integers(1, 12), data=st.data())
def test_numbers_have_no_gap_whatever_stayed_empty(total, data):
    filled = data.draw(st.sets(st.integers(0, total - 1), min_size=1))
    with TemporaryDirectory() as folder:
        root = Path(folder)
        shards = [written(root, "north", i, total) for i in sorted(filled, reverse=True)]
        renamed = renumber(str(root), shards)
        assert [s.path for s in renamed] == [shard_name("north", i, len(filled)) for i in range(len(filled))]
        # Order is kept, and nothing else lies there.
        assert [(root / s.path).read_text() for s in renamed] == [f"north {i}" for i in sorted(filled)]
        assert len(list(root.rglob("*.snappy"))) == len(filled)
        # A second try, after a crash behind the renaming, ends the same.
        assert renumber(str(root), shards) == renamed
        assert [(root / s.path).read_text() for s in renamed] == [f"north {i}" for i in sorted(filled)]


def test_a_crash_in_the_middle_of_renaming(tmp_path):
    shards = [written(tmp_path, "north", i, 4) for i in (1, 2, 3)]
    # One of three was renamed before the crash.
    (tmp_path / shards[0].path).replace(tmp_path / shard_name("north", 0, 3))
    renamed = renumber(str(tmp_path), shards)
    assert [(tmp_path / s.path).read_text() for s in renamed] == ["north 1", "north 2", "north 3"]


@pytest.fixture
def parts(planned, tmp_path):
    """What the stages of a run left behind: a shard of each of two sites, refused files and labels, an example."""
    root = str(tmp_path / "out.partial")
    real = write_shard(root, 128.0, ("north", 1, 2), planned.blocks)  # the first was empty
    storage.write_rows(rejected_path(root, real.name), [{"a": 1}])
    storage.write_rows(rejected_path(root, "site=north/other"), [{"a": 0}])
    storage.write_rows(faults_path(root, real.name), [{"b": 2}])
    # Its six windows, of which three count as rejected here.
    result = replace(real, rejected={"flat": 2, "internal_error": 1}, has_faults=True)
    none = ShardResult(
        site_id="north", name="site=north/other", shard=None, subjects={}, rejected={"flat": 1}, sums=Sums()
    )
    refused = [
        Refused(level="file", reason="too_short", detail="d", site_id="west", source_id="f1", hours=0.5, uri="/a"),
        Refused(level="file", reason=COPY, site_id="west", source_id="f2", hours=0.25, uri="/b"),
        Refused(level="label", reason="label_out_of_range", site_id="north", source_id="r", at_s=7.0, uri="/c"),
    ]
    example = read_example(planned.blocks[0])
    return root, [result, none], [replace(planned.file, n_windows=10)], refused, [example]


def finish_of(root, **changes):
    options = {
        "output": root, "profile": PRETRAIN, "n_files": 3, "n_side_files": 5, "max_quarantined": 0.5,
        "salt_id": "e" * 16, "shard_mb": 64.0, "site_from": "constant:Ward",
    } | changes  # fmt: skip
    return Finish(**options)


def rows(root, name):
    return [json.loads(line) for line in storage.read_text(f"{root}/{name}").splitlines()]


def test_what_a_finished_folder_holds(parts):
    root, results, accepted, refused, examples = parts
    counts = finish_of(root)(results, accepted, refused, examples)
    assert (counts.files.n_in, counts.files.accepted, counts.files.quarantined, counts.files.copies) == (3, 1, 1, 1)
    assert counts.files.side_files == 5
    assert (counts.windows.planned, counts.windows.written, counts.windows.rejected) == (10, 6, 4)
    assert counts.windows.by_reason == {"flat": 3, "internal_error": 1}
    assert counts.hours.written == round(6 * 10 / 3600, 6)
    assert counts.sites["north"].subjects == 1
    manifest = parse_manifest(storage.read_text(f"{root}/manifest.json").encode(), "m")
    assert (manifest.profile, manifest.config_hash, manifest.salt_id) == (
        PRETRAIN.to_dict(), PRETRAIN.config_hash, "e" * 16,
    )  # fmt: skip
    assert (manifest.code_version, manifest.modality) == (code_version(), PRETRAIN.signal)
    assert [shard.path for shard in manifest.shards] == [shard_name("north", 0, 1)]
    assert all(storage.exists(f"{root}/{name}") for name in manifest.shards[0].files)
    assert rows(root, "recordings.jsonl")[0]["n_windows"] == 10
    assert rows(root, "quarantine/files.jsonl") == [
        {"file_id": "f1", "hours": 0.5, "site_id": "west", "reason": "too_short"},
        {"file_id": "f2", "hours": 0.25, "site_id": "west", "reason": COPY},
    ]
    assert rows(root, "quarantine/labels.jsonl") == [
        {"recording_id": "r", "onset_s": 7.0, "site_id": "north", "reason": "label_out_of_range"}
    ]
    assert rows(root, "quarantine/windows.jsonl") == [{"a": 0}, {"a": 1}]  # in the order of the shards
    # The private lists: no copies, for nothing was lost.
    assert [row["file"] for row in rows(f"{root}.private", "quarantine.jsonl")] == ["/a"]
    assert [row["file"] for row in rows(f"{root}.private", "labels.jsonl")] == ["/c"]
    assert rows(f"{root}.private", "windows.jsonl") == [{"b": 2}]
    facts = read_facts(root)
    assert facts.options == {"shard_mb": 64.0, "max_quarantined": 0.5, "site_from": "constant"}
    assert (facts.complaint, facts.examples) == (None, tuple(examples))
    assert not storage.exists(f"{root}/_COMPLETED")
    assert not [path for path in storage.list_files(root) if "_progress" in path]


def test_whoever_completes_a_set_does_it_last(parts):
    root, results, accepted, refused, examples = parts
    finish_of(root, completes=True, site_from="")(results, accepted, refused, examples)
    assert storage.exists(f"{root}/_COMPLETED")
    assert read_facts(root).options["site_from"] == "hash"


def test_a_run_that_must_not_count_keeps_its_notes(parts):
    root, results, accepted, refused, examples = parts
    finish_of(root, completes=True, max_quarantined=0.3)(results, accepted, refused, examples)
    assert not storage.exists(f"{root}/_COMPLETED")
    assert read_facts(root).complaint.startswith("33.3% of the files were quarantined")
    assert [path for path in storage.list_files(root) if "_progress" in path]


@pytest.mark.parametrize("n_files", [2, 4])
def test_no_file_is_lost_or_comes_twice(parts, n_files):
    root, results, accepted, refused, examples = parts
    with pytest.raises(RuntimeError, match=f"{n_files} files went in, 1 used \\+ 2 refused came out"):
        finish_of(root, n_files=n_files)(results, accepted, refused, examples)


def test_private_lists_of_a_killed_run_go(parts):
    root, results, accepted, _, examples = parts
    storage.write_text(f"{root}.private/old.jsonl", "/a/Erika.edf")
    finish_of(root, n_files=1)([replace(each, has_faults=False) for each in results], accepted, [], examples)
    assert storage.list_files(f"{root}.private") == []


def test_a_subject_of_two_shards_is_one():
    data = [np.random.default_rng(seed).normal(size=(19, 300)) for seed in (0, 1)]
    entries = [
        SubjectEntry(site_id="north", n_windows=n, recording_ids=ids, moments=Moments.of(x))
        for n, ids, x in ((2, ("b", "a"), data[0]), (3, ("a", "c"), data[1]))
    ]
    merged = {}
    merge_into(merged, {"s": entries[0], "t": entries[1]})
    merge_into(merged, {"s": entries[1]})
    assert list(merged) == ["s", "t"]
    assert (merged["s"].site_id, merged["s"].n_windows, merged["s"].recording_ids) == ("north", 5, ("a", "b", "c"))
    np.testing.assert_allclose(merged["s"].moments.mean, np.concatenate(data, axis=1).mean(axis=1))
    assert merged["t"].n_windows == 3
