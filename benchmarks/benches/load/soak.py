"""Accepted recordings while everything around them fails: what was accepted is answered, and once."""

import asyncio
import json
import resource
import shutil
import threading
import time
import urllib.error
import urllib.request
from contextlib import ExitStack
from pathlib import Path

import numpy as np
from sqlalchemy import Engine, text

from benchmarks.benches.load.clients import one_request, request_bytes
from benchmarks.benches.load.cluster import Cluster
from benchmarks.benches.load.server import Process, as_json, free_port, service
from benchmarks.harness import figure
from service.records.database import open_database

KILL_S, FULL_S, CRASH_S = (20.0, 40.0), (5.0, 15.0), (4.0, 12.0)
"""When the server is killed, the disk is full and the database crashes, after the server's start, at random."""
OUT_S = 2.0
"""How long the disk stays full, and the database away."""


def soak(bundle: Path, work: Path, edf: Path, x: np.ndarray, *, seconds: float, postgres: bool = False) -> None:
    """Print how many accepted recordings were lost or answered twice while the server was killed again and again.

    Clients die in the middle of an upload, the disk is full for 2 s, the server gets kill -9 every 20 to 40 s; with
    `postgres` the records are in a cluster, which crashes between two kills and comes back 2 s later.
    """
    rng, accepted, until = np.random.default_rng(0), set[str](), time.monotonic() + seconds
    content, n_kills, n_crashes, port = request_bytes("/jobs?name=a.edf", edf.read_bytes()), 0, 0, free_port()
    shutil.rmtree(work / "var", ignore_errors=True)
    with ExitStack() as stack:
        cluster = stack.enter_context(Cluster(fsync=True)) if postgres else None
        options = (f"system.database={cluster.url}",) if cluster else ()
        while time.monotonic() < until:
            with Process(work, service(bundle, work, *options), port=port) as server:
                started = time.monotonic()
                kill_at = min(started + rng.uniform(*KILL_S), until)
                full_at, crash = started + rng.uniform(*FULL_S), None
                if cluster is not None:
                    crash = threading.Timer(rng.uniform(*CRASH_S), _restart, (cluster,))
                    crash.start()
                    n_crashes += 1
                while (now := time.monotonic()) < kill_at:
                    _set_full(server.process.pid, is_full=full_at <= now < full_at + OUT_S)
                    asyncio.run(_cut_upload(port, content))
                    asyncio.run(one_request(port, as_json(x), timeout_s=10))
                    if job := _upload(port, edf):
                        accepted.add(job)
                    time.sleep(0.2)
                if time.monotonic() < until:
                    server.process.kill()
                    server.process.wait()
                    n_kills += 1
                if crash is not None:
                    crash.join()
        engine = open_database(cluster.url if cluster else f"sqlite:///{work}/var/records.db")
        with Process(work, service(bundle, work, *options), port=port):
            patience = time.monotonic() + 120
            while time.monotonic() < patience and _rows(engine, "select 1 from jobs where finished_at is null"):
                time.sleep(0.5)
        done = {row[0]: tuple(row[1:]) for row in _rows(engine, "select id, state, n_windows from jobs")}
        answers = {row[0]: row[1] for row in _rows(engine, "select job_id, count(*) from answers group by job_id")}
        engine.dispose()
    lost = [job for job in accepted if done.get(job) != ("done", 1) or answers.get(job) != 1]
    print(f"{len(accepted)} recordings accepted, {n_kills} times kill -9, {n_crashes} crashes of the database")
    name = "soak_postgres" if postgres else "soak"
    figure(f"{name}_seconds", seconds, "s")
    figure(f"{name}_accepted", len(accepted), "recordings")
    figure(f"{name}_lost", len(lost), "recordings")


def _restart(cluster: Cluster) -> None:
    cluster.crash()
    time.sleep(OUT_S)
    cluster.start()


def _set_full(pid: int, *, is_full: bool) -> None:
    """Let a process write no file beyond its first 4 kB, as on a full disk, or any."""
    most = resource.prlimit(pid, resource.RLIMIT_FSIZE)[1]
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (4096 if is_full else most, most))


async def _cut_upload(port: int, post: bytes) -> None:
    """Be a client that dies in the middle of its upload."""
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(post[: len(post) // 3])
        await writer.drain()
        writer.transport.abort()
    except OSError:
        return


def _upload(port: int, edf: Path) -> str:
    request = urllib.request.Request(f"http://127.0.0.1:{port}/jobs?name=a.edf", data=edf.read_bytes(), method="POST")
    try:
        with urllib.request.urlopen(request, timeout=10) as reply:
            return str(json.loads(reply.read())["id"])
    except (urllib.error.URLError, OSError, ValueError):
        return ""


def _rows(engine: Engine, query: str) -> list[tuple[object, ...]]:
    with engine.connect() as connection:
        return [tuple(row) for row in connection.execute(text(query))]
