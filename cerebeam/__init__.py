"""Cerebeam from Python: `read` a recording, `prepare` its windows, `load` a bundle, open shards to train on.

    import cerebeam

    windows = cerebeam.prepare("night.edf", profile="six-class")
    prediction = cerebeam.load("BUNDLE").predict("night.edf")

A name is imported when it is first used: neither torch nor TensorFlow nor Beam is loaded before something needs it.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cerebeam.api.embeddings import WindowEmbeddings
    from cerebeam.api.features import WindowFeatures
    from cerebeam.api.load import load
    from cerebeam.api.prepare import Windows, prepare
    from cerebeam.api.read import read
    from cerebeam.api.tensorflow import tf_dataset
    from cerebeam.api.torch import torch_dataset

__all__ = ["WindowEmbeddings", "WindowFeatures", "Windows", "load", "prepare", "read", "tf_dataset", "torch_dataset"]

_HOMES = {
    "WindowEmbeddings": "embeddings", "WindowFeatures": "features", "Windows": "prepare", "load": "load",
    "prepare": "prepare", "read": "read", "tf_dataset": "tensorflow", "torch_dataset": "torch",
}  # fmt: skip


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'cerebeam' has no attribute {name!r}; it has {', '.join(__all__)}")
    return getattr(importlib.import_module(f"cerebeam.api.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
