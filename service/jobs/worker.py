"""python -m service.jobs.worker: answers accepted recordings, one after the other, in a process of its own.

A file that crashes, hangs or fills its reader takes this process with it and nothing else: the server starts another.
It ends when its standard input does, which is when the server is gone, however that ended.
"""

import argparse
import logging
import os
import resource
import signal
import sys
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, TypeVar
from uuid import uuid4

import numpy as np
from sqlalchemy import Engine

from service.formats.findings import Findings
from service.jobs.bell import Bell, bell_of
from service.jobs.uploads import Places
from service.logs import set_up_logs
from service.records import jobs
from service.records.database import RECORDS_UNAVAILABLE, open_database
from service.records.studies import get_study, stamp_of
from service.records.tables import Job
from service.refusals import Refusal, of_error
from service.registry.sources import Source, sources
from service.security.encryption import load_keys, sweep
from service.settings import load_settings
from serving.model import Model, open_model
from serving.runtime import Answer
from signals.bundles.bundle import load_bundle
from signals.bundles.inputs import kept_for
from signals.command_line import Parser
from signals.readers.digests import source_sha256
from signals.readers.registry import open_recording

logger = logging.getLogger(__name__)
T = TypeVar("T")
_AGAIN_S = 0.5


class NotOurs(Exception):
    """The job was given to somebody else meanwhile."""


def work(
    engine: Engine, places: Places, bundles: dict[str, Source], bell: Bell, *, timeout_s: float,
    open_one: Callable[..., Model],
) -> None:  # fmt: skip
    """Answer jobs until the process ends; `open_one` opens the bundle of a folder by name."""
    worker, models = uuid4().hex, dict[str, Model]()
    while True:
        job = _patiently(jobs.claim, engine, worker)
        if job is None:
            _patiently(jobs.give_back, engine)
            bell.wait()
            continue
        logger.info("job begun", extra={"job": job.id, "attempt": job.attempts})
        watchdog = threading.Timer(timeout_s, _end, (engine, job, timeout_s))
        watchdog.start()
        ended = threading.Event()
        threading.Thread(target=_stay_alive, args=(engine, job, ended), daemon=True).start()
        try:
            model = _model(models, bundles, job.model, open_one)
            with places.opened(job.file, is_upload=job.is_upload) as path:
                run_job(engine, path, job, model)
        except NotOurs:
            logger.warning("job was given to another worker", extra={"job": job.id})
        except Exception as error:  # one bad file must not end the queue
            refusal = of_error(error)
            if refusal is None:
                logger.error("job failed", extra={"job": job.id, "exception": type(error).__name__})
                refusal = Refusal(500, "internal_error", f"the answer failed ({type(error).__name__})")
            _patiently(_fail, engine, job, refusal)
        finally:
            watchdog.cancel()
            ended.set()
        if job.is_upload:
            _forget_upload(engine, places, job)


def run_job(engine: Engine, path: Path, job: Job, model: Model) -> None:
    """Answer a recording and commit its end; raises what reading and answering raise, NotOurs, Refusal."""
    digest = source_sha256(str(path))
    recording = open_recording(str(path), keep=kept_for(model.bundle.graphs))
    windows = model.windows(recording, source_sha256=digest, hop_s=job.hop_s)
    n_windows, answers, vectors = model.n_windows(recording, hop_s=job.hop_s), list[Answer](), list[np.ndarray]()
    for batch, embedded in model.embedded_of(windows):
        answers += batch
        vectors.append(embedded)
        if not _patiently(jobs.progress, engine, job, n_done=len(answers), n_windows=n_windows):
            raise NotOurs
    if not answers:
        raise Refusal(422, "no_windows", "every window was rejected: flat, or mostly missing")
    if job.study_id is not None:
        _check_unchanged(engine, job.study_id, path)
    findings = Findings(
        answers=answers, source_sha256=digest, model=model.name, model_digest=model.digest,
        classes=model.bundle.classes, created_at=time.time(), label_span_s=model.bundle.profile.label_span_s,
    )  # fmt: skip
    if not _patiently(jobs.finish, engine, job, findings, vectors=np.concatenate(vectors)):
        raise NotOurs
    logger.info("job done", extra={"job": job.id, "n_windows": len(answers)})


