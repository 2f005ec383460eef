"""Saved task models: a folder with config.json and model.safetensors, of whatever kind."""

import json
from pathlib import Path

from model.classifier import Classifier, ClassifierConfig
from model.encoder import Encoder
from model.supervised.supervised import Supervised, SupervisedConfig

TaskModel = Classifier | Supervised
"""A saved model: normalised signal and channel states in, logits and an embedding out."""
_KINDS: dict[str, type[Classifier] | type[Supervised]] = {
    ClassifierConfig.model_type: Classifier,
    SupervisedConfig.model_type: Supervised,
}


def model_name(model: TaskModel) -> str:
    """Return how predictions name a model: "encoder", or the network's name."""
    return "encoder" if isinstance(model, Classifier) else str(model.config.network)


def check_model_dir(folder: Path) -> Path:
    """Return the folder if it holds a saved model; raises FileNotFoundError, saying what was looked for, if not."""
    if not (folder / "config.json").is_file() or not (folder / "model.safetensors").is_file():
        raise FileNotFoundError(f"{folder} is no model: it needs config.json and model.safetensors")
    return folder


def is_task_model(folder: Path) -> bool:
    """Return whether a folder holds a saved task model, rather than an encoder or nothing."""
    config = folder / "config.json"
    return config.is_file() and json.loads(config.read_text(encoding="utf-8")).get("model_type") in _KINDS


def load_task_model(folder: Path) -> TaskModel:
    """Return a saved task model, ready to use; raises ValueError, saying what it is, for a folder of another kind.

    Raises FileNotFoundError for a folder that holds no model.
    """
    check_model_dir(folder)
    kind = json.loads((folder / "config.json").read_text(encoding="utf-8")).get("model_type")
    if kind not in _KINDS:
        raise ValueError(f"{folder} holds a model of type {kind!r}; task models are {', '.join(sorted(_KINDS))}")
    return _KINDS[kind].from_pretrained(folder, local_files_only=True).eval()


def load_encoder(folder: Path) -> Encoder:
    """Return a saved encoder, or the one below the head of a saved task model.

    Raises FileNotFoundError for a folder that holds no model, ValueError for a network, which has no encoder, and for
    weights that this code's encoder does not have.
    """
    check_model_dir(folder)
    if is_task_model(folder):
        model = load_task_model(folder)
        if not isinstance(model, Classifier):
            raise ValueError(f"{folder} holds a network, {model_name(model)}, which has no encoder")
        return model.encoder
    encoder, loading = Encoder.from_pretrained(folder, local_files_only=True, output_loading_info=True)
    if wrong := sorted({*loading["missing_keys"], *loading["unexpected_keys"]}):
        raise ValueError(f"{folder} does not fit this code's encoder: {wrong[0]} and {len(wrong) - 1} more differ")
    return encoder
