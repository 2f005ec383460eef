from dataclasses import dataclass

import numpy as np
import pytest

from pipelines.intake.inputs import FileRef
from pipelines.runs.progress import begin, different_facts, forget, keep, kept, run_facts, work_digest
from pipelines.stages.write_shards import ShardResult
from signals.shards.manifest import Shard, SubjectEntry
from signals.shards.moments import Moments
from signals.shards.tally import Sums
from signals.windows.blocks import Block, WindowStart
from signals.windows.labels import Label
from signals.windows.profiles import PRETRAIN, SIX_CLASS

FILES = (FileRef("/a/b.edf", "north", "Erika", 50.0, (Label(onset_s=5.0, label="LPD", votes=(0.0, 3.0)),)),)


def result(seed=0):
    moments = Moments.of(np.random.default_rng(seed).standard_normal((19, 500)) * 20)
    subject = SubjectEntry(site_id="north", n_windows=3, recording_ids=("a", "b"), moments=moments)
    shard = Shard(path="site=north/w.snappy", site_id="north", n_windows=3, n_bytes=10, sha256="f" * 64)
    return ShardResult(
        site_id="north", name="site=north/w.snappy", shard=shard, subjects={"subject": subject}, rejected={"flat": 1},
        sums=Sums(classes={"LPD": 1}, quality=(0, 3)),
    )  # fmt: skip


def test_a_note_gives_back_every_bit(tmp_path):
    keep(str(tmp_path), "site=north/w.snappy", "digest", result().to_dict())
    back = ShardResult.from_dict(kept(str(tmp_path), "site=north/w.snappy", "digest"))
    assert back.was_kept
    assert (back.shard, back.rejected, back.sums) == (result().shard, result().rejected, result().sums)
    mine, theirs = result().subjects["subject"].moments, back.subjects["subject"].moments
    for name in ("count", "mean", "m2", "sizes"):
        a, b = getattr(mine, name), getattr(theirs, name)
        assert a.dtype == b.dtype
        assert a.tobytes() == b.tobytes()


def test_a_note_of_other_work_does_not_count(tmp_path):
    keep(str(tmp_path), "a", "digest", result().to_dict())
    assert kept(str(tmp_path), "a", "other") is None
    assert kept(str(tmp_path), "b", "digest") is None


@dataclass(frozen=True)
class Plan:
    """Stands for a plan: what is digested is every field, arrays by their bytes."""

    patterns: np.ndarray
    subject_id: str = "p"


def test_work_of_other_blocks_has_another_digest():
    def digest(patterns, start=0, **fields):
        return work_digest([Block(Plan(patterns, **fields), (WindowStart(0, start),), (np.ones((2, 3)),))])

    x = np.arange(6.0).reshape(2, 3)
    same = digest(x)
    assert digest(x.copy()) == same
    others = (digest(x + 1e-9), digest(x.T), digest(x.astype(np.float32)), digest(x, 1), digest(x, subject_id="q"))
    assert len({same, *others, work_digest([])}) == 7


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"profile": SIX_CLASS}, ["profile"]),
        ({"salt": "other"}, ["salt", "inputs"]),  # inputs are digested under the salt
        ({"files": FILES[:0]}, ["inputs"]),
        ({"shard_mb": 64.0}, ["shard size"]),
        ({"keep": ("device",)}, ["--keep"]),
        ({}, []),
    ],
)
def test_what_differs_is_named(tmp_path, change, says):
    base = {"files": FILES, "profile": PRETRAIN, "salt": "secret", "shard_mb": 128.0}
    begin(str(tmp_path), run_facts(**base))
    assert different_facts(str(tmp_path), run_facts(**base | change)) == says


def test_what_is_written_down_names_nobody(tmp_path):
    begin(str(tmp_path), run_facts(FILES, PRETRAIN, "secret", 128.0))
    text = (tmp_path / "_run.json").read_text()
    assert not any(word in text for word in ("Erika", "b.edf", "secret"))
    keep(str(tmp_path), "site=north/w", "d", result().to_dict())
    forget(str(tmp_path))
    assert not any(path.is_file() for path in tmp_path.rglob("*"))
    assert different_facts(str(tmp_path), {}) is None


def test_what_has_no_digest_is_no_work():
    with pytest.raises(TypeError, match="a digest cannot be taken of object"):
        work_digest([Block(Plan(np.zeros(1), subject_id=object()), (WindowStart(0, 0),))])


def test_numbers_of_numpy_are_numbers():
    def digest(start):
        return work_digest([Block(Plan(np.zeros(1)), (WindowStart(0, start),))])

    assert digest(np.int64(5)) == digest(5) != digest(6)
