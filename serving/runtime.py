"""Answers from a bundle with onnxruntime alone; windows are prepared by the same code as in the pipeline."""

import os
import threading
from collections import OrderedDict
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import Any

import numpy as np

from signals.bundles import inputs as served
from signals.bundles.answers import Answers, answers, answers_of_each, prediction_set
from signals.bundles.bundle import FP32, Bundle, BundleError, Graph
from signals.tasks import joined_classes
from signals.window import Window
from signals.windows.prepare import EVERYTHING

PROVIDER_EXIT = 3
"""Exit code of a command whose execution provider is missing on this machine."""
GRAVE_FROM = 0.1
"""Probability from which a class whose miss would be grave is worth an expert's look."""


Sessions = Callable[[str], Any]
"""The ONNX Runtime session of a bundle's file, by its name."""


class ProviderError(BundleError):
    """An execution provider that is not to be had here."""


@dataclass(frozen=True)
class Answer:
    """One window's answer. Research use only."""

    start_s: float
    stop_s: float
    predicted_class: str
    class_probabilities: dict[str, float]
    """Calibrated; they add up to 1, but for a multi-label task, whose classes are each answered for themselves."""
    confidence: float
    """Probability of the predicted class; of a multi-label answer that of its least certain yes or no."""
    uncertainty: dict[str, float | None]
    """total, aleatoric, epistemic, nats (`signals.bundles.calibration`); the last two only of ensembles."""
    prediction_set: tuple[str, ...] | None
    """Classes that hold the label with the promised probability; None where the bundle was not calibrated for it."""
    clinical_recommendation: str
    """Who should look, and why; never what to do."""


@dataclass(frozen=True)
class Embedding:
    """What an encoder makes of one window."""

    start_s: float
    stop_s: float
    representation: tuple[float, ...]


def windows_of_file(
    bundle: Bundle, uri: str, *, mains_hz: float | None = None, hop_s: float | None = None,
    want: Collection[str] = EVERYTHING,
) -> Iterator[Window]:  # fmt: skip
    """Yield the windows of a recording under the bundle's profile, the pipeline's own; `want` and what it raises as
    `signals.bundles.inputs.windows_of_file`."""
    return served.windows_of_file(bundle.profile, uri, mains_hz=mains_hz, hop_s=hop_s, want=want)


def run(bundle: Bundle, windows: Iterable[Window], *, batch_size: int = 8) -> Iterator[Answer]:
    """Yield one answer per window, in order; `batch_size` bounds the memory. Raises as `answer_batch`."""
    for batch in _batches(windows, batch_size):
        yield from described(bundle, batch, answer_batch(bundle, batch))


def embed(bundle: Bundle, windows: Iterable[Window], *, batch_size: int = 8) -> Iterator[Embedding]:
    """Yield the first member's representation of each window, in order."""
    for batch in _batches(windows, batch_size):
        (vectors,) = _run_graph(bundle, bundle.graphs[0], served.Batch(batch), ("representation",), files_of(bundle))
        for window, vector in zip(batch, vectors, strict=True):
            yield Embedding(window.start_s, _stop_s(window), tuple(vector.tolist()))


def probabilities(bundle: Bundle, windows: Sequence[Window]) -> np.ndarray:
    """Return calibrated class probabilities, float64, shape (n_windows, n_classes); raises as `answer_batch`."""
    return answer_batch(bundle, windows).probabilities


def answer_batch(bundle: Bundle, windows: Sequence[Window], *, sessions: Sessions | None = None) -> Answers:
    """Return calibrated probabilities and their uncertainty; `sessions` are by default those of the bundle's files.

    Raises BundleError for an encoder, and for windows of other channels or another rate or length than the bundle
    takes.
    """
    _ = bundle.classes  # an encoder is refused before anything is computed
    sessions = sessions or files_of(bundle)
    batch = served.Batch(windows)
    logits = [_run_graph(bundle, graph, batch, ("logits",), sessions)[0] for graph in bundle.graphs]
    return _combined(bundle, logits, sessions)


def embedded_batch(bundle: Bundle, windows: Sequence[Window], *, sessions: Sessions) -> tuple[Answers, np.ndarray]:
    """Return what `answer_batch` returns, and the first member's representation of each window from the same run,
    float32, shape (n_windows, width)."""
    _ = bundle.classes
    batch = served.Batch(windows)
    first, vectors = _run_graph(bundle, bundle.graphs[0], batch, ("logits", "representation"), sessions)
    others = [_run_graph(bundle, graph, batch, ("logits",), sessions)[0] for graph in bundle.graphs[1:]]
    return _combined(bundle, [first, *others], sessions), vectors.reshape(len(windows), -1)


