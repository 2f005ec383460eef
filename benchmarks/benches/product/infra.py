"""make bench-infra [--parts audit comply chart images ...]: what stands around a deployment, in figures."""

import argparse
import os
import random
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from contextlib import closing
from pathlib import Path

import kubernetes_validate

from audit.chain import Event
from audit.keys import CHAIN, PUBLIC, SIGNING, load_chain_key, load_public_key, load_signing_key, make_keys
from audit.log import AuditLog, Sink
from audit.verification import verify
from benchmarks.harness import figure, machine
from cerebeam.compliance.backup import create
from cerebeam.compliance.backup import restore as put_back
from cerebeam.compliance.comply import evaluate, render, resources_of
from cerebeam.compliance.sbom import SERVER, packages, requirements_of
from tests.audit.test_tampering import N_PLACES, delete, edit, insert, reorder, truncate
from tests.cerebeam.test_backup import WRITER, numbers
from tests.infra import test_chart, test_comply, test_terraform

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


def comply() -> None:
    """Planted faults, those that fail exactly their own check, and alarms on the good deployment."""
    fixtures = test_comply.BROKEN
    caught = [{row.check for row in evaluate(*test_comply.broken(one))[0]} == {one["breaks"]} for one in fixtures]
    figure("comply_fixtures", len(fixtures), "faults")
    figure("comply_fixtures_caught", sum(caught), "faults")
    deny, _ = evaluate(render(test_comply.GOOD), resources_of(test_comply.GOOD_PLAN))
    figure("comply_false_alarms", len(deny), "findings")


def chart() -> None:
    """Variants of the chart whose every manifest fits the schemas of Kubernetes."""
    n_valid = 0
    for variant in test_chart.VARIANTS:
        documents = render(test_chart.values_of(variant))
        for document in documents:
            if document["kind"] != "ServiceMonitor":
                kubernetes_validate.validate(document, test_chart.KUBERNETES[-1], strict=True)
        n_valid += 1
    figure("chart_variants_valid", n_valid, f"of {len(test_chart.VARIANTS)}")


def terraform() -> None:
    """Runs of `terraform test` that pass; nothing where it is not installed."""
    if test_terraform.TERRAFORM is None or not test_terraform.MIRROR:
        print("terraform: not run, no binary or no CEREBEAM_TERRAFORM_MIRROR")
        return
    n_passed = 0
    for module in test_terraform.MODULES:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name) / "modules"
            shutil.copytree(test_terraform.FOLDER / "modules", folder)
            test_terraform.run(folder / module, Path(name), "init", "-input=false", "-no-color")
            out = test_terraform.run(folder / module, Path(name), "test", "-no-color")
            n_passed += int(out.split(" passed, 0 failed")[0].split()[-1])
    figure("terraform_tests_passed", n_passed, "runs")


def restore(n_rows: int) -> None:
    """A data folder is backed up in use, lost and restored: seconds, and rows of before the backup that are gone."""
    with tempfile.TemporaryDirectory() as name:
        data, folder = Path(name) / "var", Path(name)
        (data / "uploads").mkdir(parents=True)
        (data / "uploads" / "night.edf").write_bytes(os.urandom(64 << 20))
        write_log(data, n_rows)
        with closing(sqlite3.connect(data / "records.db")) as rows, rows:
            rows.execute("CREATE TABLE jobs (n INTEGER PRIMARY KEY)")
            rows.executemany("INSERT INTO jobs VALUES (?)", [(n,) for n in range(n_rows)])
        command = [sys.executable, "-c", WRITER, str(data / "more.db")]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as writer:
            assert writer.stdout is not None
            committed = [int(writer.stdout.readline()) for _ in range(500)]
            started = time.perf_counter()
            saved = create(data, folder / "backups")
            figure("backup_seconds", time.perf_counter() - started, "s")
            writer.kill()
            writer.stdout.read()
        shutil.rmtree(data)
        started = time.perf_counter()
        put_back(saved, data)
        seconds = time.perf_counter() - started
        lost = len(set(committed) - set(numbers(data / "more.db"))) + n_rows - len(numbers(data / "records.db"))
        lost += (
            len(problems_of(data))
            + n_rows
            + 1
            - verify(data / "audit.log", load_chain_key(data / "keys" / CHAIN)).n_rows
        )
        figure("restore_seconds", seconds, "s")
        figure("restore_lost_rows", lost, "rows")


def images() -> None:
    """Packages that the server's image installs, and what they weigh; torch and Beam among them would be heavier."""
    found = packages(requirements_of(SERVER))
    figure("server_packages", len(found), "packages")
    figure("server_packages_mb", sum(one.n_bytes for one in found) / 1e6, "MB")
    heavy = {"torch", "apache-beam", "tensorflow", "tensorflow-cpu", "transformers"}
    figure("server_heavy_packages", sum(one.name in heavy for one in found), "packages")


PARTS = ("audit", "comply", "chart", "images", "terraform", "restore")


def main() -> None:
    """Run the parts."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS)
    parser.add_argument("--rows", type=int, default=1_000_000, help="of the audit log")
    args = parser.parse_args()
    print(machine())
    if "audit" in args.parts:
        audit(args.rows)
    if "comply" in args.parts:
        comply()
    if "chart" in args.parts:
        chart()
    if "images" in args.parts:
        images()
    if "terraform" in args.parts:
        terraform()
    if "restore" in args.parts:
        restore(10_000)


if __name__ == "__main__":
    main()
