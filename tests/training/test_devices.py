"""What has no device of its own to choose runs on the GPU where there is one: seen by a device that holds no values."""

from pathlib import Path

import pytest
import torch

from model.encoder import Encoder
from model.encoder_config import sized
from studies import embed
from studies.baselines import candidates
from training.corpus.corpus import Corpus
from training.fitting import inference, teachers
from training.parallel import distributed


def test_a_gpu_is_taken_where_there_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    assert distributed.own_device() == torch.device("cpu")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert distributed.own_device(3) == torch.device("cuda", 3)


def test_saved_models_are_loaded_onto_it(monkeypatch: pytest.MonkeyPatch) -> None:
    moved: list[torch.device] = []

    class Model:
        def to(self, device: torch.device) -> "Model":
            moved.append(device)
            return self

    monkeypatch.setattr(inference, "load_task_model", lambda folder: Model())
    monkeypatch.setattr(inference, "own_device", lambda: torch.device("meta"))
    inference.load_on_device(Path("anywhere"))
    assert moved == [torch.device("meta")]
    from studies import predict, submission
    from studies.stressing import ward

    for module in (predict, ward, submission, teachers):
        assert module.load_on_device is inference.load_on_device


def test_embeddings_and_transfer_are_computed_on_it(toy_shards: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    encoder = Encoder(sized("tiny", dim=16, depth=1, n_heads=2, stem_dim=16))
    monkeypatch.setattr(embed, "own_device", lambda: torch.device("meta"))
    with pytest.raises((NotImplementedError, RuntimeError), match="meta"):  # no value can be taken from there
        embed.representations(encoder, Corpus.open(toy_shards))
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "set_device", lambda device: None)
    bench = candidates.Bench(None, None, Path())  # type: ignore[arg-type]
    assert bench.processes.device == torch.device("cuda", 0)
