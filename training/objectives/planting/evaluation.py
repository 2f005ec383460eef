"""What was learnt of planted truth, on segments of families that no pattern of the bank comes from.

Each measure stands beside the best predictor that knows nothing (`training.objectives.planting.measures`).

Shapes: S segment, C channel, T sample, N second, K class.
"""

import json
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from model.montage import Montage
from model.pretraining.masking import MaskPlan
from model.pretraining.truth_heads import COURSE, COURSE_UNITS
from signals.files import atomic_file
from signals.modality import EEG_1020
from signals.patterns.bank import Bank, HeldOut
from signals.shards.normalise import Normaliser
from signals.tasks import SIX_CLASS
from signals.window import MEASURED
from training.objectives.planting.measures import ERRORS, Answers, Measure, measures_of
from training.objectives.planting.planted_bank import PlantedBank
from training.objectives.preparation import Preparation

TRUTH_FILE, PREDICTIONS_FILE = "truth.json", "truth_predictions.npz"
ALL = "all families"
N_BOOT = 200


@dataclass(frozen=True, kw_only=True)
class Score:
    """One measure on the segments of one family, or of all; nan for what is not defined."""

    measure: str
    family: str
    value: float
    low: float
    high: float
    """95% interval over resampled segments (percentiles)."""
    trivial: float
    """The same of what knows nothing."""
    n_segments: int

    @property
    def is_learnt(self) -> bool:
        """Whether the whole interval is better than what knows nothing."""
        return self.high < self.trivial if self.measure in ERRORS else self.low > self.trivial

    def __str__(self) -> str:
        """Return the score as one line."""
        return (
            f"{self.measure:<24} {self.family:<18} {self.value:.3f} [{self.low:.3f}, {self.high:.3f}]  "
            f"trivial {self.trivial:.3f}  ({self.n_segments} segments)"
        )


def score_truth(
    folder: Path,
    model: Any,
    bank: PlantedBank,
    normaliser: Normaliser,
    crop_s: float,
    *,
    on_batch: Callable[[], None] = lambda: None,
) -> str:
    """Write truth.json into a folder, what a model learnt of planted truth, and return it as lines.

    Its predictions lie in truth_predictions.npz, so that two models can be compared segment by segment.
    """
    found = answers(model, bank.held_out, normaliser, crop_s=crop_s, on_batch=on_batch)
    scores = scores_of(found, bank.held_out, bank.bank)
    write_answers(folder, found)
    write_scores(folder, scores, bank_digest=bank.digest, crop_s=crop_s)
    return "\n".join(map(str, scores))


def write_scores(folder: Path, scores: Sequence[Score], **about: Any) -> None:
    """Write truth.json into a folder, null for what is not defined."""
    rows = [{k: None if isinstance(v, float) and np.isnan(v) else v for k, v in asdict(s).items()} for s in scores]
    with atomic_file(folder / TRUTH_FILE) as file:
        file.write((json.dumps({**about, "scores": rows}, indent=1) + "\n").encode())


def read_scores(folder: Path) -> list[Score]:
    """Read truth.json; no scores without one. Raises ValueError for one that is not whole."""
    path = folder / TRUTH_FILE
    if not path.is_file():
        return []
    try:
        rows: list[dict[str, Any]] = json.loads(path.read_text(encoding="utf-8"))["scores"]
        return [Score(**row | {k: float("nan") for k, v in row.items() if v is None}) for row in rows]
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{path} is no file of planted truth: {error}") from None


def write_answers(folder: Path, found: Answers) -> None:
    """Write truth_predictions.npz into a folder, whole or not at all."""
    with atomic_file(folder / PREDICTIONS_FILE) as file:
        np.savez(file, **asdict(found))


def read_answers(folder: Path) -> Answers:
    """Read truth_predictions.npz; raises FileNotFoundError without one, ValueError for one that is not whole."""
    path = folder / PREDICTIONS_FILE
    try:
        with np.load(path, allow_pickle=False) as file:
            return Answers(**{name: file[name] for name in file.files})
    except (EOFError, TypeError, ValueError, zipfile.BadZipFile) as error:
        raise ValueError(f"{path} holds no predictions of planted truth: {error}") from None


