"""A look at held-out windows' latents while training: do they still differ, and how much of that is predicted?

A teacher may fall into giving every window the same latents, which are easily predicted: then the loss is small, and
nothing is learnt. So what is watched is how much latents of one channel differ between windows and seconds.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import torch

from model.pretraining.pretraining import PretrainModel
from model.pretraining.token_masks import BlockPlan
from signals.files import atomic_file
from training.objectives.validation import Look
from training.parallel.distributed import Processes

LEAST_VARIANCE = 0.05
"""Of latents that have not collapsed."""
LATENTS_FILE = "latents.json"


def validate_latents(
    model: PretrainModel, looks: Sequence[Look], plan: BlockPlan, processes: Processes, *, batch: int = 8
) -> dict[str, float]:
    """Return "latent_variance" and "valid_latent_error" of windows of which whole tokens are hidden.

    latent_variance: of the latents of a channel's hidden tokens about their mean, over windows and seconds; mean over
    channels, which weigh by their tokens, and the width. Tokens are standardised, so that it is at most 1: below
    `LEAST_VARIANCE` latents have collapsed. valid_latent_error: the squared error of their prediction over that
    variance; 1 is what the mean of each channel would have. Student and teacher are of the same, averaged weights here.
    Nothing of a model that predicts no latents.
    """
    if "latents" not in model.heads:
        return {}
    model.eval()
    error = torch.zeros(2, dtype=torch.float64, device=processes.device)
    sums = [_Sums(look.source.corpus.manifest.modality.n_chans, model, processes) for look in looks]
    work = [(place, micro) for place, look in enumerate(looks) for micro in look.micro_batches(batch)]
    for place, micro in work[processes.rank :: processes.world_size]:
        look = looks[place]
        raw = {name: tensor.to(processes.device) for name, tensor in look.source.raw(micro).items()}
        if not len(raw["x_BCT"]):  # none could be read
            continue
        made = replace(look.preparation, blocks=plan)(raw)
        with torch.inference_mode():
            head = model.heads["latents"]
            truth_BCND = model.latents(made)
            made = {**made, "true_latents_BCND": truth_BCND}
            error += torch.stack([head.total(head(model.encode(made), made), made), head.count(made)]).double()
            sums[place].add(truth_BCND, head.hidden(made))
    total, n = processes.sum(error).tolist()
    spread, weight = (sum(parts) for parts in zip(*(each.variance(processes) for each in sums), strict=True))
    variance = spread / weight if weight else float("nan")
    return {
        "latent_variance": variance,
        "valid_latent_error": total / n / variance if n and variance > 0 else float("nan"),
    }


def have_collapsed(values: Mapping[str, float]) -> bool:
    """Return whether a look found latents that hardly differ."""
    return "latent_variance" in values and not values["latent_variance"] >= LEAST_VARIANCE


def describe(values: Mapping[str, float]) -> str:
    """Return a look as one line."""
    variance, error = values["latent_variance"], values["valid_latent_error"]
    if have_collapsed(values):
        return f"the latents have collapsed: their variance over held-out windows is {variance:.4f} of 1"
    return f"latents of held-out windows: variance {variance:.3f} of 1, of which {error:.3f} is not predicted"


def write_latents(folder: Path, values: Mapping[str, float]) -> None:
    """Write a look into a folder."""
    with atomic_file(folder / LATENTS_FILE) as file:
        file.write((json.dumps(dict(values), indent=1) + "\n").encode())


def read_latents(folder: Path) -> dict[str, float]:
    """Return the look that a folder holds; nothing where its run predicted no latents."""
    path = folder / LATENTS_FILE
    values: dict[str, float] = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    return values


class _Sums:
    """Latents of the tokens that count, by channel of one corpus."""

    def __init__(self, n_chans: int, model: PretrainModel, processes: Processes) -> None:
        width = model.encoder.config.dim
        self._sums_C = torch.zeros((n_chans, 2 * width + 1), dtype=torch.float64, device=processes.device)

    def add(self, latents_BCND: torch.Tensor, counted_BCN: torch.Tensor) -> None:
        """Count tokens."""
        kept_BCND = latents_BCND.double() * counted_BCN[..., None]
        parts = [kept_BCND.sum((0, 2)), (kept_BCND * latents_BCND).sum((0, 2)), counted_BCN.sum((0, 2))[:, None]]
        self._sums_C += torch.cat([part.double() for part in parts], 1)

    def variance(self, processes: Processes) -> tuple[float, float]:
        """Return the channels' variances, added up by their numbers of tokens, and that number; of all processes."""
        sums_C = processes.sum(self._sums_C)
        n_C1, width = sums_C[:, -1:], (sums_C.shape[1] - 1) // 2
        mean_CD = sums_C[:, :width] / n_C1.clamp(min=1)
        around_C = (sums_C[:, width:-1] - n_C1 * mean_CD.square()).mean(1)
        return around_C.sum().item(), n_C1.sum().item()
