"""Saved task models: a folder with config.json and model.safetensors, of whatever kind."""

import json
from pathlib import Path

from model.classifier import Classifier, ClassifierConfig
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


def is_task_model(folder: Path) -> bool:
    """Return whether a folder holds a saved task model, rather than an encoder or nothing."""
    config = folder / "config.json"
    return config.is_file() and json.loads(config.read_text(encoding="utf-8")).get("model_type") in _KINDS


def load_task_model(folder: Path) -> TaskModel:
    """Return a saved task model, ready to use; raises ValueError, saying what it is, for a folder of another kind.

    Raises FileNotFoundError for a folder that holds no model.
    """
    for name in ("config.json", "model.safetensors"):
        if not (folder / name).is_file():
            raise FileNotFoundError(f"{folder} is no model: it needs config.json and model.safetensors")
    kind = json.loads((folder / "config.json").read_text(encoding="utf-8")).get("model_type")
    if kind not in _KINDS:
        raise ValueError(f"{folder} holds a model of type {kind!r}; task models are {', '.join(sorted(_KINDS))}")
    return _KINDS[kind].from_pretrained(folder, local_files_only=True).eval()