@torch.no_grad()
def answers(
    model: Any,
    held_out: HeldOut,
    normaliser: Normaliser,
    *,
    crop_s: float,
    batch: int = 8,
    on_batch: Callable[[], None] = lambda: None,
) -> Answers:
    """Return what a model predicts of the middle `crop_s` of each segment, or of all of a shorter one.

    model: `predict(batch)` gives the results of its heads. The scale is that of windows of unknown subjects.
    """
    model.eval()
    device = next(model.parameters()).device
    sfreq, total = held_out.sfreq, held_out.data_SCT.shape[-1]
    n_times = min(total, round(crop_s * sfreq))
    start, n_seconds = (total - n_times) // 2, int(n_times / sfreq)
    found: dict[str, list[np.ndarray]] = {"discharge": [], "rate": [], "share": [], "line": [], "peak": []}
    for first in range(0, len(held_out), batch):
        on_batch()
        rows = slice(first, first + batch)
        x = held_out.data_SCT[rows, :, start : start + n_times] * held_out.step_S[rows, None, None]
        made = _prepared(x.astype(np.float32), normaliser, sfreq, first)
        results = model.predict({name: value.to(device) for name, value in made.items()})
        found["discharge"].append(_by_second(results.get("discharge_logits_BCS"), len(x), n_seconds, n_times / sfreq))
        found["rate"].append(_rates(results.get("course_values_BV"), len(x)))
        found["share"].append(_shares(results.get("votes_logits_BK"), len(x)))
        seconds = x[..., : round(n_seconds * sfreq)].reshape(*x.shape[:2], n_seconds, -1)
        found["line"].append(np.abs(np.diff(seconds, axis=-1)).sum(-1).max(1))
        found["peak"].append(np.ptp(seconds, axis=-1).max(1))
    joined = {name: np.concatenate(parts) for name, parts in found.items()}
    return Answers(
        discharge_SN=joined["discharge"], is_discharge_SN=_discharges(held_out, start / sfreq, n_seconds),
        line_length_SN=joined["line"], peak_SN=joined["peak"], rate_S=joined["rate"], share_SK=joined["share"],
    )  # fmt: skip


def _prepared(x: np.ndarray, normaliser: Normaliser, sfreq: float, first: int) -> dict[str, Tensor]:
    """Return raw windows as the model reads them: nothing hidden, nothing planted."""
    state = np.full(x.shape[:2], MEASURED, dtype=np.int64)
    scales = [normaliser.scales_of(one, states, "", "") for one, states in zip(x, state, strict=True)]
    raw = {
        "x_BCT": torch.from_numpy(x),
        "inverse_scale_BC": torch.from_numpy((1.0 / np.stack(scales)).astype(np.float32)),
        "sample_B": torch.arange(first, first + len(x)),
        **Montage.of(EEG_1020, torch.from_numpy(state)).tensors(),
    }
    return Preparation(sfreq=sfreq, masks=MaskPlan(), seed=(0,), hides=False)(raw)


def _by_second(logits_BCS: Tensor | None, n: int, n_seconds: int, length_s: float) -> np.ndarray:
    if logits_BCS is None:
        return np.full((n, n_seconds), np.nan)
    slots = round(logits_BCS.shape[-1] / -(-length_s // 1))
    return logits_BCS[..., : n_seconds * slots].unflatten(-1, (n_seconds, slots)).amax((1, 3)).float().cpu().numpy()


def _rates(values_BV: Tensor | None, n: int) -> np.ndarray:
    place = COURSE.index("rate")
    return np.full(n, np.nan) if values_BV is None else values_BV[:, place].float().cpu().numpy() * COURSE_UNITS[place]


def _shares(logits_BK: Tensor | None, n: int) -> np.ndarray:
    if logits_BK is None:
        return np.full((n, len(SIX_CLASS.classes)), np.nan)
    return logits_BK.float().softmax(-1).cpu().numpy()


def _discharges(held_out: HeldOut, start_s: float, n_seconds: int) -> np.ndarray:
    """Return in which seconds discharges peak, 1 or 0, nan where they are not known, shape (S, N)."""
    out = np.zeros((len(held_out), n_seconds))
    for number in range(len(held_out)):
        place = np.floor(held_out.onsets(number) - start_s).astype(int)
        out[number, place[(place >= 0) & (place < n_seconds)]] = 1
    out[held_out.train_S < 0] = np.nan
    return out


def scores_of(found: Answers, held_out: HeldOut, bank: Bank) -> list[Score]:
    """Return every measure over all families and family by family."""
    measures = measures_of(found, held_out, bank)
    families = [ALL, *dict.fromkeys(held_out.family_S.tolist())]
    rows = {f: np.flatnonzero((held_out.family_S == f) | (f == ALL)) for f in families}
    return [
        _score(measure, found, family, numbers[measure.counts_S[numbers]])
        for family, numbers in rows.items()
        for measure in measures
    ]


def _score(measure: Measure, found: Answers, family: str, rows: np.ndarray) -> Score:
    rng = np.random.default_rng(0)
    drawn = [measure.of(found, rng.choice(rows, len(rows))) for _ in range(N_BOOT)] if len(rows) > 1 else [np.nan]
    low, high = interval(np.array(drawn))
    return Score(
        measure=measure.name, family=family, value=measure.of(found, rows), low=low, high=high,
        trivial=measure.trivial(rows), n_segments=len(rows),
    )  # fmt: skip


def interval(drawn: np.ndarray) -> tuple[float, float]:
    """Return the 95% interval of resampled values (percentiles), nan where none is defined."""
    known = drawn[np.isfinite(drawn)]
    low, high = np.percentile(known, [2.5, 97.5]) if known.size else (np.nan, np.nan)
    return float(low), float(high)
