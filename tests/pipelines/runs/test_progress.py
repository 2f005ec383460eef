import json
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from pipelines.intake.inputs import FileRef
from pipelines.runs.progress import (
    begin,
    forget,
    from_plain,
    keep,
    kept,
    other_facts,
    run_facts,
    to_plain,
    work_digest,
)
from pipelines.stages.write_shards import ShardResult
from signals.shards.manifest import Shard, SubjectEntry
from signals.shards.moments import Moments
from signals.windows.labels import Label
from signals.windows.prepare import Rejected
from signals.windows.profiles import PRETRAIN, SIX_CLASS

FILES = (FileRef("/a/b.edf", "north", "Erika", 50.0, (Label(onset_s=5.0, label="LPD", votes=(0.0, 3.0)),)),)


def result(seed=0):
    moments = Moments.of(np.random.default_rng(seed).standard_normal((19, 500)) * 20)
    subject = SubjectEntry(site_id="north", n_windows=3, recording_ids=("a", "b"), moments=moments)
    shard = Shard(path="site=north/w.snappy", site_id="north", n_windows=3, n_bytes=10, sha256="f" * 64)
    return ShardResult(
        shard,
        {"subject": subject},
        (Rejected("a", "north", 1 / 3, "flat"),),
        {"classes": {"LPD": 1}, "quality": [0, 3]},
    )


def test_a_note_gives_back_every_bit(tmp_path):
    keep(str(tmp_path), "site=north/w.snappy", "digest", result())
    back = kept(str(tmp_path), "site=north/w.snappy", "digest", ShardResult)
    assert (back.shard, back.rejected, back.sums) == (result().shard, result().rejected, result().sums)
    mine, theirs = result().subjects["subject"].moments, back.subjects["subject"].moments
    for name in ("count", "mean", "m2", "sizes"):
        a, b = getattr(mine, name), getattr(theirs, name)
        assert a.dtype == b.dtype
        assert a.tobytes() == b.tobytes()


def test_a_note_of_other_work_does_not_count(tmp_path):
    keep(str(tmp_path), "a", "digest", result())
    assert kept(str(tmp_path), "a", "other", ShardResult) is None
    assert kept(str(tmp_path), "b", "digest", ShardResult) is None


@dataclass(frozen=True)
class Odd:
    pair: tuple[int, float]
    maybe: str | None
    names: list[str]
    counts: dict[int, float]
    sums: dict[str, Any]


def test_plain_values_survive_json():
    odd = Odd((1, 0.1), None, ["µ"], {3: float("inf")}, {"by": {"flat": (1, 2)}, "many": [1.5, {}]})
    assert from_plain(Odd, json.loads(json.dumps(to_plain(odd)))) == odd
    with pytest.raises(TypeError, match="cannot hold set"):
        to_plain({1, 2})


def test_work_of_other_blocks_has_another_digest():
    assert work_digest([FILES[0]]) == work_digest([FILES[0]]) != work_digest([])


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"profile": SIX_CLASS}, ["profile"]),
        ({"salt": "other"}, ["salt", "inputs"]),  # inputs are digested under the salt
        ({"files": FILES[:0]}, ["inputs"]),
        ({"shard_mb": 64.0}, ["shard size"]),
        ({}, []),
    ],
)
def test_what_differs_is_named(tmp_path, change, says):
    base = {"files": FILES, "profile": PRETRAIN, "salt": "secret", "shard_mb": 128.0}
    begin(str(tmp_path), run_facts(**base))
    assert other_facts(str(tmp_path), run_facts(**base | change)) == says


def test_what_is_written_down_names_nobody(tmp_path):
    begin(str(tmp_path), run_facts(FILES, PRETRAIN, "secret", 128.0))
    text = (tmp_path / "_run.json").read_text()
    assert not any(word in text for word in ("Erika", "b.edf", "secret"))
    keep(str(tmp_path), "site=north/w", "d", result())
    forget(str(tmp_path))
    assert not any(path.is_file() for path in tmp_path.rglob("*"))
    assert other_facts(str(tmp_path), {}) is None
