"""The registry on a real MLflow store: gates, aliases, rollback, damage."""

import json
import shutil

import pytest

from service.registry.commands import promote, register, rollback
from service.registry.gates import NEWEST_FACTS, Check, as_tags, check_bundle, check_report, failures
from service.registry.registry import Registry, RegistryError
from signals.bundles.bundle import load_bundle
from tests.service.awaiting import awaited
from tests.small_bundle import write_small_bundle


@pytest.fixture
def facts(tmp_path):
    path = tmp_path / "facts.json"
    path.write_text(json.dumps({"main_model": "encoder", "audit": {"decision": "passed", "findings": []}}))
    return path


@pytest.fixture
def uri(tmp_path):
    return f"sqlite:///{tmp_path / 'mlflow' / 'mlflow.db'}"


def test_a_model_goes_from_challenger_to_champion_and_back(things, facts, uri, capsys):
    assert register(["six-class", str(things.bundle), "--report", str(facts), "--registry", uri, "--json"]) == 0
    digest = load_bundle(things.bundle).about["digest"]
    assert json.loads(capsys.readouterr().out) == {"name": "six-class", "number": "1", "digest": digest}
    assert register(["six-class", str(things.second), "--report", str(facts), "--registry", uri]) == 0
    registry = Registry(uri)
    first, second = (load_bundle(path).about["digest"] for path in (things.bundle, things.second))
    capsys.readouterr()
    assert promote(["six-class", "--version", "1", "--registry", uri, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["digest"] == first
    assert load_bundle(registry.bundle_of("six-class")).about["digest"] == first
    assert promote(["six-class", "--registry", uri]) == 0
    assert load_bundle(registry.bundle_of("six-class")).about["digest"] == second
    capsys.readouterr()
    assert rollback(["six-class", "--registry", uri, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["digest"] == first
    assert load_bundle(registry.bundle_of("six-class")).about["digest"] == first
    assert rollback(["six-class", "--registry", uri]) == 0
    assert load_bundle(registry.bundle_of("six-class")).about["digest"] == second
    capsys.readouterr()
    assert promote(["six-class", "--registry", uri]) == 2
    assert "is the champion already" in capsys.readouterr().err


def test_promotion_names_each_gate_that_fails(things, facts, uri, tmp_path, capsys):
    assert register(["m", str(things.bundle), "--registry", uri]) == 0
    assert promote(["m", "--registry", uri]) == 2
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    assert "report: no evaluation report" in err
    assert "audit: " in err
    assert "parity" not in err
    facts.write_text(json.dumps({"main_model": "encoder", "audit": {"decision": "failed", "findings": []}}))
    int8 = write_small_bundle(tmp_path / "int8", precision="int8-static")
    assert register(["m", str(int8), "--report", str(facts), "--registry", uri]) == 0
    assert promote(["m", "--registry", uri]) == 2
    err = capsys.readouterr().err
    assert "audit: the leak audit failed" in err
    assert "int8: its figures are missing" in err
    with pytest.raises(RegistryError, match="m has no champion"):
        Registry(uri).bundle_of("m")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ({"schema_version": 3, "main_model": "encoder", "audit": {"verdict": "passed"}}, "has schema_version=3, not 4"),
        ([], "is no report: AttributeError"),
        ({"main_model": "encoder", "audit": {}}, "is no report: KeyError"),
    ],
)
def test_a_report_that_the_gates_cannot_read_holds_nothing_up_silently(content, words, tmp_path):
    path = tmp_path / "facts.json"
    path.write_text(json.dumps(content))
    report, audit = check_report(path)
    assert words in report.failure
    assert audit.failure


def test_the_gates_read_what_reports_write_now():
    from evaluation.report.facts import SCHEMA_VERSION

    assert NEWEST_FACTS == SCHEMA_VERSION


def test_a_stored_bundle_that_was_changed_is_not_promoted(things, facts, uri, tmp_path):
    registry = Registry(uri)
    registry.register("m", things.bundle, facts=facts)
    (stored,) = tmp_path.rglob("model.onnx")
    stored.write_bytes(stored.read_bytes() + b"x")
    with pytest.raises(RegistryError, match="was changed after the export"):
        registry.promote("m")
    shutil.rmtree(stored.parent)
    shutil.copytree(things.second, stored.parent)
    with pytest.raises(RegistryError, match="holds another bundle than was registered"):
        registry.promote("m")


@pytest.mark.parametrize(
    ("parity", "failure"),
    [
        ({}, "never compared"),
        ({"n_windows": 0, "max_probability_difference": 0.0, "decisions_differ": 0}, "never compared"),
        ({"n_windows": 9, "max_probability_difference": 2e-4, "decisions_differ": 0}, "differs by 0.0002"),
        ({"n_windows": 9, "max_probability_difference": float("nan"), "decisions_differ": 0}, "differs by nan"),
        ({"n_windows": 9, "max_probability_difference": 1e-7, "decisions_differ": 1}, "1 decisions differ"),
        ({"n_windows": 9, "max_probability_difference": 1e-7, "decisions_differ": 0}, ""),
    ],
)
def test_parity(things, parity, failure):
    bundle = load_bundle(things.bundle)
    bundle.about["parity"] = parity
    check = check_bundle(bundle)[0]
    assert (check.gate, bool(check.failure)) == ("parity", bool(failure))
    assert failure in check.failure


def test_a_report_that_is_none_and_a_gate_that_was_never_checked_fail(tmp_path):
    (tmp_path / "facts.json").write_text("[]")
    assert all(check.failure for check in check_report(tmp_path / "facts.json"))
    assert all(check.failure for check in check_report(tmp_path / "missing.json"))
    assert failures(as_tags([Check("parity")], None)) == [
        f"{name}: it was never checked" for name in ("int8", "report", "audit")
    ]


def test_mistakes_are_one_line(uri, tmp_path, capsys):
    for command, arguments in (
        (register, ["m", str(tmp_path)]), (promote, ["m"]), (rollback, ["m"]), (promote, ["m", "--version", "7"]),
    ):  # fmt: skip
        assert command([*arguments, "--registry", uri]) == 2
        assert capsys.readouterr().err.count("\n") == 1


def test_a_server_answers_with_the_champion_and_takes_the_next_at_reload(things, facts, uri, serve):

    registry = Registry(uri)
    for number, bundle in enumerate((things.bundle, things.second), start=1):
        registry.register("six", bundle, facts=facts)
        if number == 1:
            registry.promote("six")
    server, client = serve(f"models.registry={uri}", "models.registered=[six]")
    digests = [load_bundle(path).about["digest"] for path in (things.bundle, things.second)]
    assert server.house.owner("six").model.digest == digests[0]
    registry.promote("six")
    assert server.house.owner("six").model.digest == digests[0]
    assert awaited(client.post("/models/six/reload")).json()["digest"] == digests[1]
    assert server.house.owner("six").model.digest == digests[1]


@pytest.mark.parametrize(
    "content", [b"no database at all, of some length", b"SQLite format 3\0 and then nothing that is one"]
)
def test_a_store_that_is_damaged_is_one_line(things, facts, tmp_path, capsys, content):
    (tmp_path / "mlflow.db").write_bytes(content)
    uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    assert register(["six-class", str(things.bundle), "--report", str(facts), "--registry", uri]) == 2
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("cerebeam register: ")]
    assert "the registry cannot be used" in line
    assert (tmp_path / "mlflow.db").read_bytes() == content
