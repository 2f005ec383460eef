import importlib.util
import json
from pathlib import Path

from pipelines.options import command_parser
from pipelines.scoring.options import command_parser as score_parser

FOLDER = Path(__file__).parents[2] / "infra" / "dataflow"


def launch():
    spec = importlib.util.spec_from_file_location("launch", FOLDER / "launch.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def options_of(parameters):
    return launch().options_of(parameters)


def test_parameters_become_options():
    given = [
        "--input=gs://a gs://b/*.edf", "--label_file=gs://a/l.csv", "--resume=true", "--overwrite=false",
        '--labels={"team":"eeg"}', "--shard_mb=64", "--runner=DataflowRunner", "--max_num_workers=5",
    ]  # fmt: skip
    assert options_of(given) == [
        "--input", "gs://a", "gs://b/*.edf", "--labels=gs://a/l.csv", "--resume", "--label=team=eeg", "--shard-mb=64",
        "--runner=DataflowRunner", "--max_num_workers=5",
    ]  # fmt: skip


def test_every_parameter_of_the_template_is_an_option():
    parameters = json.loads((FOLDER / "metadata.json").read_text())["parameters"]
    values = {
        "profile": "pretrain",
        "resume": "true",
        "overwrite": "true",
        "shard_mb": "64",
        "max_quarantined": "0.1",
        "site_from": "folder",
    }
    given = [f"--{parameter['name']}={values.get(parameter['name'], 'gs://a/b')}" for parameter in parameters]
    args, unknown = command_parser().parse_known_args(options_of(given))
    assert unknown == []
    assert (args.labels, args.salt_file, args.shard_mb) == ("gs://a/b", "gs://a/b", 64.0)
    needed = {p["name"] for p in parameters if not p.get("isOptional")}
    assert needed == {"input", "output", "salt_file"}


def test_every_parameter_of_the_archive_template_is_an_option_of_score():
    parameters = json.loads((FOLDER / "metadata-score.json").read_text())["parameters"]
    values = {"resume": "true", "overwrite": "false", "hop": "5", "max_quarantined": "0.1", "site_from": "folder"}
    given = [f"--{parameter['name']}={values.get(parameter['name'], 'gs://a/b')}" for parameter in parameters]
    args, unknown = score_parser().parse_known_args(options_of(given))
    assert unknown == []
    assert (args.input, args.bundle, args.hop, args.resume, args.overwrite) == (
        ["gs://a/b"],
        "gs://a/b",
        5,
        True,
        False,
    )
    assert {p["name"] for p in parameters if not p.get("isOptional")} == {"input", "bundle", "output", "salt_file"}
    assert launch().pipeline_of(given) == "pipelines.score"
    assert launch().pipeline_of(["--input=gs://a", "--output=gs://b"]) == "pipelines.preprocess"
