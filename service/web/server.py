"""What a server holds while it runs, built from its settings, and ended in order."""

import logging
import os
from collections.abc import Sequence
from concurrent.futures import wait
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import Engine

from audit.log import AuditLog
from service.answering.admission import Admission, Rate
from service.answering.house import House
from service.answering.preparers import Preparers
from service.jobs.bell import Bell, bell_of
from service.jobs.supervisor import Supervisor, worker_command
from service.jobs.uploads import Places
from service.live.board import Board
from service.live.ward import Ward
from service.records import jobs
from service.records.accesses import Accesses
from service.records.database import open_database
from service.records.tables import STATES
from service.refusals import Refusal
from service.registry.sources import sources
from service.security.encryption import load_keys
from service.security.tickets import Tickets
from service.security.tokens import Verifier
from service.security.trail import check_open, open_trail
from service.settings import Settings
from service.viewer.evidence import Explanations
from service.viewer.library import Library
from service.web import windows
from service.web.answers import Answering
from service.web.metrics import Metrics
from serving.model import Model

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Server:
    """Models, records, measures and limits of one running service."""

    settings: Settings
    answering: Answering
    rate: Rate
    verifier: Verifier | None
    engine: Engine
    accesses: Accesses
    trail: AuditLog
    tickets: Tickets
    places: Places
    ward: Ward
    """Beds whose sources are connected."""
    board: Board
    """All beds at a glance."""
    bell: Bell
    """Rung for each accepted job."""
    ends_preparers: bool
    """Whether the processes that prepare are this server's own."""
    supervisor: Supervisor | None
    """None where recordings are not answered by this process."""
    library: Library
    """What the viewer has open."""
    explanations: Explanations
    """Evidence that was stored, for the viewer."""

    @property
    def house(self) -> House:
        """The models."""
        return self.answering.house

    @property
    def metrics(self) -> Metrics:
        """The measures."""
        return self.answering.metrics

    def refresh_gauges(self) -> None:
        """Bring the measures that are states up to date."""
        metrics = self.metrics
        metrics.inside.set(self.answering.admission.n_inside)
        metrics.accesses_lost.set(self.accesses.n_lost)
        metrics.versions.clear()
        for owner in self.house.owners:
            metrics.queue.labels(owner.model.name).set(owner.n_waiting)
            metrics.versions.labels(owner.model.name, owner.model.digest[:12]).set(1)
        try:
            counts = jobs.count_by_state(self.engine)
        except Refusal:
            return
        for state in STATES:
            metrics.jobs.labels(state).set(counts.get(state, 0))

    def not_ready(self) -> str:
        """Return why the service is not ready; empty where it is."""
        if not self.house.owners:
            return "no_model"
        try:
            check_open(self.trail)
            jobs.count_by_state(self.engine)
        except Refusal as refusal:
            return refusal.code
        if self.supervisor is not None and not self.supervisor.is_running:
            return "no_job_worker"
        return ""

    def close(self) -> None:
        """End: jobs go back to the queue, what was accepted is answered, what was noted is written."""
        if self.supervisor is not None:
            self.supervisor.close()
        if self.ends_preparers:
            self.answering.preparers.close()
        self.library.close()
        self.ward.close()
        self.house.close()
        self.accesses.close()
        self.trail.close()
        self.engine.dispose()


def open_server(
    settings: Settings, *, config: Path | None = None, overrides: Sequence[str] = (), with_jobs: bool = True,
    preparers: Preparers | None = None,
) -> Server:  # fmt: skip
    """Return a server whose models have answered once; `config` and `overrides` are for its worker process.

    `preparers` are the caller's, who ends them; the server starts its own without.

    Raises AuditError, BundleError, RecordsError, KeysError, EncryptionError, ValueError in one line.
    """
    deployment, system = settings.deployment, settings.system
    verifier = None
    if deployment.profile == "production" and deployment.jwks is not None:
        verifier = Verifier(deployment.jwks, issuer=deployment.issuer, audience=deployment.audience)
    (system.data / "uploads").mkdir(parents=True, exist_ok=True)
    os.chmod(system.data, 0o700)  # recordings are nobody else's
    trail = open_trail(system)
    try:
        worker = worker_command(None if config is None else str(config), overrides) if with_jobs else None
        return _with_trail(settings, trail, verifier, worker=worker, preparers=preparers)
    except BaseException:
        trail.close()
        raise


def _with_trail(
    settings: Settings, trail: AuditLog, verifier: Verifier | None, *, worker: Sequence[str] | None,
    preparers: Preparers | None,
) -> Server:  # fmt: skip
    deployment, system = settings.deployment, settings.system
    keys = None if system.encryption_keys is None else load_keys(system.encryption_keys)
    engine = open_database(settings.database_url, keys=keys)
    metrics = Metrics()
    admission = Admission(max_wait_s=deployment.max_wait_s, n_cores=settings.n_workers)

    def on_batch(model: Model, n_windows: int, seconds: float) -> None:
        metrics.batch(model, n_windows, seconds)

    house = House(
        sources(settings.models), threads=settings.models.threads,
        threads_alone=min(settings.models.threads_alone, settings.n_workers),
        shadow=settings.models.shadow, on_batch=on_batch, public_key=settings.models.public_key,
    )  # fmt: skip
    places = Places(system.data / "uploads", settings.dataset.recordings, keys)
    supervisor = None
    if worker is not None:
        supervisor = Supervisor(worker, engine, places)
        supervisor.start()
    ward = Ward(engine)
    processes = preparers or _warm_preparers(settings, house)
    return Server(
        settings=settings,
        answering=Answering(house=house, preparers=processes, admission=admission, metrics=metrics),
        ends_preparers=preparers is None,
        rate=Rate(per_s=deployment.requests_per_s),
        verifier=verifier,
        engine=engine,
        accesses=Accesses(engine),
        trail=trail,
        tickets=Tickets(),
        places=places,
        ward=ward,
        board=Board(engine, ward),
        bell=bell_of(system.queue),
        supervisor=supervisor,
        library=Library(places, n_threads=settings.n_workers),
        explanations=Explanations(settings.dataset.explanations),
    )


def _warm_preparers(settings: Settings, house: House) -> Preparers:
    """Return processes of which each has prepared a window."""
    preparers = Preparers(settings.n_workers, log_level=settings.system.log_level)
    for owner in house.owners[:1]:
        intake = owner.model.intake
        warm = [preparers.submit(windows.of_noise, intake, deadline=None) for _ in range(settings.n_workers)]
        wait(warm)
    return preparers