def _combined(bundle: Bundle, logits: Sequence[np.ndarray], sessions: Sessions) -> Answers:
    if bundle.task is not None and bundle.task.multilabel:
        if bundle.combiner is not None:
            raise BundleError(f"{bundle.path} stacks members of a multi-label task: export a mean of them")
        return answers_of_each(np.stack(logits), temperature=bundle.calibration.temperature)
    combiner = None if bundle.combiner is None else partial(_run_combiner, sessions(bundle.combiner))
    return answers(np.stack(logits), temperature=bundle.calibration.temperature, combiner=combiner)


def files_of(bundle: Bundle) -> Sessions:
    """Return the sessions of a bundle's files, built from checked bytes; raises as `onnx_session`."""
    return lambda name: onnx_session(bundle, name)


def _run_combiner(session: Any, probabilities: np.ndarray) -> np.ndarray:
    """Return the meta-learner's logits, (n_windows, n_classes), of members' probabilities (as in its graph)."""
    (logits,) = session.run(["logits"], {"probabilities": probabilities})
    return np.asarray(logits)


def check_windows(bundle: Bundle, graph: Graph, windows: Sequence[Window]) -> None:
    """Raise BundleError, in one line, for a window that a graph cannot take."""
    for window in windows:
        if window.modality != bundle.modality.name or len(window.data) != bundle.modality.n_chans:
            raise BundleError(
                f"a window has {len(window.data)} channels of {window.modality}, "
                f"the bundle takes {bundle.modality.n_chans} of {bundle.modality.name}"
            )
        n_times = window.data.shape[1]
        is_usual = n_times == round(bundle.profile.window_s * bundle.modality.sfreq)
        if n_times < graph.min_times or (n_times % graph.step_times and not is_usual):
            raise BundleError(
                f"a window has {n_times / window.sfreq:g} s, the bundle takes {graph.min_times / window.sfreq:g} s or "
                f"more, in steps of {graph.step_times / window.sfreq:g} s"
            )


def _run_graph(
    bundle: Bundle, graph: Graph, batch: served.Batch, outputs: Sequence[str], sessions: Sessions
) -> list[np.ndarray]:
    check_windows(bundle, graph, batch.windows)
    feed, session = batch.feed(graph), sessions(graph.file)
    if bundle.precision == FP32:
        return [np.asarray(result) for result in session.run(list(outputs), feed)]
    # Each window alone, or its answer would depend on its neighbours: dynamic ranges are those of what is run together,
    # and a last bit that differs between batches may lie at the edge of a step of 256.
    alone = [{name: values[k : k + 1] for name, values in feed.items()} for k in range(len(batch.windows))]
    rows = [session.run(list(outputs), one) for one in alone]
    return [np.concatenate(parts) for parts in zip(*rows, strict=True)]


def _batches(windows: Iterable[Window], size: int) -> Iterator[list[Window]]:
    remaining = iter(windows)
    while batch := list(islice(remaining, size)):
        yield batch


def described(bundle: Bundle, windows: Sequence[Window], batch: Answers) -> Iterator[Answer]:
    """Yield a batch's answers one by one, with names and recommendation."""
    doubt = batch.uncertainty
    parts = {"total": doubt.total, "aleatoric": doubt.aleatoric, "epistemic": doubt.epistemic}
    conformal = bundle.calibration.conformal
    describe = _statements if bundle.task is not None and bundle.task.multilabel else _one_class
    for row, (window, probs) in enumerate(zip(windows, batch.probabilities, strict=True)):
        named, confidence = describe(bundle, probs)
        inside = None if conformal is None else prediction_set(probs, conformal, bundle.classes)
        yield Answer(
            start_s=window.start_s,
            stop_s=_stop_s(window),
            predicted_class=named,
            class_probabilities=dict(zip(bundle.classes, probs.tolist(), strict=True)),
            confidence=confidence,
            uncertainty={name: None if part is None else float(part[row]) for name, part in parts.items()},
            prediction_set=inside,
            clinical_recommendation=recommendation(bundle, probs, inside),
        )


def _one_class(bundle: Bundle, probs: np.ndarray) -> tuple[str, float]:
    """Return the class of largest probability, and that probability."""
    return bundle.classes[int(probs.argmax())], float(probs.max())


