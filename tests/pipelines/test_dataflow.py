"""What Dataflow would be given, staged to an emulator, looked at and run: everything but Google's own part."""

import base64
import bz2
import hashlib
import io
import json
import os
import pickle
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest
from apache_beam.portability import common_urns
from apache_beam.portability.api import beam_runner_api_pb2

from pipelines.preprocess import main

pytest.importorskip("google.cloud.dataflow", reason="needs cerebeam[gcp]")
ROOT = Path(__file__).parents[2]
ROOMS = ("cerebeam", "signals", "synthetic", "studies", "pipelines", "model", "training", "evaluation", "serving")
SALT = ("--salt", "secret", "--site-from", "folder")
WORKERS = (
    "--worker_machine_type=n2-standard-4", "--num_workers=3", "--max_num_workers=50", "--disk_size_gb=60",
    "--experiments=use_runner_v2", "--experiments=no_use_multiple_sdk_containers",
    "--number_of_worker_harness_threads=4", "--sdk_container_image=europe-docker.pkg.dev/p/r/cerebeam-worker:1",
)  # fmt: skip


@pytest.fixture
def checkout(tmp_path):
    """The files that git would hand out, elsewhere: setup.py leaves traces beside itself."""
    folder = tmp_path / "checkout"
    for room in ROOMS:
        shutil.copytree(ROOT / room, folder / room, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("setup.py", "pyproject.toml", "README.md", "constraints.txt"):
        shutil.copy(ROOT / name, folder)
    return folder


@pytest.fixture
def staged(clinics, bucket, checkout):
    """A job staged as a template, which is all of a job but the call that starts it."""
    uri = bucket.upload(clinics, "clinics")
    args = [
        "--input", uri, "--labels", f"{uri}/labels.csv", "--output", "gs://cerebeam/out", *SALT,
        "--runner=DataflowRunner", "--project=some-project", "--region=europe-west4",
        "--temp_location=gs://cerebeam/temp", "--staging_location=gs://cerebeam/staging",
        "--template_location=gs://cerebeam/template/job.json", f"--setup_file={checkout / 'setup.py'}", *WORKERS,
    ]  # fmt: skip
    assert main(args) == 0
    return bucket


def test_a_staged_job_is_whole(staged, clinics, tmp_path):
    (job,) = staged.tree("template").values()
    check_options(json.loads(job)["environment"])
    files = staged.tree("staging")
    assert not any("main_session" in name for name in files)
    (proto,) = [raw for name, raw in files.items() if name.endswith("pipeline.pb")]
    (sdist,) = [raw for name, raw in files.items() if name.endswith("workflow.tar.gz")]
    check_modules(proto)
    run_with_base_install(sdist, proto, tmp_path)
    local = ["--input", str(clinics), "--labels", str(clinics / "labels.csv"), "--output", str(tmp_path / "out")]
    assert main([*local, *SALT]) == 0
    here = {p.relative_to(tmp_path / "out").as_posix(): p for p in (tmp_path / "out").rglob("*") if p.is_file()}
    there = staged.tree("out")
    assert there.keys() == here.keys()
    # Which hold hashes of paths as they were given, and times.
    other = {"recordings.jsonl", "quarantine/files.jsonl", "run.json", "report.html"}
    for name in here.keys() - other:
        assert hashlib.sha256(there[name]).digest() == hashlib.sha256(here[name].read_bytes()).digest(), name


def check_options(environment):
    (pool,) = environment["workerPools"]
    assert pool["machineType"] == "n2-standard-4"
    assert (pool["numWorkers"], pool["autoscalingSettings"]["maxNumWorkers"], pool["diskSizeGb"]) == (3, 50, 60)
    assert {"use_runner_v2", "no_use_multiple_sdk_containers"} <= set(environment["experiments"])
    (image,) = pool["sdkHarnessContainerImages"]
    assert image["containerImage"] == "europe-docker.pkg.dev/p/r/cerebeam-worker:1"
    options = environment["sdkPipelineOptions"]["options"]
    assert options["number_of_worker_harness_threads"] == 4
    assert options["save_main_session"] is False
    assert options["pipelineUrl"].endswith("/pipeline.pb")


def check_modules(proto):
    """No step's pickle names a module that is missing on a worker or that is __main__ where the job is submitted."""
    pipeline = beam_runner_api_pb2.Pipeline.FromString(proto)
    modules = set()
    for transform in pipeline.components.transforms.values():
        if transform.spec.urn == common_urns.primitives.PAR_DO.urn:
            payload = beam_runner_api_pb2.ParDoPayload.FromString(transform.spec.payload).do_fn.payload
            modules |= modules_of(payload)
    ours = {module for module in modules if module.split(".")[0] in ROOMS}
    assert {"pipelines.transforms", "pipelines.stages.finish", "signals.shards.sharding"} <= ours
    assert not {"__main__", "pipelines.preprocess"} & modules
    assert {module.split(".")[0] for module in modules - ours} <= {"apache_beam", "builtins"} | sys.stdlib_module_names


def modules_of(payload):
    """Return the modules that unpickling a DoFn imports from."""
    modules = set()

    class Unpickler(pickle.Unpickler):
        def find_class(self, module, name):
            modules.add(module)
            return super().find_class(module, name)

    Unpickler(io.BytesIO(bz2.decompress(base64.b64decode(payload)))).load()
    return modules


def run_with_base_install(sdist, proto, folder):
    """Run the staged pipeline from the staged source package, in a process that can import the base install only."""
    (folder / "pipeline.pb").write_bytes(proto)
    with tarfile.open(fileobj=io.BytesIO(sdist)) as archive:
        archive.extractall(folder / "sdist", filter="data")
    (package,) = (folder / "sdist").iterdir()
    result = subprocess.run(
        [sys.executable, str(Path(__file__).with_name("run_staged.py")), str(package), str(folder / "pipeline.pb")],
        capture_output=True, text=True, timeout=300, cwd=folder, check=False,
        env={name: value for name, value in os.environ.items() if name != "PYTHONPATH"},
    )  # fmt: skip
    assert result.returncode == 0, result.stderr[-3000:]


def test_what_dataflow_cannot_reach_is_refused_in_one_line(clinics, tmp_path, capsys):
    with pytest.raises(SystemExit) as ended:
        main(["--input", str(clinics), "--output", "gs://cerebeam/out", *SALT, "--runner=DataflowRunner"])
    assert ended.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert f"{clinics} lies on this machine, where Dataflow's workers cannot reach it" in line


def test_the_source_package_installs_every_room(checkout):
    command = [sys.executable, "setup.py", "-q", "sdist", "--dist-dir", "dist"]
    subprocess.run(command, cwd=checkout, check=True, capture_output=True, timeout=120)
    (archive,) = (checkout / "dist").iterdir()
    with tarfile.open(archive) as opened:
        names = {Path(*Path(name).parts[1:]).as_posix() for name in opened.getnames()}
    sources = {path.relative_to(checkout).as_posix() for room in ROOMS for path in (checkout / room).rglob("*.py")}
    assert sources <= names
    assert "README.md" in names
    assert not any(name.startswith("tests") for name in names)
