"""The autoencoder inside the pipeline: block -> the same block with a score for every channel and second.

    Block -> prepare (samples stay in the worker) -> RunInference over ONNX Runtime -> Block with scores

The three steps are one fused stage: no samples pass a shuffle, what goes on is a block with 760 bytes of scores per
10-s window. The price is that blocks are prepared twice, here and where shards are written; `docs/artifacts.md` has
what it costs. Windows are scored one by one in one thread, so that scores do not depend on how a runner makes up its
batches.
"""

import json
from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Any

import numpy as np

from pipelines.runs import storage
from pipelines.stages.outcome import Refused
from pipelines.stages.prepare import prepared
from signals.bundles.anomaly import SCHEMA_VERSION, model_input
from signals.windows.blocks import Block
from signals.windows.profiles import Profile

_MUST_AGREE = ("modality", "l_freq", "h_freq", "reference")


class AutoencoderError(ValueError):
    """An autoencoder that cannot be used; the message is one line that says why and what to do."""


def check_autoencoder(path: str, profile: Profile) -> dict[str, Any]:
    """Return an autoencoder's metadata; raises AutoencoderError unless it can score windows of this profile."""
    try:
        import onnxruntime  # noqa: F401
        from apache_beam.ml.inference import onnx_inference  # noqa: F401  it needs the package onnx too
    except ImportError as error:
        raise AutoencoderError(f"--autoencoder needs {error.name}: install cerebeam[anomaly]") from error
    if not storage.exists(path):
        raise AutoencoderError(f"autoencoder {path} does not exist; make one with training.autoencoder")
    try:
        session = load_session(path)
        about = {key: json.loads(value) for key, value in session.get_modelmeta().custom_metadata_map.items()}
        version = about["schema_version"]
    except Exception as error:  # ONNX Runtime raises classes of its own for whatever is wrong with a file
        raise AutoencoderError(f"{path} is no autoencoder of training.autoencoder ({type(error).__name__})") from error
    if version != SCHEMA_VERSION:
        raise AutoencoderError(f"{path} has schema version {version}, this code reads {SCHEMA_VERSION}: train it again")
    required, trained = profile.to_dict(), about["profile"]
    for name in _MUST_AGREE:
        if trained[name] != required[name]:
            raise AutoencoderError(
                f"{path} was trained on shards with {name}={trained[name]}, profile {profile.name} has "
                f"{required[name]}: train one on shards of this profile"
            )
    return about


def score_stacks(session: Any, batch: Sequence[np.ndarray], _: dict[str, Any] | None = None) -> list[np.ndarray]:
    """Return the scores of stacks of windows, float32, shape (n_windows, n_chans, n_seconds) each."""
    return [np.concatenate([session.run(["anomaly"], {"signal": x[None]})[0] for x in stack]) for stack in batch]


def windows_of(block: Block) -> tuple[Block, np.ndarray]:
    """Return (block, its windows as the autoencoder takes them), shape (n_starts, n_chans, n_times).

    A window that will be rejected is NaN throughout.
    """
    signal = block.plan.profile.signal
    n_times = round(block.plan.profile.window_s * signal.sfreq)
    stack = np.full((len(block.starts), signal.n_chans, n_times), np.nan, dtype=np.float32)
    rows = {start: row for row, start in enumerate(block.starts)}
    for outcome in prepared(block):
        if not isinstance(outcome, Refused):
            stack[rows[outcome.start]] = model_input(outcome.window.data, outcome.window.primary_state)
    return block, stack


def with_scores(block: Block, scores: np.ndarray) -> Block:
    """Return the block with the scores of its windows."""
    return replace(block, anomaly=tuple(np.asarray(one, dtype=np.float32) for one in scores))


def score_block(block: Block, autoencoder: str) -> Block:
    """Return the block with its scores: what `pipelines.transforms.ScoreBlocks` makes of it, without Beam."""
    _, stack = windows_of(block)
    (scores,) = score_stacks(load_session(autoencoder), [stack])
    return with_scores(block, scores)


@lru_cache(maxsize=1)
def load_session(autoencoder: str) -> Any:
    """Return an ONNX Runtime session of one thread for a file on this machine or on any that Beam can open."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    with storage.open_file(autoencoder) as file:
        return onnxruntime.InferenceSession(file.read(), options, providers=["CPUExecutionProvider"])
