"""Stretches of one recording against those of others: the teacher's keys of a whole step, shared by all processes.

Before a step is taken, each process lets the teacher make keys of the partners of its windows
(`training.corpus.partners`), and all gather them. Every window of the step then meets every key of it, whatever
micro-batch and process it is in: any split of a batch gives the same step, and nothing is kept from one step to the
next. Keys of the same subject are no negatives: only the partner's is wanted, the rest are left out.

Window and partner are two views. The window is what the student sees of it: masked, and against what is visible. The
partner is whole, some of its channels are dropped, and it may be against another reference.

Shapes: B batch, K key of the step, D width of a key.
"""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from model.pretraining.pretraining import PretrainModel
from model.pretraining.recording_head import RECORDING_CONTRAST
from model.pretraining.token_masks import BlockPlan
from training.corpus.steps import Batch, StepBatches
from training.objectives.preparation import Preparation
from training.objectives.validation import Look
from training.parallel.distributed import Processes


@dataclass(frozen=True, kw_only=True)
class Keys:
    """The keys of a step; the same on every process, in the order of processes."""

    key_KD: Tensor
    pair_K: Tensor
    """What a key has in common with its window alone."""
    subject_K: Tensor

    def candidates(self, subject_B: Tensor) -> Tensor:
        """Return which keys are of others than these subjects, bool, (B, K)."""
        return subject_B[:, None] != self.subject_K

    def offered_to(self, batch: Batch) -> dict[str, Tensor]:
        """Return a micro-batch with what `RecordingHead` finds its keys among; a row per window, so that it can be cut.

        "key_BKD" takes no memory of its own.
        """
        own_BK = batch["pair_B"][:, None] == self.pair_K
        candidate_BK = self.candidates(batch["subject_B"]) | own_BK
        key_BKD = self.key_KD.expand(len(own_BK), -1, -1)
        return {**batch, "key_BKD": key_BKD, "own_BK": own_BK, "candidate_BK": candidate_BK}

    def measures(self) -> dict[str, float]:
        """Return "recording_keys", how many keys have another's to be told from, and "recording_chance".

        That is the mean of ln(number of candidates): the loss of a model that cannot tell them apart. It is left out
        where there are none.
        """
        n_others_K = self.candidates(self.subject_K).sum(1)
        counted_K = n_others_K > 0
        values = {"recording_keys": float(counted_K.sum())}
        if counted_K.any():
            values["recording_chance"] = (n_others_K[counted_K] + 1).double().log().mean().item()
        return values


def key_view(preparation: Preparation) -> Preparation:
    """Return how partners are prepared: whole, some channels dropped, against all the others' mean or a part's."""
    return replace(
        preparation,
        seed=(*preparation.seed, 1),
        blocks=None,
        hides=False,
        planting=None,
        filling="line",
        drop_channels=0.2,
        part_reference=0.5,
    )


def without_keys(batch: Batch, width: int) -> dict[str, Tensor]:
    """Return a micro-batch that meets no key, of which nothing counts for recordings."""
    n, like = len(batch["x_BCT"]), batch["x_BCT"]
    nothing_BK = torch.zeros((n, 0), dtype=torch.bool, device=like.device)
    keys = torch.zeros((n, 0, width), device=like.device)
    return {**batch, "key_BKD": keys, "own_BK": nothing_BK, "candidate_BK": nothing_BK}


def with_keys(
    step: StepBatches,
    model: PretrainModel,
    processes: Processes,
    *,
    within: Callable[[], AbstractContextManager[object]] = nullcontext,
) -> StepBatches:
    """Return a step whose micro-batches meet the keys of all processes' partners; all processes call it alike.

    within: the numbers that the teacher computes in (`training.trainer.precision.autocast`).
    """
    partners: Sequence[Batch] = [] if step.partners is None else step.partners.micro_batches
    device = processes.device
    found = [torch.zeros((0, model.key_width), device=device)]
    for batch in partners:
        with within():
            found.append(model.keys(batch).float())
    ids = [torch.stack([batch["pair_B"], batch["subject_B"]], 1) for batch in partners]
    id_K2 = processes.gather(torch.cat([torch.zeros((0, 2), dtype=torch.int64, device=device), *ids]))
    keys = Keys(key_KD=processes.gather(torch.cat(found)), pair_K=id_K2[:, 0], subject_K=id_K2[:, 1])
    offered = [keys.offered_to(batch) for batch in step.micro_batches]
    return replace(step, micro_batches=offered, partners=None, measures={**step.measures, **keys.measures()})


def validate_recordings(
    model: PretrainModel, looks: Sequence[Look], plan: BlockPlan | None, processes: Processes, *, batch: int = 8
) -> dict[str, float]:
    """Return "valid_recording_contrast", "valid_recording_top1", "valid_recording_chance" of held-out windows.

    The loss, the share of windows whose own key is the nearest, and ln(number of candidates), as in `Keys.measures`;
    all windows that are looked at meet each other. nan where none has a partner and another's key. Nothing of a model
    that does not contrast recordings.
    """
    if not model.key_width:
        return {}
    model.eval()
    work = [(place, micro) for place, look in enumerate(looks) for micro in look.micro_batches(batch)]
    windows: list[Batch] = []
    partners: list[Batch] = []
    for place, micro in work[processes.rank :: processes.world_size]:
        look = looks[place]
        assert look.partners is not None
        drawn = look.partners.of(micro)
        plain = replace(look.preparation, blocks=plan)
        for kept, one, prepare in ((windows, micro, plain), (partners, drawn, key_view(plain))):
            raw = look.partners.identified(look.source.raw(one), one, source=place, n_sources=len(looks))
            if len(raw["x_BCT"]):
                kept.append(prepare({name: tensor.to(processes.device) for name, tensor in raw.items()}))
    step = StepBatches(
        micro_batches=windows, eeg_hours=0.0, partners=StepBatches(micro_batches=partners, eeg_hours=0.0)
    )
    sums = torch.zeros(3, dtype=torch.float64, device=processes.device)
    with torch.inference_mode():
        step = with_keys(step, model, processes)
        head = model.heads[RECORDING_CONTRAST]
        for made in step.micro_batches:
            results = head(model.encode(made), made)
            parts = (head.total(results, made), head.measured(results, made)["recording_top1"], head.count(made))
            sums += torch.stack([part.double() for part in parts])
    loss, right, n = processes.sum(sums).tolist()
    nothing = float("nan")
    return {
        "valid_recording_contrast": loss / n if n else nothing,
        "valid_recording_top1": right / n if n else nothing,
        "valid_recording_chance": step.measures.get("recording_chance", nothing),
    }
