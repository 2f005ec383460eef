"""What a pretraining looks at on the way, on held-out windows, and by what its best checkpoint is chosen."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from math import isfinite, nan

from model.pretraining.token_masks import BlockPlan
from training.objectives.latent_validation import describe, have_collapsed, validate_latents
from training.objectives.recording_contrast import validate_recordings
from training.objectives.stretches.knowledge import validate_knowledge
from training.objectives.validation import Look, probe, validate
from training.trainer.train import Trainer

logger = logging.getLogger(__name__)


@dataclass
class HeldOutValidation:
    """Errors and accuracy of the probe on held-out windows, of the averaged weights if there are any.

    `scores` holds by step what chooses the best checkpoint: an error, or the share of labels that the probe gets wrong.
    """

    looks: Sequence[Look]
    every: int
    blocks: BlockPlan | None = None
    by_probe: bool = False
    scores: dict[int, float] = field(default_factory=dict)
    is_over: bool = False

    def __call__(self, trainer: Trainer) -> dict[str, float]:
        """Return the values of `validation`, `latent_validation`, `recording_contrast` and `knowledge`."""
        with trainer.evaluated() as model:
            values = probe(model, self.looks, trainer.processes)
            if model.fills_gaps:
                values |= validate(model, self.looks, trainer.processes)
            if self.blocks is not None:
                values |= validate_latents(model, self.looks, self.blocks, trainer.processes)
            values |= validate_recordings(model, self.looks, self.blocks, trainer.processes)
            values |= validate_knowledge(model, self.looks, self.blocks, trainer.processes)
        if have_collapsed(values) and trainer.processes.is_main:
            logger.warning("step %d: %s", trainer.step, describe(values))
        errors = ("valid_latent_error", "valid_error", "valid_recording_contrast", "valid_knowledge_error")
        error = next((values[name] for name in errors if isfinite(values.get(name, nan))), None)
        score = 1 - values["knn_accuracy"] if self.by_probe else error
        if score is not None:
            self.scores[trainer.step] = score
        return values
