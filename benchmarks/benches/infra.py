"""make bench-infra [--parts audit ...]: the audit log's speed and proof, and what stands around a deployment."""

import argparse
import random
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from pathlib import Path

from audit.chain import Event
from audit.keys import CHAIN, PUBLIC, SIGNING, load_chain_key, load_public_key, load_signing_key, make_keys
from audit.log import AuditLog, Sink
from audit.verification import verify
from benchmarks.harness import figure, machine
from tests.audit.test_tampering import N_PLACES, delete, edit, insert, reorder, truncate

_WAITING = 256
"""Requests that wait for their row at a time."""


def write_log(folder: Path, n_rows: int) -> float:
    """Write a log with at most `_WAITING` rows unacknowledged at a time; returns seconds."""
    make_keys(folder / "keys")
    key = load_chain_key(folder / "keys" / CHAIN)
    sink = Sink(folder=folder / "sink", key=load_signing_key(folder / "keys" / SIGNING))
    log = AuditLog(folder / "audit.log", key, sink=sink)
    event = Event(
        actor="r-0123456789abcdef", role="reader", action="GET", resource="/v1/jobs/{id}/answers", request="q" * 32
    )
    waiting: list[Future[int]] = []
    started = time.perf_counter()
    for _ in range(n_rows):
        waiting.append(log.submit(event))
        if len(waiting) == _WAITING:
            waiting.pop(0).result()
    for future in waiting:
        future.result()
    seconds = time.perf_counter() - started
    log.close()
    return seconds


def problems_of(folder: Path) -> Sequence[str]:
    """Return what verification finds in the log of a folder."""
    keys = folder / "keys"
    return verify(
        folder / "audit.log", load_chain_key(keys / CHAIN), checkpoints=folder / "sink",
        public_key=load_public_key(keys / PUBLIC),
    ).problems  # fmt: skip


def tampering_found(folder: Path, attack: Callable[[list[bytes], random.Random], list[bytes]]) -> bool:
    """Return whether an attack is found at each of its random places."""
    path, rng = folder / "audit.log", random.Random(1)
    whole = path.read_bytes()
    n_found = 0
    for _ in range(N_PLACES):
        path.write_bytes(b"".join(attack(whole.splitlines(keepends=True), rng)))
        n_found += bool(problems_of(folder))
    path.write_bytes(whole)
    return n_found == N_PLACES


def audit(n_rows: int) -> None:
    """Rows a second, each durable before it is acknowledged; seconds to verify; kinds of tampering found."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        figure("audit_rows_per_s", n_rows / write_log(folder, n_rows), "rows/s")
        started = time.perf_counter()
        if problems_of(folder):
            raise SystemExit("the log is not whole")
        figure("audit_verify_s", time.perf_counter() - started, "s")
        figure("audit_verified_rows", n_rows + 1, "rows")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_log(folder, 60)
        attacks = [edit, insert, delete, reorder, truncate]
        figure("audit_tampering_found", sum(tampering_found(folder, attack) for attack in attacks), "kinds of 5")


def main() -> None:
    """Run the parts."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--parts", nargs="+", choices=["audit"], default=["audit"])
    parser.add_argument("--rows", type=int, default=1_000_000)
    args = parser.parse_args()
    print(machine())
    if "audit" in args.parts:
        audit(args.rows)


if __name__ == "__main__":
    main()