def _statements(bundle: Bundle, probs: np.ndarray) -> tuple[str, float]:
    """Return the classes that reach their thresholds, and the probability of the least certain yes or no."""
    answered = _answered(bundle, probs)
    named = joined_classes(name for name, is_in in zip(bundle.classes, answered, strict=True) if is_in)
    return named, float(np.where(answered, probs, 1 - probs).min())


def _answered(bundle: Bundle, probs: np.ndarray) -> np.ndarray:
    """Return which classes of a multi-label task are answered, bool, shape (n_classes,)."""
    return np.asarray(probs >= np.array(decisions_of(bundle)))


def decisions_of(bundle: Bundle) -> tuple[float, ...] | None:
    """Return the probability from which each class is answered, one half where none is fitted; None of a task of one
    class of several."""
    if bundle.task is None or not bundle.task.multilabel:
        return None
    return bundle.calibration.decisions or (0.5,) * len(bundle.classes)


def recommendation(bundle: Bundle, probs: np.ndarray, inside: Sequence[str] | None) -> str:
    """Return who should look at a window, and why; it never says what to do with a patient.

    Flagged is what the model abstains from, what it cannot tell apart, a finding of the task, and a window whose grave
    alternative is not unlikely.
    """
    below, task = bundle.calibration.abstain_below, bundle.task
    if task is not None and task.multilabel:
        answered = zip(bundle.classes, _answered(bundle, probs), strict=True)
        found = [name for name, is_in in answered if is_in and name in task.findings]
        why = f"flag for expert review: possible {', '.join(found)}" if found else "no flag"
        return f"{why} (research use only)"
    by_class = dict(zip(bundle.classes, probs.tolist(), strict=True))
    predicted = max(by_class, key=by_class.__getitem__)
    graver = [true for true, taken_for in task.grave if taken_for == predicted] if task is not None else []
    likely = [name for name in graver if by_class[name] >= GRAVE_FROM]
    if below is not None and by_class[predicted] < below:
        why = f"the model abstains, its confidence is below {below:.2f}"
    elif inside is not None and len(inside) != 1:
        why = f"cannot tell apart {', '.join(inside)}" if inside else "unlike what the model was calibrated on"
    elif task is not None and predicted in task.findings:
        why = f"possible {predicted}"
    elif likely:
        why = f"{likely[0]} is not ruled out"
    else:
        return "no flag (research use only)"
    return f"flag for expert review: {why} (research use only)"


def _stop_s(window: Window) -> float:
    return window.start_s + window.data.shape[1] / window.sfreq


def check_provider() -> str:
    """Return the requested execution provider: the CPU's, or what CEREBEAM_PROVIDER names ("CUDA", "Tensorrt").

    Raises ProviderError where this ONNX Runtime does not have it: a different one would answer without notice.
    """
    import onnxruntime  # 0.2 s, needed for answers only

    provider = f"{os.environ.get('CEREBEAM_PROVIDER', 'CPU')}ExecutionProvider"
    available = onnxruntime.get_available_providers()
    if provider not in available:
        raise ProviderError(
            f"this ONNX Runtime has no {provider}, only {', '.join(available)}: install onnxruntime-gpu and CUDA"
        )
    return provider


def onnx_session(bundle: Bundle, name: str) -> Any:
    """Return the ONNX Runtime session of a bundle's file, built from bytes with the digest that bundle.json states.

    It is kept by that digest: a file that is replaced later changes nothing, and is never run. Raises as
    `check_provider` and `Bundle.read`.
    """
    # The variable that torch and BLAS obey; 0 lets ONNX Runtime take every core.
    key = (bundle.digest_of(name), check_provider(), int(os.environ.get("OMP_NUM_THREADS", "0")))
    with _LOCK:
        if key not in _SESSIONS:
            _SESSIONS[key] = new_session(bundle.read(name), threads=key[2])
            while len(_SESSIONS) > SESSIONS_KEPT:
                _SESSIONS.popitem(last=False)
        _SESSIONS.move_to_end(key)
        return _SESSIONS[key]


SESSIONS_KEPT = 32
_SESSIONS: OrderedDict[tuple[str, str, int], Any] = OrderedDict()
_LOCK = threading.Lock()


def new_session(raw: bytes, *, threads: int) -> Any:
    """Return a session of a graph's bytes; raises as `check_provider`."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    provider = check_provider()
    session = onnxruntime.InferenceSession(
        raw, options, providers=list(dict.fromkeys([provider, "CPUExecutionProvider"]))
    )
    if session.get_providers()[0] != provider:
        raise ProviderError(f"{provider} did not start: its libraries or a GPU are missing")
    return session
