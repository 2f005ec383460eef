"""What was learnt of planted truth, on segments of families that no pattern of the bank comes from.

Each measure stands beside the best predictor that knows nothing: for discharges the line length or the largest
deflection of the second, whichever is better; for rates and votes one answer for all, taken from the bank.

Shapes: S segment, C channel, T sample, N second, K class.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from evaluation.measures.metrics import auroc
from model.montage import Montage
from model.pretraining.masking import MaskPlan
from model.pretraining.truth_heads import COURSE, COURSE_UNITS
from signals.files import atomic_file
from signals.modality import EEG_1020
from signals.patterns.bank import Bank, HeldOut
from signals.shards.normalise import Normaliser
from signals.tasks import SIX_CLASS
from signals.window import MEASURED
from training.objectives.planting.planted_bank import PlantedBank
from training.objectives.preparation import Preparation

TRUTH_FILE = "truth.json"
ALL = "all families"
ERRORS = frozenset({"rate_error_octaves", "votes_kl"})
"""Measures of which less is better."""
STEADY = ("LPD", "GPD", "LRDA", "GRDA")
"""Classes whose rate is scored: seizures change theirs."""
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


@dataclass(frozen=True, kw_only=True)
class Answers:
    """What a model predicts of held-out segments, beside the truth; nan where a head is missing."""

    discharge_SN: np.ndarray
    """Log odds of a discharge in each second, the largest over channels and slots."""
    is_discharge_SN: np.ndarray
    """1 and 0, nan where discharges are not known."""
    line_length_SN: np.ndarray
    peak_SN: np.ndarray
    rate_S: np.ndarray
    """log2 Hz."""
    share_SK: np.ndarray
    """Shares of experts."""


def score_truth(
    folder: Path,
    model: Any,
    bank: PlantedBank,
    normaliser: Normaliser,
    crop_s: float,
    *,
    on_batch: Callable[[], None] = lambda: None,
) -> str:
    """Write truth.json into a folder, what a model learnt of planted truth, and return it as lines."""
    found = answers(model, bank.held_out, normaliser, crop_s=crop_s, on_batch=on_batch)
    scores = scores_of(found, bank.held_out, bank.bank)
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
    families = [ALL, *dict.fromkeys(held_out.family_S.tolist())]
    rows = {f: np.flatnonzero((held_out.family_S == f) | (f == ALL)) for f in families}
    return [
        score
        for family, numbers in rows.items()
        for score in (
            *_discharge_scores(found, family, numbers),
            *_rate_scores(found, held_out, bank, family, numbers),
            *_vote_scores(found, held_out, bank, family, numbers),
        )
    ]


def _score(
    measure: str, family: str, rows: np.ndarray, value: Callable[[np.ndarray], float], trivial: float
) -> Score:  # fmt: skip
    rng = np.random.default_rng(0)
    drawn = [value(rng.choice(rows, len(rows))) for _ in range(N_BOOT)] if len(rows) > 1 else [np.nan]
    known = np.array([v for v in drawn if np.isfinite(v)])
    low, high = np.percentile(known, [2.5, 97.5]) if known.size else (np.nan, np.nan)
    return Score(
        measure=measure, family=family, value=value(rows), low=float(low), high=float(high), trivial=trivial,
        n_segments=len(rows),
    )  # fmt: skip


def area_of(truth: np.ndarray, score: np.ndarray) -> float:
    """Return the area under the ROC curve where both are known, nan where one class or any score is missing."""
    known = np.isfinite(truth) & np.isfinite(score)
    return float(auroc(score[known], truth[known] > 0))


def _discharge_scores(found: Answers, family: str, rows: np.ndarray) -> list[Score]:
    rows = rows[np.isfinite(found.is_discharge_SN[rows]).all(1)]

    def of(score_SN: np.ndarray, chosen: np.ndarray) -> float:
        return area_of(found.is_discharge_SN[chosen].ravel(), score_SN[chosen].ravel())

    trivial = max(of(score, rows) for score in (found.line_length_SN, found.peak_SN))
    return [_score("discharge_auroc", family, rows, lambda chosen: of(found.discharge_SN, chosen), trivial)]


def _rate_scores(found: Answers, held_out: HeldOut, bank: Bank, family: str, rows: np.ndarray) -> list[Score]:
    steady = [SIX_CLASS.classes.index(name) for name in STEADY]
    truth_S = np.log2(held_out.rate_S2).mean(1)
    rows = rows[np.isin(held_out.class_S[rows], steady) & np.isfinite(truth_S[rows])]
    usual = np.median(np.log2(bank.rate_E2[np.isin(bank.class_E, steady)]).mean(1))

    def error(rate_S: np.ndarray, chosen: np.ndarray) -> float:
        return float(np.median(np.abs(rate_S[chosen] - truth_S[chosen]))) if len(chosen) else float("nan")

    trivial = error(np.full_like(found.rate_S, usual), rows)
    return [_score("rate_error_octaves", family, rows, lambda chosen: error(found.rate_S, chosen), trivial)]


def _vote_scores(found: Answers, held_out: HeldOut, bank: Bank, family: str, rows: np.ndarray) -> list[Score]:
    share_SK = held_out.votes_SK / held_out.votes_SK.sum(1, keepdims=True)
    low, more = bank.sure[:2]
    sure = low + more / 2
    own_EK = np.eye(share_SK.shape[1])[bank.class_E]
    usual_SK = np.tile((sure * own_EK + (1 - sure) * bank.doubt_EK).mean(0), (len(share_SK), 1))

    def kl(guess_SK: np.ndarray, chosen: np.ndarray) -> float:
        truth, guess = share_SK[chosen], np.clip(guess_SK[chosen], 1e-7, 1)
        return float((truth * (np.log(np.maximum(truth, 1e-12)) - np.log(guess))).sum(1).mean())

    def balanced(guess_SK: np.ndarray, chosen: np.ndarray) -> float:
        if not np.isfinite(guess_SK[chosen]).all():
            return float("nan")
        truth, best = held_out.class_S[chosen], guess_SK[chosen].argmax(1)
        return float(np.mean([(best[truth == k] == k).mean() for k in np.unique(truth)]))

    return [
        _score("votes_kl", family, rows, lambda chosen: kl(found.share_SK, chosen), kl(usual_SK, rows)),
        _score(
            "balanced_accuracy", family, rows, lambda chosen: balanced(found.share_SK, chosen), balanced(usual_SK, rows)
        ),
    ]
