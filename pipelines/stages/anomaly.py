"""The autoencoder inside the pipeline: block -> the same block with a score for every channel and second.

    Block -> prepare (samples stay in the worker) -> RunInference over ONNX Runtime -> Block with scores

The three steps are one fused stage: no samples pass a shuffle, what goes on is a block with 760 bytes of scores a 10-s
window. The price is that blocks are prepared twice, here and where shards are written; `docs/artifacts.md` has what it
costs. Windows are scored one by one in one thread, so that scores do not depend on how a runner makes up its batches.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import apache_beam as beam
import numpy as np

from signals.bundles.anomaly import SCHEMA_VERSION, model_input
from signals.readers.registry import reopen_recording
from signals.windows.blocks import Block
from signals.windows.prepare import prepare_block
from signals.windows.profiles import Profile

_MUST_AGREE = ("modality", "l_freq", "h_freq", "reference")


class AutoencoderError(ValueError):
    """An autoencoder that cannot be used; the message is one line that says why and what to do."""


def check_autoencoder(path: str, profile: Profile) -> dict[str, Any]:
    """Return an autoencoder's metadata; raises AutoencoderError unless it can score windows of this profile."""
    try:
        import onnxruntime
        from apache_beam.ml.inference import onnx_inference  # noqa: F401  it needs the package onnx too
    except ImportError as error:
        raise AutoencoderError(f"--autoencoder needs {error.name}: install cerebeam[anomaly]") from error
    if not Path(path).is_file():
        raise AutoencoderError(f"autoencoder {path} does not exist; make one with training.autoencoder")
    try:
        session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
        about = {key: json.loads(value) for key, value in session.get_modelmeta().custom_metadata_map.items()}
        version = about["schema_version"]
    except Exception as error:  # ONNX Runtime raises classes of its own for whatever is wrong with a file
        raise AutoencoderError(f"{path} is no autoencoder of training.autoencoder ({type(error).__name__})") from error
    if version != SCHEMA_VERSION:
        raise AutoencoderError(f"{path} has schema version {version}, this code reads {SCHEMA_VERSION}: train it again")
    asked, trained = profile.to_dict(), about["profile"]
    for name in _MUST_AGREE:
        if trained[name] != asked[name]:
            raise AutoencoderError(
                f"{path} was trained on shards with {name}={trained[name]}, profile {profile.name} has {asked[name]}: "
                "train one on shards of this profile"
            )
    return about


def score_stacks(session: Any, batch: Sequence[np.ndarray], _: dict[str, Any] | None = None) -> list[np.ndarray]:
    """Return the scores of stacks of windows, float32, shape (n_windows, n_chans, n_seconds) each."""
    return [np.concatenate([session.run(["anomaly"], {"signal": x[None]})[0] for x in stack]) for stack in batch]


def windows_of(block: Block) -> tuple[Block, np.ndarray]:
    """Return (block, its windows as the autoencoder wants them), shape (n_starts, n_chans, n_times).

    A window that will be rejected is NaN throughout.
    """
    signal = block.plan.profile.signal
    prepared = prepare_block(reopen_recording(block.plan.uri), block)
    n_times = round(block.plan.profile.window_s * signal.sfreq)
    stack = np.full((len(block.starts), signal.n_chans, n_times), np.nan, dtype=np.float32)
    first = {window.provenance.start_sample: model_input(window.data, window.eeg_state) for window in prepared.windows}
    native = block.plan.native_sfreq / signal.sfreq
    for row, start in enumerate(block.starts):
        stack[row] = first.get(int(start.start * native), stack[row])
    return block, stack


def scored(keyed: tuple[Block, Any]) -> Block:
    """Return the block with its scores."""
    block, result = keyed
    return replace(block, anomaly=tuple(np.asarray(scores, dtype=np.float32) for scores in result.inference))


@dataclass
class ScoreBlocks(beam.PTransform):
    """Block -> Block with scores."""

    autoencoder: str
    """Path of the ONNX file, any file system that Beam can open."""

    def expand(self, planned: beam.PCollection) -> beam.PCollection:
        """Prepare, run the network, keep the scores."""
        from apache_beam.ml.inference.base import KeyedModelHandler, RunInference

        return (
            planned
            | "Prepare" >> beam.Map(windows_of)
            | "RunInference" >> RunInference(KeyedModelHandler(_handler(self.autoencoder)))
            | "Keep scores" >> beam.Map(scored)
        )


def _handler(path: str) -> Any:
    from apache_beam.ml.inference.onnx_inference import OnnxModelHandlerNumpy

    class Handler(OnnxModelHandlerNumpy):
        """One thread a session; its options cannot be pickled, so they are made here."""

        def load_model(self) -> Any:
            import onnxruntime

            self._session_options = onnxruntime.SessionOptions()
            self._session_options.intra_op_num_threads = self._session_options.inter_op_num_threads = 1
            try:
                return super().load_model()
            finally:
                self._session_options = None

    return Handler(
        path, providers=["CPUExecutionProvider"], inference_fn=score_stacks, min_batch_size=1, max_batch_size=4
    )
