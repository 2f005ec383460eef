"""Descriptions of hidden stretches: how they are standardised, what needs no network, a look at held-out windows.

A stretch of 14 s is hidden on all channels of a window (`model.pretraining.token_masks.described_start`); its truth is
described as a report would (`stretches.describing`), and the network predicts that from the rest of the window. The
rest has a description of its own, the mean of its two sides: a line from it, feature by feature, is what it has to
beat.

Shapes: B batch, F feature.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from model.pretraining.knowledge_head import KnowledgeHead
from model.pretraining.pretraining import PretrainModel
from model.pretraining.token_masks import BlockPlan
from training.objectives.preparation import Preparation
from training.objectives.validation import Look
from training.parallel.distributed import Processes

FIT_WINDOWS = 256
"""Windows of people to train on that mean and spread of features come from."""


def fit_knowledge(model: PretrainModel, looks: Sequence[Look], plan: BlockPlan) -> None:
    """Set what the head standardises descriptions with, from windows of people to train on; other models stay.

    Raises ValueError where fewer than `LEAST_WINDOWS` can be described.
    """
    head = _head(model)
    if head is None:
        return
    parts = [part for look in looks for part in _descriptions(look, plan)]
    if not parts:
        raise ValueError(head.too_few(0))
    described_BF, rest_BF = (torch.cat(both) for both in zip(*parts, strict=True))
    known_B = (described_BF.isfinite() & rest_BF.isfinite()).all(1)
    head.fit(described_BF[known_B], rest_BF[known_B])


def knowledge_errors(
    model: PretrainModel, looks: Sequence[Look], plan: BlockPlan | None, processes: Processes, *, batch: int = 8
) -> dict[str, np.ndarray]:
    """Return by subject the sums of squared errors of standardised features, of windows that all lose a stretch.

    Shape (3,), float64: the model's; of a line from the same feature of the rest of the window; of the training
    windows' mean. Subjects without a window that can be described are left out; nothing of a model that describes none.
    The processes share the windows out.
    """
    head = _head(model)
    if head is None or plan is None:
        return {}
    model.eval()
    people = sorted({look.source.corpus.entry(number).subject_id for look in looks for number in look.windows})
    place = {subject: row for row, subject in enumerate(people)}
    sums = torch.zeros(len(people), 3, dtype=torch.float64, device=processes.device)
    work = [(look, micro) for look in looks for micro in look.micro_batches(batch)]
    for look, micro in work[processes.rank :: processes.world_size]:
        raw = {name: tensor.to(processes.device) for name, tensor in look.source.raw(micro).items()}
        if not len(raw["x_BCT"]):  # none could be read
            continue
        made = _all_described(look, plan)(raw)
        described, known_B = look.preparation.describing, head.counted(made)
        assert described is not None
        rest_BF = described.rests(raw["x_BCT"], raw["ch_state_BC"], made["stretch_B"])
        with torch.inference_mode():
            true_BF = head.standard(made["description_BF"])
            guesses = (head(model.encode(made), made)["standard_BF"].float(), head.from_rest(rest_BF), 0 * true_BF)
            errors = torch.stack([(guess - true_BF).square().mean(1) for guess in guesses], 1)[known_B].double()
        window_of = dict(zip(micro.samples, micro.windows, strict=True))
        entries = [look.source.corpus.entry(window_of[sample]) for sample in raw["sample_B"].tolist()]
        rows = torch.tensor([place[entry.subject_id] for entry in entries], device=sums.device)
        sums.index_add_(0, rows[known_B], errors)
    found = processes.sum(sums).cpu().numpy()
    return {subject: found[row] for subject, row in place.items() if found[row].any()}


def validate_knowledge(
    model: PretrainModel, looks: Sequence[Look], plan: BlockPlan | None, processes: Processes
) -> dict[str, float]:
    """Return "valid_knowledge_error" and "valid_knowledge_rest" of `knowledge_errors`, over the third of them.

    1 is what the training windows' mean has. nan where no window can be described; nothing of a model that describes
    none.
    """
    if _head(model) is None or plan is None:
        return {}
    model_error, rest_error, own = sum(knowledge_errors(model, looks, plan, processes).values(), np.zeros(3)).tolist()
    named = {"valid_knowledge_error": model_error, "valid_knowledge_rest": rest_error}
    return {name: error / own if own else float("nan") for name, error in named.items()}


def _head(model: PretrainModel) -> KnowledgeHead | None:
    return next((head for head in model.heads.values() if isinstance(head, KnowledgeHead)), None)


def _all_described(look: Look, plan: BlockPlan) -> Preparation:
    return replace(look.preparation, blocks=replace(plan, described_chance=1.0, gaps_share=0.0))


def _descriptions(look: Look, plan: BlockPlan) -> list[tuple[Tensor, Tensor]]:
    """Return the descriptions of stretches and of rests of a look's windows, (n, F) each, by micro-batch."""
    found, describing = [], look.preparation.describing
    assert describing is not None
    for micro in look.micro_batches(8):
        raw = look.source.raw(micro)
        if len(raw["x_BCT"]):
            made = _all_described(look, plan)(raw)
            rest_BF = describing.rests(raw["x_BCT"], raw["ch_state_BC"], made["stretch_B"])
            found.append((made["description_BF"], rest_BF))
    return found
