"""From a request's body to windows: what a process of `service.answering.preparers` does, whole requests at a time."""

import time
from collections.abc import Sequence
from dataclasses import replace

from service.answering.preparers import Clock
from service.refusals import Refusal
from service.web.bodies import Sample, read_json, sample_of, samples_of
from service.web.inference import InferRequest, read_request
from serving.intake import Intake
from signals.window import Window


def of_predict(clock: Clock, body: bytes, intake: Intake) -> list[Window]:
    """Return the window of a POST /predict."""
    sample = clock.timed("parse", lambda: sample_of(read_json(body)))
    return _windows(clock, intake, [sample])


def of_batch(clock: Clock, body: bytes, intake: Intake, most: int) -> list[Window]:
    """Return the windows of a POST /predict_batch; the whole request is refused with its first bad one."""
    samples = clock.timed("parse", lambda: samples_of(read_json(body), most=most))
    return _windows(clock, intake, samples)


def of_infer(
    clock: Clock, body: bytes, header_length: str | None, intake: Intake, most: int
) -> tuple[InferRequest, list[Window]]:
    """Return a request of the Open Inference Protocol without its samples, and its windows."""
    request = clock.timed("parse", lambda: read_request(body, header_length))
    if request.timeout_s is not None:
        clock.deadline = min(clock.deadline or float("inf"), time.monotonic() + request.timeout_s)
    if len(request.samples) > most:
        raise Refusal(422, "too_many_samples", "more windows than one request may hold", "send several requests")
    return replace(request, samples=[]), _windows(clock, intake, request.samples)


def of_noise(clock: Clock, intake: Intake) -> None:
    """Prepare noise, so that the first request finds everything loaded."""
    clock.timed("warm_up", intake.noise)


def _windows(clock: Clock, intake: Intake, samples: Sequence[Sample]) -> list[Window]:
    return [clock.timed("prepare", lambda one=sample: _window(intake, one)) for sample in samples]


def _window(intake: Intake, sample: Sample) -> Window:
    return intake.window(sample.x_uv, sfreq=sample.sfreq, ch_names=sample.ch_names, spectrogram=sample.spectrogram)
