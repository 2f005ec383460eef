"""Measures the skill of a pretraining (`training.objectives.skill`): errors of the network and of what needs none."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import astuple, dataclass, field

import numpy as np
import torch
from torch import Tensor

from model.montage import Montage
from model.pretraining.draws import Draws
from model.pretraining.masking import MIN_GROUP, MaskPlan, draw_masks, hide
from model.pretraining.pretraining import PretrainModel
from signals.modality import Modality
from signals.shards.normalise import Normaliser
from signals.window import ABSENT, MEASURED
from training.corpus.corpus import Corpus, WindowBatch
from training.corpus.splits import evenly
from training.objectives.gap_filling import SPATIAL_RIDGE, Filling, fill_to_start, window_fill
from training.objectives.skill import PARTS, Skill

GAPS = MaskPlan(span_ms=(60.0, 500.0), schedule_weights=(1.0, 0.0, 0.0))
CHANNELS = MaskPlan(schedule_weights=(0.0, 0.0, 1.0))
EVERY_S = 4
"""Of so many seconds the second one is hidden, so that its neighbours on both sides are whole."""
MAX_S = 10.0
N_BOOT = 2000
LEAST_PEOPLE = 3
"""Fewer say nothing about others."""
OF_RECORDING = 12
"""Windows of a recording that its own ridge is fitted to."""


@dataclass
class Products:
    """Mean products of channels over samples at which both are measured."""

    total: np.ndarray
    count: np.ndarray

    @classmethod
    def none(cls, n_chans: int) -> "Products":
        """Return what has seen no sample."""
        return cls(np.zeros((n_chans, n_chans)), np.zeros((n_chans, n_chans)))

    def add(self, x: np.ndarray, measured: np.ndarray) -> None:
        """Count a window, shape (n_chans, n_times); channels that are not measured say nothing."""
        seen = np.where(measured[:, None], x, 0).astype(np.float64)
        self.total += seen @ seen.T
        self.count += np.outer(measured, measured) * x.shape[1]

    def ridge(self, hidden: np.ndarray, visible: np.ndarray) -> np.ndarray | None:
        """Return the weights of hidden channels from visible ones, both against the mean of the visible ones.

        Shape (n_hidden, n_visible); None where two of the channels were never measured together.
        """
        used = np.r_[np.flatnonzero(hidden), np.flatnonzero(visible)]
        count = self.count[np.ix_(used, used)]
        if not (count > 0).all():
            return None
        products, n_hidden = self.total[np.ix_(used, used)] / count, int(hidden.sum())
        n_visible = len(used) - n_hidden
        reference = np.r_[np.zeros(n_hidden), np.full(n_visible, 1 / n_visible)]
        referenced = np.eye(len(used)) - reference[None]
        products = referenced @ products @ referenced.T
        own, across = products[n_hidden:, n_hidden:], products[:n_hidden, n_hidden:]
        penalty = SPATIAL_RIDGE * own.trace() / n_visible + np.finfo(np.float64).tiny
        return np.asarray(np.linalg.solve(own + penalty * np.eye(n_visible), across.T).T)


@dataclass
class Sums:
    """Sums of squared errors: the network's, that of skill 0 and that of skill 1."""

    model: float = 0.0
    nothing: float = 0.0
    best: float = 0.0

    def add(self, *, model: float, nothing: float, best: float) -> None:
        """Add errors."""
        self.model, self.nothing, self.best = self.model + model, self.nothing + nothing, self.best + best


