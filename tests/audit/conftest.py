from dataclasses import dataclass
from pathlib import Path

import pytest

from audit.chain import Event
from audit.keys import CHAIN, PUBLIC, SIGNING, load_chain_key, load_public_key, load_signing_key, make_keys
from audit.log import AuditLog, Sink
from audit.verification import verify


@dataclass
class Bench:
    """A log's files, and its keys."""

    path: Path
    folder: Path
    keys: Path

    @property
    def key(self):
        return load_chain_key(self.keys / CHAIN)

    def open(self, every_rows=10, **options):
        sink = Sink(folder=self.folder, key=load_signing_key(self.keys / SIGNING), every_rows=every_rows, every_s=60)
        return AuditLog(self.path, self.key, sink=sink, **options)

    def verify(self):
        return verify(
            self.path, self.key, checkpoints=self.folder, public_key=load_public_key(self.keys / PUBLIC)
        ).problems


@pytest.fixture
def bench(tmp_path):
    make_keys(tmp_path / "keys")
    return Bench(tmp_path / "audit.log", tmp_path / "sink", tmp_path / "keys")


@pytest.fixture
def written(bench):
    """A closed log of 61 rows: its start, and 60 accesses."""
    log = bench.open()
    for start in range(0, 60, 10):  # a checkpoint after each ten
        for future in [log.submit(event(number)) for number in range(start, start + 10)]:
            future.result(timeout=30)
    log.close()
    return bench


def event(number):
    return Event(actor=f"r-{number % 7}", role="reader", action="GET", resource="/v1/jobs/{id}", request=f"q{number}")
