"""A bundle of a network that is written by hand, so that nothing is trained or exported; a server around it."""

import json
import logging
from dataclasses import dataclass
from pathlib import Path

import httpx
import numpy as np
import pytest
from sqlalchemy import text

from benchmarks.benches.load.cluster import BIN, Cluster
from service.answering.preparers import Preparers
from service.records.database import open_database
from service.settings import load_settings
from service.web.app import new_app
from service.web.server import open_server
from signals.modality import EEG_1020
from signals.readers.registry import open_recording
from synthetic.recordings.one_window import write_segment
from tests.small_bundle import write_small_bundle

TABLES = "jobs, answers, embeddings, accesses, events, reviews, studies, alarms, hops, streams, pauses"


@dataclass(frozen=True)
class Things:
    """Files of all tests."""

    root: Path
    bundle: Path
    second: Path
    spectral: Path
    edf: Path

    @property
    def array(self):
        """The recording's samples, µV, shape (19, 10000)."""
        return np.asarray(open_recording(str(self.edf)).read(range(19), segment=0))


@pytest.fixture(scope="session")
def things(tmp_path_factory):
    """Two bundles of other weights, one that reads spectrograms, and a recording of one window."""
    root = tmp_path_factory.mktemp("service")
    write_segment(root / "segment.edf", EEG_1020, window_s=50.0)
    return Things(
        root=root,
        bundle=write_small_bundle(root / "small", seed=0),
        second=write_small_bundle(root / "second", seed=1),
        spectral=write_small_bundle(root / "spectral", seed=2, spectrogram=True),
        edf=root / "segment.edf",
    )


@pytest.fixture(scope="session")
def preparers():
    """Two processes that prepare windows, for the servers of all tests."""
    one = Preparers(2)
    yield one
    one.close()


@pytest.fixture
def serve(things, tmp_path, preparers):
    """A function that opens a server and returns (server, a client of its application)."""
    opened = []

    def serving(*overrides, with_jobs=False, bundles=None):
        paths = [str(path) for path in bundles or (things.bundle, things.spectral)]
        settings = load_settings(None, [f"models.bundles={json.dumps(paths)}", f"system.data={tmp_path / 'var'}",
                                        "system.workers=2", *overrides], {})  # fmt: skip
        server = open_server(settings, overrides=overrides, with_jobs=with_jobs, preparers=preparers)
        opened.append(server)
        transport = httpx.ASGITransport(new_app(server))
        return server, httpx.AsyncClient(transport=transport, base_url="http://test")

    yield serving
    for server in opened:
        server.close()


@pytest.fixture
def kept_logging():
    """What a program sets up for the logs of its whole process is undone after the test."""
    root = logging.getLogger()
    loggers = [root, *(one for one in root.manager.loggerDict.values() if isinstance(one, logging.Logger))]
    handlers, levels = root.handlers[:], [one.level for one in loggers]
    yield
    root.handlers[:] = handlers
    known = dict(zip(loggers, levels, strict=True))
    for one in [root, *(one for one in root.manager.loggerDict.values() if isinstance(one, logging.Logger))]:
        one.setLevel(known.get(one, logging.NOTSET))


@pytest.fixture(scope="session")
def postgres():
    """The URL of a private cluster, in a folder that its user can reach: pytest's own are closed to others."""
    if BIN is None:
        pytest.skip("PostgreSQL is not installed")
    with Cluster(fsync=False) as cluster:
        yield cluster.url


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])
def engine(request, tmp_path):
    if request.param == "sqlite":
        engine = open_database(f"sqlite:///{tmp_path / 'r' / 'records.db'}")
    else:
        engine = open_database(request.getfixturevalue("postgres"))
        with engine.begin() as connection:
            connection.execute(text(f"truncate {TABLES}"))
    yield engine
    engine.dispose()
