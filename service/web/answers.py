"""From a sample to the answer that a client gets; each step where it disturbs nobody else."""

import asyncio
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from service.answering.admission import Admission
from service.answering.house import House
from service.answering.owner import Owner
from service.answering.preparers import Preparers
from service.notice import RESEARCH
from service.refusals import of_error
from service.web.metrics import Metrics
from service.web.passage import Passage
from serving.model import Model
from serving.runtime import Answer
from signals.window import Window

_T = TypeVar("_T")
_ADDS_UP = 1e-4
"""How far from 1 the probabilities of classes may add up, of which one holds."""


def answer_fields(model: Model, answer: Answer) -> dict[str, Any]:
    """Return an answer as plain values.

    `uncertainty` is its entropy as a share of the largest possible one, 0 to 1; `uncertainty_parts` are in nats.
    """
    below = model.bundle.calibration.abstain_below
    return {
        "start_s": answer.start_s,
        "stop_s": answer.stop_s,
        "predicted_class": answer.predicted_class,
        "class_probabilities": answer.class_probabilities,
        "confidence": answer.confidence,
        "uncertainty": share_of_entropy(answer),
        "uncertainty_parts": answer.uncertainty,
        "prediction_set": answer.prediction_set,
        "abstained": below is not None and answer.confidence < below,
        "clinical_recommendation": answer.clinical_recommendation,
        "model": model.name,
        "model_digest": model.digest,
        "notice": RESEARCH,
    }


def share_of_entropy(answer: Answer) -> float:
    """Return the entropy of an answer over the largest possible one, 0 to 1.

    Classes of which one holds add up to 1, and are least certain all alike; each class of a multi-label answer is a yes
    or a no, least certain at one half.
    """
    total, probabilities = answer.uncertainty["total"] or 0.0, answer.class_probabilities.values()
    n_ways = len(probabilities) if abs(sum(probabilities) - 1) < _ADDS_UP else 2
    return min(1.0, max(0.0, total / math.log(n_ways)))


@dataclass(frozen=True, kw_only=True)
class Answering:
    """What an answer takes: models, processes that prepare, measures."""

    house: House
    preparers: Preparers
    admission: Admission
    metrics: Metrics

    async def prepared(self, passage: Passage, function: Callable[..., _T], *args: Any) -> _T:
        """Return function(clock, *args), computed by a process of its own; its parts' times are measured.

        Raises Refusal for what of_error knows, and where the deadline has passed when its turn comes.
        """
        value, clock = await asyncio.wrap_future(self.preparers.submit(function, *args, deadline=passage.deadline))
        passage.deadline = clock.deadline
        for part, seconds in clock.seconds.items():
            self.metrics.part_seconds.labels(part).observe(seconds)
        return value

    async def answers(self, passage: Passage, owner: Owner, windows: Sequence[Window]) -> list[Answer]:
        """Return a model's answers to prepared windows."""
        began = time.perf_counter()
        is_alone = self.admission.n_working <= 1
        future = self.house.submit(owner, windows, deadline=passage.deadline, is_alone=is_alone)
        try:
            return await asyncio.wrap_future(future)
        except Exception as error:
            raise of_error(error) or error from error
        finally:
            self.metrics.part_seconds.labels("wait").observe(time.perf_counter() - began)
