"""An archive's job as Dataflow would be given it: staged to an emulator, looked at, and its steps run from there."""

import io
import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from apache_beam.io.filesystems import FileSystems
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.portability import common_urns, python_urns
from apache_beam.portability.api import beam_runner_api_pb2
from apache_beam.runners.portability.fn_api_runner import FnApiRunner

from pipelines.score import main
from tests.pipelines.conftest import write_edf
from tests.pipelines.test_dataflow import WORKERS, modules_of
from tests.small_bundle import write_small_bundle

pytest.importorskip("google.cloud.dataflow", reason="needs cerebeam[gcp]")
SALT = ("--salt", "secret", "--site-from", "folder")


@pytest.fixture
def here(tmp_path):
    """Two recordings, a broken one, and a bundle."""
    for site, seconds in (("north", 120), ("south", 90)):
        write_edf(tmp_path / "in" / site / "a.edf", seconds=seconds, seed=seconds)
    (tmp_path / "in" / "south" / "broken.edf").write_bytes(b"0       " + bytes(300))
    write_small_bundle(tmp_path / "small")
    return tmp_path


def table(raws):
    tables = [pq.ParquetFile(io.BytesIO(raw)).read() for raw in raws]
    return pa.concat_tables(tables).sort_by([("recording_id", "ascending"), ("start_s", "ascending")]).to_pylist()


def test_a_staged_archive_is_whole_and_its_steps_give_the_local_rows(here, bucket):
    inputs, bundle = bucket.upload(here / "in", "in"), bucket.upload(here / "small", "small")
    args = [
        "--input", inputs, "--bundle", bundle, "--output", "gs://cerebeam/out", *SALT, "--runner=DataflowRunner",
        "--project=some-project", "--region=europe-west4", "--temp_location=gs://cerebeam/temp",
        "--staging_location=gs://cerebeam/staging", "--template_location=gs://cerebeam/template/job.json", *WORKERS,
    ]  # fmt: skip
    assert main(args) == 0
    (job,) = bucket.tree("template").values()
    options = json.loads(job)["environment"]["sdkPipelineOptions"]["options"]
    assert options["save_main_session"] is False
    files = bucket.tree("staging")
    assert not any("main_session" in name for name in files)
    (proto,) = [raw for name, raw in files.items() if name.endswith("pipeline.pb")]
    pipeline = beam_runner_api_pb2.Pipeline.FromString(proto)
    modules = set()
    for transform in pipeline.components.transforms.values():
        if transform.spec.urn == common_urns.primitives.PAR_DO.urn:
            payload = beam_runner_api_pb2.ParDoPayload.FromString(transform.spec.payload).do_fn.payload
            modules |= modules_of(payload)
    assert {"pipelines.scoring.transforms", "pipelines.scoring.summary"} <= modules
    assert not {"__main__", "pipelines.score", "pipelines.scoring.local"} & modules
    assert "gs://cerebeam/out/_COMPLETED" not in [f"gs://cerebeam/out/{name}" for name in bucket.tree("out")]
    for environment in pipeline.components.environments.values():
        environment.urn, environment.payload = python_urns.EMBEDDED_PYTHON, b""
        del environment.dependencies[:]
    FileSystems.set_options(PipelineOptions([]))
    FnApiRunner().run_via_runner_api(pipeline, PipelineOptions([])).wait_until_finish()
    there = bucket.tree("out")
    assert {"_COMPLETED", "scores.json", "recordings.jsonl"} <= there.keys()
    assert not [name for name in there if name.startswith(("_progress", "_run"))]
    local = ["--input", str(here / "in"), "--bundle", str(here / "small"), "--output", str(here / "out"), *SALT]
    assert main(local) == 0
    ours = table(path.read_bytes() for path in (here / "out").glob("site=*/*.parquet"))
    assert table(raw for name, raw in there.items() if name.endswith(".parquet")) == ours
    counts = [json.loads(raw)["windows"] for raw in (there["scores.json"], (here / "out" / "scores.json").read_bytes())]
    assert counts[0] == counts[1] == {"planned": 13, "answered": 13, "rejected": 0}