@dataclass(kw_only=True)
class SkillMeter:
    """Adds windows of held-out people up."""

    model: PretrainModel
    filling: Filling
    seed: int
    sums: dict[str, dict[str, Sums]] = field(default_factory=lambda: {part: {} for part in PARTS})
    """Of each part, by person."""
    subjects: set[str] = field(default_factory=set)
    n_windows: int = 0

    def add_corpus(
        self,
        corpus: Corpus,
        normaliser: Normaliser,
        *,
        trained: Sequence[int],
        held_out: Sequence[int],
        max_windows: int,
        on_window: Callable[[], None] = lambda: None,
    ) -> None:
        """Measure at most `max_windows` held-out windows; ridges learn from as many of the trained people's."""
        self.model.eval()
        modality = corpus.manifest.modality
        of_people = _products(corpus, evenly(trained, max_windows), normaliser, on_window)
        chosen = evenly(held_out, max_windows)
        wanted = {corpus.entry(number).recording_id for number in chosen}
        of_recording = {
            name: _products(corpus, evenly(numbers, OF_RECORDING), normaliser, on_window)
            for name, numbers in _by_recording(corpus, held_out).items()
            if name in wanted
        }
        for batch in corpus.each(chosen, normaliser, on_window):
            window = _View.of(batch, modality)
            if np.count_nonzero(window.scored) < 2 * MIN_GROUP:
                continue
            self.subjects.add(subject := batch.entries[0].subject_id)
            self._add(window, of_people, of_recording[batch.entries[0].recording_id], subject)
            self.n_windows += 1

    def _add(self, window: "_View", of_people: Products, of_recording: Products, subject: str) -> None:
        if self.model.fills_gaps:
            self._add_gaps(window, subject)
        if self.model.fills_channels:
            self._add_channels(window, of_people, of_recording, subject)
        self._add_seconds(window, subject)

    def _add_gaps(self, window: "_View", subject: str) -> None:
        truth, mask = window.hidden(GAPS, (self.seed, 3, 0))
        start = fill_to_start(truth, mask, window.known, self.filling)
        own = window_fill(truth, mask, window.known)
        counted = mask & window.scored[:, None]
        model = _error(truth, self._reconstruct(window, truth, start, mask), counted)
        self.add("gaps", subject, model=model, nothing=_error(truth, own, counted))

    def _add_channels(self, window: "_View", of_people: Products, of_recording: Products, subject: str) -> None:
        truth, mask = window.hidden(CHANNELS, (self.seed, 3, 1))
        gone = mask.any(axis=1) & window.scored
        visible = window.scored & ~gone
        if not visible.any():
            return  # leads: none is seen where another is hidden
        ridges = [products.ridge(gone, visible) for products in (of_people, of_recording)]
        if any(one is None for one in ridges):
            return
        start = fill_to_start(truth, mask, window.known, self.filling)
        filled = self._reconstruct(window, truth, start, mask)
        model = float(((filled - truth)[gone] ** 2).sum())
        nothing, best = (float(((weights @ truth[visible] - truth[gone]) ** 2).sum()) for weights in ridges)
        self.add("channels", subject, model=model, nothing=nothing, best=best)

    def _add_seconds(self, window: "_View", subject: str) -> None:
        n_second = self.model.encoder.config.token_times
        n_seconds = window.x.shape[1] // n_second
        chosen = np.arange(1, n_seconds - 1, EVERY_S)
        if not len(chosen):
            return
        mask = np.zeros_like(window.x, dtype=bool)
        for second in chosen:
            mask[window.is_eeg & (window.known != ABSENT), second * n_second : (second + 1) * n_second] = True
        batch = window.batch(self.model, window.x, window.line(mask), mask)
        with torch.inference_mode():
            both = self.model.spectra(batch)
        if both is None:
            return
        predicted, spectra = (part[0].float().cpu().numpy()[window.scored] for part in both)
        between = (spectra[:, chosen - 1] + spectra[:, chosen + 1]) / 2
        model, nothing = (float(((one - spectra[:, chosen]) ** 2).sum()) for one in (predicted[:, chosen], between))
        self.add("seconds", subject, model=model, nothing=nothing)

    def _reconstruct(self, window: "_View", truth: np.ndarray, start: np.ndarray, mask: np.ndarray) -> np.ndarray:
        with torch.inference_mode():
            filled = self.model.reconstruct(window.batch(self.model, truth, start, mask))
        return np.asarray(filled[0].float().cpu().numpy())

    def add(self, part: str, subject: str, *, model: float, nothing: float, best: float = 0.0) -> None:
        """Add a person's squared errors: the network's, that of skill 0 and that of skill 1."""
        self.sums[part].setdefault(subject, Sums()).add(model=model, nothing=nothing, best=best)

    def skill(self) -> Skill:
        """Return what was measured so far."""
        each = {part: np.array([astuple(one) for one in people.values()]) for part, people in self.sums.items()}
        values = {part: float(_share(errors.reshape(-1, 3).sum(axis=0))) for part, errors in each.items()}
        found = {part: self._interval(errors) for part, errors in each.items() if len(errors) >= LEAST_PEOPLE}
        intervals = {part: both for part, both in found.items() if np.isfinite(both).all()}
        return Skill(**values, n_windows=self.n_windows, n_subjects=len(self.subjects), intervals=intervals)

    def _interval(self, errors: np.ndarray) -> tuple[float, float]:
        """Return the 95% interval of the skill over resampled people, of whom `errors` has a row each."""
        drawn = np.random.default_rng(self.seed).integers(len(errors), size=(N_BOOT, len(errors)))
        low, high = np.quantile(_share(errors[drawn].sum(axis=1)), [0.025, 0.975])
        return float(low), float(high)


