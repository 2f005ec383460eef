"""Is a raised ST level in two leads found on the page? Methods and gates of the explanation room, on images.

The network sees a drawn page and nothing else. What is removed to see what it did to the answer is a stretch of a lead,
which on the page is a stretch of that lead's box; maps of pixels are read box by box and step by step. So the gates of
`studies.hearts.evidence` hold here too, and a hit is a hit on the two boxes that show the level.

Shapes: B batch, C channel, T sample, H height, W width.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from evaluation.measures.metrics import auroc
from explain.asking import occlusion, shapley
from explain.asking.ask import answers
from explain.explanation import STEP_S, Explanation, n_steps
from model.explaining import cams, gradients
from model.explaining.gradients import ask_of
from model.images.backbones import Classified, build
from signals.modality import ECG_12
from studies.hearts import evidence
from synthetic.heart.pages import COLUMNS, ROWS, coarse_pages
from synthetic.heart.stacks import SFREQ
from training.fitting.arrays import fit_arrays
from training.objectives.pictures import PictureClasses
from training.recipes.finetuning import FinetuneOptim, FinetuneRecipe

PIXELS = 128, 192
"""Height and width of a page: a box of 32 by 64 for each lead."""
LIMIT = 4.0
"""Largest value that is drawn, in units of the signal: 1 mV, so that 0.3 mV are five pixels."""
BOXES_BY_CHANCE = 2 / (ROWS * COLUMNS)
"""Share of the page that the two boxes are: how often a map without knowledge has its strongest box among them."""


@dataclass(frozen=True, kw_only=True)
class Amounts(evidence.Amounts):
    """How much is drawn and trained; the network is a residual one of basic blocks."""

    people: int = 320
    steps: int = 200
    widths: tuple[int, ...] = (12, 16, 24, 32)


SMALL = Amounts(people=12, steps=2, batch=8, cases=2, widths=(8, 8, 8, 8))


class OnPaper(nn.Module):
    """A network of pages, called with leads: they are drawn, and what it answers is of the page."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x_BCT: Tensor) -> Tensor:
        """Return logits of leads in units of the signal; there is no gradient to leads, the page is drawn anew."""
        logits_BK: Tensor = self.network(drawn(x_BCT.detach().numpy()))
        return logits_BK


def drawn(x: np.ndarray) -> Tensor:
    """Return pages of leads (n, 12, n_times), float32, shape (n, 3, H, W)."""
    return torch.from_numpy(coarse_pages(x, pixels=PIXELS, limit=LIMIT))


def train(amounts: Amounts, *, seed: int) -> tuple[OnPaper, float]:
    """Return a classifier of pages with a raised level against none, and its AUROC on people whom it did not see."""
    x, label = evidence.labelled(amounts.people, seed=[seed, 1])
    torch.manual_seed(seed)
    network = build("resnet", n_classes=2, widths=amounts.widths, depths=(1, 1, 1, 1))
    recipe = FinetuneRecipe(
        seed=seed, optim=FinetuneOptim(batch=amounts.batch, micro_batch=amounts.batch, learning_rate=4e-3)
    )  # fmt: skip
    arrays = {"image_BCHW": drawn(x), "class_B": torch.from_numpy(label)}
    fit_arrays(PictureClasses(network), arrays, recipe, n_steps=amounts.steps, label="page evidence")
    reader = OnPaper(network.eval())
    x, label = evidence.labelled(max(4, amounts.people // 4), seed=[seed, 2])
    logits = answers(ask_of(reader), x)
    return reader, float(auroc(logits[:, 1] - logits[:, 0], label == 1))


def methods() -> Mapping[str, evidence.Explain]:
    """Return the methods that are measured, by name; the last two are maps of pixels."""
    by_parts = {name: evidence.methods()[name] for name in (occlusion.METHOD, shapley.METHOD)}
    return {**by_parts, gradients.IG: _gradients, cams.GRAD_CAM: _activation}


def _gradients(reader: nn.Module, x: np.ndarray, backgrounds: np.ndarray) -> Explanation:
    network, (page, *others) = _network(reader), drawn(np.stack([x, *backgrounds])).numpy()
    each = [(page - other) * gradients.mean_gradient(network, page, other, 1) for other in others]
    return on_leads(gradients.IG, np.mean(each, axis=0).sum(axis=0), x.shape[1])


def _activation(reader: nn.Module, x: np.ndarray, backgrounds: np.ndarray) -> Explanation:
    network, page = _network(reader), drawn(x[None]).numpy()[0]
    return on_leads(cams.GRAD_CAM, cams.class_activation(network, network.backbone, page, 1), x.shape[1])


def _network(reader: nn.Module) -> Classified:
    assert isinstance(reader, OnPaper)
    assert isinstance(reader.network, Classified)
    return reader.network


def on_leads(method: str, places: np.ndarray, n_times: int) -> Explanation:
    """Return a map of a page's places, any shape (h, w), as evidence by lead and step: sums over each box's stretches.

    A place that is larger than a step or a box is shared out evenly.
    """
    steps = n_steps(n_times, SFREQ)
    ends = np.arange(steps + 1) * STEP_S / (n_times / SFREQ)
    columns = np.concatenate([(of + np.minimum(ends, 1.0)[:-1]) / COLUMNS for of in range(COLUMNS)] + [[1.0]])
    cells = _share(np.linspace(0, 1, ROWS + 1), places.shape[0]) @ places @ _share(columns, places.shape[1]).T
    values = cells.reshape(ROWS, COLUMNS, steps).reshape(ROWS * COLUMNS, steps, 1).astype(np.float64)
    return Explanation(method=method, target=1, values=values, score=0.0, base=0.0, sums=False)


def _share(edges: np.ndarray, n: int) -> np.ndarray:
    """Return the share of each of n even places between neighbouring edges of 0 to 1, shape (n_edges - 1, n)."""
    starts, stops = np.arange(n) / n, np.arange(1, n + 1) / n
    inside = np.minimum(stops, edges[1:, None]) - np.maximum(starts, edges[:-1, None])
    return np.asarray(np.clip(inside, 0, None) * n)


def measure(reader: OnPaper, amounts: Amounts, *, seed: int) -> Mapping[str, evidence.Figures]:
    """Return each method's figures on new people's pages, as `studies.hearts.evidence.measure`."""
    assert ECG_12.n_chans == ROWS * COLUMNS
    return evidence.measure(reader, amounts, seed=seed, ways=methods())
