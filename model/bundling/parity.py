"""Whether exported graphs answer as torch does: on real and synthetic windows, in many shapes, with channels absent."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import cycle, zip_longest
from pathlib import Path
from typing import Any

import numpy as np
import torch

from model.bundling.graphs import Exportable
from signals.bundles.answers import Combiner, combined, probabilities_of_each
from signals.bundles.bundle import METADATA, SPECTROGRAM, BundleError
from signals.bundles.calibration import tempered
from signals.bundles.inputs import padded, windows_of_shards
from signals.bundles.metadata import FIELDS, Person, metadata_of, people_of
from signals.modality import FIXED_SCALE, Modality
from signals.noise import aperiodic, shaped_noise
from signals.window import ABSENT, MEASURED

TOLERANCE = 1e-4
"""Largest difference of a class probability between torch and ONNX in fp32; of an embedding, in units of its size."""
N_WINDOWS = 200
BATCH_SIZES = (1, 2, 3, 8, 16)
_TYPICAL_UV = 25.0
"""Standard deviation of EEG, µV."""
SHAPES = ("whole", "fewer channels", "shorter", "longer")


@dataclass(frozen=True, kw_only=True)
class Parity:
    """How well exported graphs agree with torch."""

    n_windows: int
    n_synthetic: int
    max_probability_difference: float
    """Of an encoder: the largest difference of an embedding, divided by the embeddings' root mean square."""
    decisions_differ: int
    tolerance: float = TOLERANCE
    shapes: dict[str, int] = field(default_factory=dict)
    """Windows by what was done to them (`SHAPES`)."""

    @property
    def ok(self) -> bool:
        """Whether the graphs may be shipped."""
        return self.decisions_differ == 0 and self.max_probability_difference <= self.tolerance


@dataclass(frozen=True, kw_only=True)
class Probe:
    """Windows of one shape, in the units of their modality."""

    data: np.ndarray = field(repr=False)
    """float32, shape (n_windows, n_chans, n_times)."""
    ch_state: np.ndarray = field(repr=False)
    """int64, shape (n_windows, n_chans)."""
    people: tuple[tuple[str, str], ...]
    """(subject, site) of each, for the scales."""
    shape: str
    n_synthetic: int
    spectrogram: np.ndarray | None = field(default=None, repr=False)
    """float32, shape (n_windows, *SPECTROGRAM_SHAPE); None where no window carries one."""
    known: tuple[Person, ...] = field(default=(), repr=False)
    """Every field of each person, None where it is not known."""

    def feed(self, model: Exportable) -> dict[str, np.ndarray]:
        """Return a member's inputs by name; raises BundleError where it reads spectrograms and there are none."""
        result: dict[str, np.ndarray] = {}
        if "signal" in model.inputs:
            rows = zip(self.data, self.ch_state, self.people, strict=True)
            types = model.modality.sensor_types
            signal = np.stack([model.normaliser.apply(x, state, *person, types) for x, state, person in rows])
            result = {"signal": padded(signal, model.step_times), "ch_state": self.ch_state}
        if SPECTROGRAM in model.inputs:
            if self.spectrogram is None:
                raise BundleError(f"network {model.name} reads spectrograms, and the shards carry none")
            result[SPECTROGRAM] = self.spectrogram
        if METADATA in model.inputs:
            people = [{name: person[name] for name in model.fields} for person in self.known]
            result[METADATA] = metadata_of(model.fields).table(people)
        return result


@dataclass(frozen=True, kw_only=True)
class _Single:
    """One window, before it is cut to a shape."""

    data: np.ndarray
    ch_state: np.ndarray
    person: tuple[str, str]
    spectrogram: np.ndarray | None
    known: Person
    is_synthetic: bool = False