@dataclass(frozen=True, kw_only=True)
class _View:
    """The first seconds of a window, and which of its channels count."""

    x: np.ndarray
    ch_state: np.ndarray
    is_eeg: np.ndarray
    key: int
    modality: Modality

    @classmethod
    def of(cls, batch: WindowBatch, modality: Modality) -> "_View":
        n_times = min(batch.x_BCT.shape[-1], round(MAX_S * modality.sfreq))
        is_eeg = np.array(modality.sensor_types) == modality.kind
        return cls(
            x=batch.x_BCT[0, :, :n_times], ch_state=batch.ch_state_BC[0], is_eeg=is_eeg,
            key=int(batch.entries[0].key, 16) >> 1, modality=modality,
        )  # fmt: skip

    @property
    def scored(self) -> np.ndarray:
        return (self.ch_state == MEASURED) & self.is_eeg

    @property
    def known(self) -> np.ndarray:
        return np.where(self.is_eeg, self.ch_state, ABSENT)

    def hidden(self, plan: MaskPlan, seed: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
        """Return the truth against the mean of what is never hidden, and what is hidden."""
        states = torch.from_numpy(self.ch_state)[None]
        eeg = Montage.of(self.modality, states).is_referenced_BC
        draws = Draws(seed, torch.tensor([self.key]))
        masks = draw_masks(draws, states, self.x.shape[1], sfreq=self.modality.sfreq, plan=plan, is_eeg_BC=eeg)
        truth, _ = hide(torch.from_numpy(self.x)[None], masks, states, is_eeg_BC=eeg)
        return truth[0].numpy(), masks[0].numpy()

    def line(self, mask: np.ndarray) -> np.ndarray:
        return fill_to_start(self.x, mask, self.known, "line")

    def batch(self, model: PretrainModel, truth: np.ndarray, filled: np.ndarray, mask: np.ndarray) -> dict[str, Tensor]:
        """Return a batch of this window for the model, on its device."""
        montage = Montage.of(self.modality, torch.from_numpy(self.ch_state)[None])
        arrays: Mapping[str, np.ndarray] = {"x_BCT": truth, "filled_BCT": filled, "mask_BCT": mask}
        tensors = {**montage.tensors(), **{name: torch.from_numpy(a.copy())[None] for name, a in arrays.items()}}
        device = next(model.parameters()).device
        return {name: tensor.to(device) for name, tensor in tensors.items()}


def _products(
    corpus: Corpus, numbers: Sequence[int], normaliser: Normaliser, on_window: Callable[[], None]
) -> Products:
    modality = corpus.manifest.modality
    products = Products.none(len(modality.ch_names))
    for batch in corpus.each(numbers, normaliser, on_window):
        window = _View.of(batch, modality)
        products.add(window.x, window.scored)
    return products


def _by_recording(corpus: Corpus, numbers: Sequence[int]) -> dict[str, list[int]]:
    found: dict[str, list[int]] = {}
    for number in numbers:
        found.setdefault(corpus.entry(number).recording_id, []).append(number)
    return found


def _error(truth: np.ndarray, estimate: np.ndarray, counted: np.ndarray) -> float:
    return float(((estimate - truth)[counted].astype(np.float64) ** 2).sum())


def _share(errors: np.ndarray) -> np.ndarray:
    """Return the share of the way from nothing to best of errors (model, nothing, best) along the last axis.

    nan where there is no way.
    """
    model, nothing, best = np.moveaxis(errors, -1, 0)
    way = nothing - best
    return np.where(way > 0, (nothing - model) / np.where(way > 0, way, 1), np.nan)
