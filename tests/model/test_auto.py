from pathlib import Path

import torch
from transformers import AutoConfig, AutoModel

from model.auto import register
from model.classifier import Classifier, new_classifier
from model.encoder import Encoder
from model.encoder_config import sized
from signals.modality import EEG_1020
from signals.shards.normalise import Normaliser
from signals.tasks import TASKS


def test_folders_load_by_path_without_a_network(tmp_path: Path) -> None:
    register()
    register()
    encoder = Encoder(sized("tiny", dim=16, depth=1, n_heads=2, stem_dim=16))
    encoder.save_pretrained(tmp_path / "encoder")
    normaliser = Normaliser(kind="window")
    task = new_classifier(encoder, TASKS["eyes"], EEG_1020, normaliser, dropout=0.0, profile={}, provenance={})
    task.save_pretrained(tmp_path / "task")
    for name, kind, wanted in (("encoder", Encoder, encoder), ("task", Classifier, task)):
        loaded = AutoModel.from_pretrained(tmp_path / name, local_files_only=True)
        assert type(loaded) is kind
        assert AutoConfig.from_pretrained(tmp_path / name).model_type == wanted.config.model_type
        assert all(torch.equal(value, loaded.state_dict()[key]) for key, value in wanted.state_dict().items())
