"""Small real files, written as clinics write them."""

import os
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pyedflib
import pytest

from pipelines.preprocess import main
from signals.modality import EEG_1020
from signals.readers import remote
from signals.readers.remote import register_store

NAMES = EEG_1020.ch_names


def write_edf(path, *, seconds=65, sfreq=200, seed=0, names=NAMES, dimension="uV"):
    """An EDF+ file of 1/f noise, 20 µV, with a patient's name in its header."""
    rng = np.random.default_rng(seed)
    n_times = seconds * sfreq
    spectrum = np.fft.rfft(rng.standard_normal((len(names), n_times)))
    spectrum /= np.maximum(np.fft.rfftfreq(n_times, 1 / sfreq), 0.5)
    x = np.fft.irfft(spectrum, n_times)
    x *= 20 / x.std()
    path.parent.mkdir(parents=True, exist_ok=True)
    with pyedflib.EdfWriter(str(path), len(names), file_type=pyedflib.FILETYPE_EDFPLUS) as writer:
        for i, name in enumerate(names):
            header = {"label": f"EEG {name}-REF", "dimension": dimension, "sample_frequency": sfreq}
            limits = {"physical_min": -3000.0, "physical_max": 3000.0, "digital_min": -32768, "digital_max": 32767}
            writer.setSignalHeader(i, header | limits)
        writer.setPatientName("Erika_Mustermann")
        writer.setPatientCode(f"MRN-{path.stem}")
        writer.writeSamples(list(x))
    return path


def make_clinics(root):
    """Two sites with two good recordings each, and among them a broken one; with a label file."""
    for site, sfreq in (("north", 200), ("south", 250)):
        for number in range(2):
            write_edf(root / site / f"{site}{number}.edf", sfreq=sfreq, seed=number)
    (root / "south" / "broken.edf").write_bytes((root / "south" / "south0.edf").read_bytes()[:300])
    (root / "south" / "notes.md").write_text("about this folder")
    votes = "seizure_vote,lpd_vote,gpd_vote,lrda_vote,grda_vote,other_vote"
    rows = [f"{s},{s}-p{n},{s}{n}.edf,5,LPD,0,3,0,1,0,0" for s in ("north", "south") for n in range(2)]
    (root / "labels.csv").write_text(f"site,subject,file,onset_s,label,{votes}\n" + "\n".join(rows) + "\n")
    return root


@pytest.fixture
def clinics(tmp_path):
    """`make_clinics`, to be changed by a test."""
    return make_clinics(tmp_path / "clinics")


@pytest.fixture(scope="session")
def finished(tmp_path_factory):
    """(clinics, the shard set that a run made of them): made once, to be looked at only."""
    root = tmp_path_factory.mktemp("finished")
    make_clinics(root / "clinics")
    assert main(["--input", str(root / "clinics"), "--labels", str(root / "clinics" / "labels.csv"), "--salt", "secret",
                 "--site-from", "folder", "--output", str(root / "out")]) == 0  # fmt: skip
    return root / "clinics", root / "out"


@pytest.fixture
def shard_set(finished, tmp_path):
    """A copy of the finished shard set, with its private folder, to be broken by a test."""
    shutil.copytree(finished[1], tmp_path / "set")
    shutil.copytree(finished[1].with_name("out.private"), tmp_path / "set.private")
    return tmp_path / "set"


@pytest.fixture(autouse=True)
def _no_store_stays_registered():
    yield
    register_store(None)
    remote._mirrors.clear()  # a bucket of the next test has other files of the same names


class Bucket:
    """A bucket as a test sees it: beside the pipeline, through Google's client."""

    def __init__(self, bucket):
        self._bucket = bucket

    def upload(self, folder, prefix):
        """Put a folder's files under a prefix; returns the prefix's URI."""
        for path in sorted(p for p in folder.rglob("*") if p.is_file()):
            self._bucket.blob(f"{prefix}/{path.relative_to(folder).as_posix()}").upload_from_string(path.read_bytes())
        return f"gs://cerebeam/{prefix}"

    def tree(self, prefix):
        """Return {path below the prefix: bytes}."""
        blobs = self._bucket.client.list_blobs(self._bucket, prefix=f"{prefix}/")
        return {blob.name.removeprefix(f"{prefix}/"): blob.download_as_bytes() for blob in blobs}


@pytest.fixture
def bucket(monkeypatch):
    """gs://cerebeam on a storage emulator of this process, reached by Beam through Google's own client."""
    storage = pytest.importorskip("google.cloud.storage", reason="needs cerebeam[gcp]")
    server = pytest.importorskip("gcp_storage_emulator.server")
    from apache_beam.internal.gcp import auth

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", f"http://127.0.0.1:{port}")
    monkeypatch.setenv("NO_GCE_CHECK", "True")
    # Beam looks for Google credentials for half a minute, then goes on without; an emulator needs none.
    monkeypatch.setattr(auth._Credentials, "_credentials_init", True)
    monkeypatch.setattr(auth._Credentials, "_credentials", None)
    with server.create_server("127.0.0.1", port, in_memory=True, default_bucket="cerebeam"):
        yield Bucket(storage.Client.create_anonymous_client().bucket("cerebeam"))


def environment():
    # A worker is started as `python`; it must be the one that has the packages.
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    return os.environ | {"PATH": path, "PYTHONPATH": os.getcwd()}


@pytest.fixture
def on_job_service(tmp_path):
    """Options of a job service in a process of its own, whose workers are processes of their own again."""
    port_file = tmp_path / "port"
    with (tmp_path / "service.log").open("wb") as log:
        service = subprocess.Popen(
            [sys.executable, "-m", "apache_beam.runners.portability.local_job_service_main",
             "--port_file", str(port_file), "--staging_dir", str(tmp_path / "staging")],
            stdout=log, stderr=log, env=environment(),
        )  # fmt: skip
    try:
        until = time.monotonic() + 60
        while not (port_file.exists() and port_file.read_text()) and service.poll() is None:
            assert time.monotonic() < until, (tmp_path / "service.log").read_text()
            time.sleep(0.1)
        worker = f"{sys.executable} -m apache_beam.runners.worker.sdk_worker_main"
        yield [
            "--runner=PortableRunner", f"--job_endpoint=localhost:{port_file.read_text()}",
            "--environment_type=beam:env:harness_subprocess_python:v1", f"--environment_config={worker}",
        ]  # fmt: skip
    finally:
        service.kill()
        service.wait()
