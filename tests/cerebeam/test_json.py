"""`--json`: every command has it or a reason, and with it standard output holds JSON objects and nothing else."""

import json
from pathlib import Path

import pytest

from audit.keys import load_chain_key
from audit.log import AuditLog
from cerebeam.cli import main
from cerebeam.help.pages import load
from serving.signature import PRIVATE
from tests.pipelines.conftest import write_edf
from tests.small_bundle import write_small_bundle
from tests.toy_shards import write_toy_shards

ROOT = Path(__file__).parents[2]
LEAVES = {name: page for name, page in load().items() if not page.commands}
WITHOUT = {
    "prints nothing: its result is what it writes": {
        "synthesize", "critical-corpus", "bank", "paper render", "boards", "audit keys", "embed", "stack",
    },
    "prints a file for another program: YAML, a shell script": {"site-card", "completion"},
    "trains for minutes to days: its numbers stand in the files that it writes, and `cerebeam report --json` has those "
    "of predictions": {
        "pretrain", "finetune", "loso", "crossval", "stress", "transfer", "synthetic-to-real", "study fair",
        "study loso", "study crossval", "study transfer", "study curve", "study ablation", "study stress",
        "study synthetic-to-real", "six-class build",
    },
    "runs other commands, and shows a person how far it is; their files hold the numbers": {"demo", "run"},
    "goes on until it is stopped": {"serve", "live"},
}  # fmt: skip
"""Commands without `--json`, by reason."""

ELSEWHERE = {
    "archive": "pipelines/scoring/test_score.py",
    "compare": "evaluation/scenarios/test_archives.py",
    "drift": "cerebeam/test_drift.py",
    "paper digitise": "cerebeam/test_paper.py",
    "autoencoder": "training/test_autoencoder.py",
    "publish": "training/objectives/test_skill.py",
    "calibrate": "studies/test_stack.py",
    "report": "evaluation/report/test_report.py",
    "planted": "studies/planted/test_faults.py",
    "prune": "training/test_distil.py",
    "distil": "training/test_distil.py",
    "export": "model/test_export.py",
    "six-class train": "cerebeam/test_six_class.py",
    "six-class predict": "cerebeam/test_six_class.py",
    "six-class read": "cerebeam/test_reading.py",
    "six-class download": "cerebeam/test_download.py",
    "competition": "evaluation/test_competition.py",
    "quantise": "serving/deploy/test_quantise.py",
    "quantise-torch": "serving/deploy/test_torch_int8.py",
    "tensorrt": "serving/deploy/test_tensorrt.py",
    "quick-test": "model/families/test_trials.py",
    "bench": "serving/test_bench.py",
    "comply": "infra/test_comply.py",
    "predict": "serving/test_prediction.py",
    "explain": "cerebeam/test_explain.py",
    "reviews": "service/review/test_export.py",
    "register": "service/test_registry.py",
    "promote": "service/test_registry.py",
    "rollback": "service/test_registry.py",
}
"""Commands that need a model, a server or minutes: the test beside them reads their JSON."""


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """What the commands below are called on."""
    root = tmp_path_factory.mktemp("json")
    for name in ("one", "two"):
        write_edf(root / name / f"{name}.edf", seconds=25, seed=len(name))
    (root / "one" / "broken.edf").write_bytes((root / "one" / "one.edf").read_bytes()[:300])
    for name in ("one", "two"):
        options = ["--input", str(root / name), "--output", str(root / f"{name}-shards"), "--salt", "s"]
        assert main(["preprocess", *options, "--site-from", f"constant:{name}"]) == 0
    assert main(["audit", "keys", str(root / "keys")]) == 0
    AuditLog(root / "audit.log", load_chain_key(root / "keys" / "chain.key")).close()
    write_small_bundle(root / "bundle")
    write_toy_shards(root / "labelled", n_sites=1, n_subjects=1, n_windows=2, window_s=50.0)
    assert main(["sign", "keys", str(root / "signing")]) == 0
    assert main(["sign", "bundle", str(root / "bundle"), "--private-key", str(root / "signing" / PRIVATE)]) == 0
    (root / "var").mkdir()
    (root / "var" / "a.edf").write_bytes(b"recording")
    assert main(["backup", "create", str(root / "var"), "--into", str(root / "backups")]) == 0
    return root


HERE = {
    "preprocess": "--input {}/one --output {}/again --salt s",
    "dry-run": "--input {}/one",
    "shards verify": "{}/one-shards",
    "shards stats": "{}/one-shards",
    "shards show": "{}/one-shards",
    "shards check-identity": "{}/one-shards",
    "shards merge": "{}/one-shards {}/two-shards --output {}/both",
    "audit verify": "{}/audit.log --key-file {}/keys/chain.key",
    "audit show": "{}/audit.log",
    "sbom": "bundle {}/bundle --output {}/bom.json",
    "sign keys": "{}/more-keys",
    "sign bundle": "{}/bundle --private-key {}/signing/bundle-signing.pem",
    "sign verify": "{}/bundle --public-key {}/signing/bundle-public.pem",
    "backup create": "{}/var --into {}/backups",
    "backup verify": "{}/backups",
    "backup restore": "{}/backups --to {}/restored",
    "cost": "--hours 1000",
    "config": "show",
    "score": "{}/bundle --shards {}/labelled --output {}/predictions.parquet",
}


def test_every_command_has_json_or_a_reason():
    with_json = {name for name, page in LEAVES.items() if any("--json" in option.names for option in page.options)}
    without = [name for names in WITHOUT.values() for name in names]
    assert len(without) == len(set(without))
    assert with_json | set(without) == set(LEAVES)
    assert not with_json & set(without)
    assert with_json == set(HERE) | set(ELSEWHERE)


@pytest.mark.parametrize("command", sorted(ELSEWHERE))
def test_the_test_beside_a_command_reads_its_json(command):
    text = (ROOT / "tests" / ELSEWHERE[command]).read_text(encoding="utf-8")
    assert '"--json"' in text
    assert "json.loads" in text


def constant(name):
    raise ValueError(f"{name} is no JSON")


@pytest.mark.parametrize("command", sorted(HERE))
def test_standard_output_is_one_object(command, made, capfd):
    args = HERE[command].format(*[made] * HERE[command].count("{}")).split()
    assert main([*command.split(), *args, "--json"]) == 0
    out = capfd.readouterr().out
    assert out.count("\n") == 1
    printed = json.loads(out, parse_constant=constant)
    assert isinstance(printed, dict)
    assert printed