def _check_unchanged(engine: Engine, study_id: str, path: Path) -> None:
    """Raise Refusal 409 where a file is not what was opened as its study any more: its answers belong to another."""
    study = get_study(engine, study_id)
    if study is None or study.stamp != stamp_of(path):
        raise Refusal(409, "recording_changed", "the file changed after it was opened", "open and answer it again")


def _model(models: dict[str, Model], bundles: dict[str, Source], name: str, open_one: Callable[..., Model]) -> Model:
    """Return a job's model as it is now: its bundle may have been exchanged since the last job."""
    if name not in bundles:
        raise Refusal(404, "unknown_model", "the model of this job is not served any more")
    path = bundles[name]()
    if name not in models or models[name].digest != load_bundle(path).about["digest"]:
        models[name] = open_one(path, name=name)
    return models[name]


def _patiently(call: Callable[..., T], *args: Any, **kwargs: Any) -> T:
    """Return what a call on the records returns, tried again for as long as they are away: a database that restarts
    takes no job with it."""
    while True:
        try:
            return call(*args, **kwargs)
        except Refusal as refusal:
            if refusal.code != RECORDS_UNAVAILABLE:
                raise
            logger.warning("the records are away")
            time.sleep(_AGAIN_S)


def _fail(engine: Engine, job: Job, refusal: Refusal) -> None:
    """End a job with its reason."""
    jobs.fail(engine, job, refusal)
    logger.info("job refused", extra={"job": job.id, "code": refusal.code})


def _end(engine: Engine, job: Job, timeout_s: float) -> None:
    """End the process of a job that takes too long: what hangs in a library cannot be interrupted.

    Where the records fail too, the job stays running and is given back later.
    """
    try:
        _fail(engine, job, Refusal(504, "job_timeout", f"the answer took longer than {timeout_s:g} s"))
    except Refusal:
        logger.error("the end of a job could not be written", extra={"job": job.id})
    os.kill(os.getpid(), signal.SIGKILL)


def _forget_upload(engine: Engine, places: Places, job: Job) -> None:
    """Delete the upload of a job that has ended."""
    try:
        now = jobs.get_job(engine, job.id)
    except Refusal:
        return
    if now is not None and now.finished_at is not None:
        (places.uploads / job.file).unlink(missing_ok=True)


def _stay_alive(engine: Engine, job: Job, ended: threading.Event) -> None:
    """Note now and then that the worker is there: one batch of a slow reader may take longer than that."""
    while not ended.wait(jobs.ALIVE_S / 4):
        with suppress(Refusal):
            jobs.alive(engine, job)


def _end_with_the_server() -> None:
    while os.read(0, 4096):  # sys.stdin's lock would abort an interpreter that ends by itself
        pass
    os.kill(os.getpid(), signal.SIGKILL)


def main(argv: Sequence[str] | None = None) -> int:
    """Run until standard input ends."""
    parser = Parser(prog="service.jobs.worker", description=__doc__)
    parser.add_argument("--config", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--set", action="append", default=[], help=argparse.SUPPRESS)
    args = parser.parse_args(argv)
    settings = load_settings(args.config, args.set)
    set_up_logs(settings.system.log_level)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # ^C is for the server, which ends this process
    threading.Thread(target=_end_with_the_server, daemon=True).start()
    limit = settings.system.job_memory_mb * 2**20
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    os.nice(5)  # requests come before recordings
    sweep()
    keys = None if settings.system.encryption_keys is None else load_keys(settings.system.encryption_keys)
    places = Places(settings.system.data / "uploads", settings.dataset.recordings, keys)
    open_one = partial(open_model, threads=settings.models.threads, public_key=settings.models.public_key)
    engine, timeout_s = open_database(settings.database_url, keys=keys), settings.system.job_timeout_s
    bell = bell_of(settings.system.queue)
    work(engine, places, sources(settings.models), bell, timeout_s=timeout_s, open_one=open_one)
    return 0


if __name__ == "__main__":
    sys.exit(main())
