import hashlib
import json
from dataclasses import replace

import numpy as np
import pytest

from signals.description.features import FEATURES
from signals.modality import EEG_1020
from signals.shards.index import ShardIndex
from signals.shards.manifest import (
    COMPLETED,
    MANIFEST,
    Manifest,
    ManifestError,
    Shard,
    SubjectEntry,
    manifest_json,
    parse_manifest,
    read_manifest,
    shard_name,
)
from signals.shards.moments import Moments
from signals.windows.profiles import PRETRAIN


@pytest.fixture
def shards(tmp_path):
    manifest = Manifest(
        modality=EEG_1020, profile=PRETRAIN.to_dict(), config_hash=PRETRAIN.config_hash, code_version="1", shards=(),
        subjects={}, counts={},
    )  # fmt: skip
    (tmp_path / MANIFEST).write_text(manifest_json(manifest), encoding="utf-8")
    (tmp_path / COMPLETED).touch()
    return tmp_path, manifest


def test_feature_columns_travel_by_name(shards):
    folder, manifest = shards
    assert json.loads((folder / MANIFEST).read_text())["features"] == list(FEATURES)
    assert read_manifest(folder) == manifest


def test_a_manifest_without_names_has_the_first_columns(shards):
    folder, _ = shards
    fields = json.loads((folder / MANIFEST).read_text())
    del fields["features"]
    (folder / MANIFEST).write_text(json.dumps(fields))
    assert read_manifest(folder).features == FEATURES
    # Whoever changes FEATURES must keep the old names for such manifests: this is their digest.
    assert len(FEATURES) == 29
    assert hashlib.sha256(",".join(FEATURES).encode()).hexdigest()[:16] == "7b32fc0d2f6ea573"


def test_an_unfinished_set_is_refused(shards):
    folder, _ = shards
    (folder / COMPLETED).unlink()
    with pytest.raises(ManifestError, match="unfinished"):
        read_manifest(folder)


def shard(index=ShardIndex(path="site=a/windows-00001-of-00003.index.parquet", sha256="2" * 64)):  # noqa: B008  frozen
    return Shard(
        path="site=a/windows-00001-of-00003.tfrecord.snappy", site_id="a", n_windows=3, n_bytes=77, sha256="1" * 64,
        index=index,
    )  # fmt: skip


def test_everything_comes_back(tmp_path):
    moments = Moments.of(np.random.default_rng(0).normal(size=(19, 300)))
    manifest = Manifest(
        modality=EEG_1020, profile=PRETRAIN.to_dict(), config_hash="c" * 16, code_version="1.2+abc",
        shards=(shard(), shard(index=None)),
        subjects={"t": SubjectEntry(site_id="b", n_windows=1, recording_ids=("q",), moments=moments),
                  "s": SubjectEntry(site_id="a", n_windows=3, recording_ids=("r", "p"), moments=moments)},
        counts={"files": {"in": 1}}, salt_id="e" * 16, features=("a", "b"),
    )  # fmt: skip
    text = manifest_json(manifest)
    read = parse_manifest(text.encode(), "m.json")
    assert replace(read, subjects={}) == replace(manifest, subjects={})
    assert read.digest == hashlib.sha256(text.encode()).hexdigest()
    assert {name: entry.to_dict() for name, entry in read.subjects.items()} == {
        name: entry.to_dict() for name, entry in manifest.subjects.items()
    }
    assert read.subjects["s"].recording_ids == ("r", "p")
    assert read.has_accounting
    assert not replace(read, counts={"windows": {}}).has_accounting
    fields = json.loads(text)
    assert fields["schema_version"] == 1
    assert "index" not in fields["shards"][1]  # as sets without indexes were written
    assert list(fields["subjects"]) == ["s", "t"]
    assert manifest_json(read) == text
    assert text.endswith("}\n")
    del fields["salt_id"]
    assert parse_manifest(json.dumps(fields).encode(), "m.json").salt_id == ""


def test_names_of_a_shard():
    assert shard_name("north", 3, 12) == "site=north/windows-00003-of-00012.tfrecord.snappy"
    renamed = shard().renamed(shard_name("b", 0, 1))
    assert renamed.path == "site=b/windows-00000-of-00001.tfrecord.snappy"
    assert renamed.index == ShardIndex(path="site=b/windows-00000-of-00001.index.parquet", sha256="2" * 64)
    assert renamed.files == {renamed.path: "1" * 64, renamed.index.path: "2" * 64}
    assert shard(index=None).renamed(renamed.path).files == {renamed.path: "1" * 64}


@pytest.mark.parametrize(
    ("break_it", "says"),
    [
        (lambda folder: (folder / MANIFEST).unlink(), "is no shard set: it has no manifest.json"),
        (lambda folder: (folder / COMPLETED).unlink(), "is unfinished: it has no _COMPLETED"),
        (
            lambda folder: (folder / MANIFEST).write_text(
                (folder / MANIFEST).read_text().replace('ion": 1', 'ion": 2')
            ),
            "has schema version 2, this code reads 1: write it again",
        ),
    ],
)
def test_what_is_no_set(shards, break_it, says):
    folder, _ = shards
    break_it(folder)
    with pytest.raises(ManifestError, match=says):
        read_manifest(folder)
