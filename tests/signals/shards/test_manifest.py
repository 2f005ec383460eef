import hashlib
import json

import pytest

from signals.description.features import FEATURES
from signals.modality import EEG_1020
from signals.shards.manifest import COMPLETED, MANIFEST, Manifest, ManifestError, manifest_json, read_manifest
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