def probes(models: Sequence[Exportable], shards: Sequence[Path], *, n_windows: int, seed: int = 0) -> Iterator[Probe]:
    """Yield `n_windows` windows or more in batches of `BATCH_SIZES` and `SHAPES`, half of them from the shards.

    Raises signals.shards.manifest.ManifestError for a folder that is no shard set.
    """
    rng = np.random.default_rng(seed)
    step, shortest = max(m.step_times for m in models), max(m.min_times for m in models)
    chosen = windows_of_shards(shards, n_windows=(n_windows + 1) // 2)
    stored = [
        _Single(
            data=w.data,
            ch_state=w.ch_state.astype(np.int64),
            person=(w.subject_id, w.site_id),
            spectrogram=w.spectrogram,
            known=people_of([w], FIELDS.names)[0],
        )
        for w in chosen
    ]
    people = _people(n_windows - len(stored), seed=seed)
    synthetic = [_synthetic(rng, models[0].modality, stored[0], person) for person in people]
    # Of either kind in turn, so that every shape and batch size sees both.
    singles = [single for pair in zip_longest(stored, synthetic) for single in pair if single is not None]
    sizes, shapes, start = cycle(BATCH_SIZES), cycle(SHAPES), 0
    while start < len(singles):
        size = next(sizes)
        yield _shaped(rng, singles[start : start + size], next(shapes), step=step, shortest=shortest)
        start += size


def _people(n: int, *, seed: int) -> list[Person]:
    """Return people of whom each field is missing in one of three."""
    rng = np.random.default_rng((seed, 1))
    drawn = [
        {number.name: float(rng.uniform(number.low, number.high)) for number in FIELDS.numbers}
        | {category.name: str(rng.choice(category.levels)) for category in FIELDS.categories}
        for _ in range(n)
    ]
    return [{name: value if rng.random() > 1 / 3 else None for name, value in person.items()} for person in drawn]


def _synthetic(rng: np.random.Generator, modality: Modality, like: _Single, known: Person) -> _Single:
    """Return noise with the spectrum of EEG, loud or quiet, with a sharp discharge, a dead channel or neither.

    Sizes are of EEG, and in proportion where the modality has a scale of its own: no window is clipped all over.
    """
    n_times = like.data.shape[1]
    power = aperiodic(np.fft.rfftfreq(n_times, 1 / modality.sfreq), exponent=rng.uniform(0.5, 2.0))
    data = shaped_noise(rng, np.tile(power, (modality.n_chans, 1)), n_times).astype(np.float64)
    data *= rng.uniform(2, 100) / data.std()
    if rng.random() < 0.5:
        at = int(rng.integers(n_times - 64))
        data[:, at : at + 64] += rng.uniform(100, 2000) * np.hanning(64)
    if rng.random() < 0.3:
        data[rng.integers(modality.n_chans)] = 0.0
    data *= FIXED_SCALE.get(modality.kind, _TYPICAL_UV) / _TYPICAL_UV
    spectrogram = None
    if like.spectrogram is not None:
        spectrogram = rng.normal(size=like.spectrogram.shape).astype(np.float32)
        spectrogram[..., : int(rng.integers(like.spectrogram.shape[-1] // 2))] = np.nan
    return _Single(
        data=data.astype(np.float32),
        ch_state=np.full(modality.n_chans, MEASURED, dtype=np.int64),
        person=("synthetic", "synthetic"),
        spectrogram=spectrogram,
        known=known,
        is_synthetic=True,
    )


def _shaped(rng: np.random.Generator, singles: Sequence[_Single], shape: str, *, step: int, shortest: int) -> Probe:
    data, states = np.stack([one.data for one in singles]), np.stack([one.ch_state for one in singles])
    n_chans, n_times = data.shape[1:]
    if shape == "fewer channels":
        for row in states:
            row[rng.choice(n_chans, int(rng.integers(1, n_chans // 2 + 1)), replace=False)] = ABSENT
    elif shape == "shorter":
        n_steps = int(rng.integers(min(shortest, n_times) // step, n_times // step + 1))
        data = np.ascontiguousarray(data[:, :, : n_steps * step])
    elif shape == "longer":
        data = np.concatenate([data, data[:, :, : n_times // step // 2 * step]], axis=2)
    around = [one.spectrogram for one in singles if one.spectrogram is not None]
    return Probe(
        data=data,
        ch_state=states,
        people=tuple(one.person for one in singles),
        shape=shape,
        n_synthetic=sum(one.is_synthetic for one in singles),
        spectrogram=np.stack(around) if len(around) == len(singles) else None,
        known=tuple(one.known for one in singles),
    )


def onnx_session(path: Path) -> Any:
    """Return an ONNX Runtime session on the CPU."""
    import onnxruntime  # only the comparison needs it

    return onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])


def compare(
    models: Sequence[Exportable],
    graphs: Sequence[Path],
    probes: Iterator[Probe],
    *,
    temperature: float = 1.0,
    combiner: tuple[torch.nn.Module, Path] | None = None,
) -> Parity:
    """Return how far calibrated probabilities (of an encoder: embeddings) of graphs are from torch's."""
    sessions = [onnx_session(path) for path in graphs]
    stack = None if combiner is None else onnx_session(combiner[1])
    parity = Parity(n_windows=0, n_synthetic=0, max_probability_difference=0.0, decisions_differ=0)
    for probe in probes:
        ours, theirs = [], []
        for model, session in zip(models, sessions, strict=True):
            feed = probe.feed(model)
            with torch.inference_mode():
                ours.append(model.network(*(torch.from_numpy(feed[name]) for name in model.inputs))[0].numpy())
            theirs.append(session.run([model.outputs[0]], feed)[0])
        if models[0].task is None:
            a, b = ours[0], theirs[0]
            difference, differ = np.abs(a - b).max() / np.sqrt(np.square(a).mean()), 0
        elif models[0].task.multilabel:
            a, b = (probabilities_of_each(np.stack(x), temperature=temperature) for x in (ours, theirs))
            difference, differ = np.abs(a - b).max(), int(((a >= 0.5) != (b >= 0.5)).any(axis=1).sum())
        else:
            a = tempered(combined(np.stack(ours), called(combiner and combiner[0])), temperature)
            b = tempered(combined(np.stack(theirs), called(stack)), temperature)
            difference, differ = np.abs(a - b).max(), int((a.argmax(1) != b.argmax(1)).sum())
        parity = _with(parity, probe, float(difference), differ)
    return parity


def called(combiner: Any) -> Combiner | None:
    """Return how a meta-learner, torch's or ONNX Runtime's, is called; None without one."""
    if combiner is None:
        return None

    def call(probabilities: np.ndarray) -> np.ndarray:
        if isinstance(combiner, torch.nn.Module):
            with torch.inference_mode():
                return np.asarray(combiner(torch.from_numpy(probabilities))[0].numpy())
        return np.asarray(combiner.run(["logits"], {"probabilities": probabilities})[0])

    return call


def _with(parity: Parity, probe: Probe, difference: float, differ: int) -> Parity:
    n_windows = len(probe.data)
    return replace(
        parity,
        n_windows=parity.n_windows + n_windows,
        n_synthetic=parity.n_synthetic + probe.n_synthetic,
        # NumPy's maximum, unlike Python's, lets a NaN through, and a NaN fails the gate.
        max_probability_difference=float(np.maximum(parity.max_probability_difference, difference)),
        decisions_differ=parity.decisions_differ + differ,
        shapes={**parity.shapes, probe.shape: parity.shapes.get(probe.shape, 0) + n_windows},
    )
