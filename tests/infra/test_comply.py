import base64
import copy
import json
from pathlib import Path

import pytest
import yaml

from cerebeam.compliance.comply import (
    DEPLOYMENT,
    FOLDER,
    PLAN,
    STATES,
    ComplyError,
    Control,
    assess,
    evaluate,
    load_controls,
    main,
    markdown,
    render,
    resources_of,
)
from cerebeam.compliance.reviewers_pack import pack

ROOT = Path(__file__).parents[2]
GOOD = yaml.safe_load(DEPLOYMENT.read_text(encoding="utf-8"))
GOOD_PLAN = json.loads(PLAN.read_text(encoding="utf-8"))
BROKEN = yaml.safe_load((FOLDER / "broken.yaml").read_text(encoding="utf-8"))


def merged(base, change):
    result = dict(base)
    for key, value in change.items():
        result[key] = merged(result[key], value) if isinstance(value, dict) and key in result else value
    return result


def put(place, path, value):
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] = value


def broken(fixture):
    """The good deployment with one fault: (manifests, resources)."""
    manifests = render(merged(GOOD, fixture.get("values", {})))
    plan = copy.deepcopy(GOOD_PLAN)
    if change := fixture.get("manifest"):
        [found] = [m for m in manifests if (m["kind"], m["metadata"]["name"]) == (change["kind"], change["name"])]
        put(found, change["path"], change["value"])
    if change := fixture.get("plan"):
        [row] = [row for row in plan["resource_changes"] if row["address"] == change["address"]]
        if change.get("delete"):
            plan["resource_changes"].remove(row)
        else:
            put(row["change"]["after"], change["path"], change["value"])
    return manifests, resources_of(plan)


@pytest.fixture(scope="module")
def good():
    return render(GOOD), resources_of(GOOD_PLAN)


def test_the_good_deployment_raises_no_false_alarm(good):
    deny, proof = evaluate(*good)
    assert deny == []
    checks = {fixture["breaks"] for fixture in BROKEN} | {"no-authentication", "unsigned-model", "no-encryption"}
    assert {finding.check for finding in proof} == checks


def test_there_are_fifteen_faults():
    assert len({fixture["breaks"] for fixture in BROKEN}) == len(BROKEN) == 15


@pytest.mark.parametrize("fixture", BROKEN, ids=lambda fixture: fixture["breaks"])
def test_a_fault_fails_exactly_its_own_check(fixture):
    deny, proof = evaluate(*broken(fixture))
    assert {finding.check for finding in deny} == {fixture["breaks"]}
    rows = assess(load_controls(), deny, proof)
    failed = {row.control.id for row in rows if row.state == "FAIL"}
    assert failed == {control.id for control in load_controls() if fixture["breaks"] in control.checks}
    assert failed
    # The sentences of the pack that rest on it go with it.
    sentences = assess(load_controls("pack"), deny, proof)
    failed = {row.control.id for row in sentences if row.state == "FAIL"}
    assert failed == {one.id for one in load_controls("pack") if fixture["breaks"] in one.checks}
    assert ("| NOT SHOWN |" in pack(sentences)) == bool(failed)


@pytest.mark.parametrize(
    ("check", "values"),
    [
        ("plain-http", {"tls": {"secretName": ""}}),
        ("wide-cors", {"server": {"corsOrigins": ["http://viewer.example.org"]}}),
        ("body-in-log", {"server": {"logLevel": "DEBUG"}}),
        ("secret-in-env", {"server": {"env": [{"name": "API_KEY", "value": "x7Gq9"}]}}),
        ("secret-in-env", {"server": {"set": ["system.database=postgresql://u:x7Gq9@db/cerebeam"]}}),
        ("default-password", {"server": {"env": [{"name": "REDIS_PASSWORD", "value": "Redis"}]}}),
        ("no-authentication", {"server": {"set": ["deployment.profile=dev"]}}),
        ("identifier-in-label", {"ingress": {"annotations": {"note": "MRN 4711"}}}),
        ("unsigned-model", {"models": {"publicKeyConfigMap": ""}}),
        ("no-encryption", {"encryption": {"existingSecret": ""}}),
        ("no-audit", {"audit": {"sinkClaim": ""}}),
    ],
)
def test_other_ways_to_break_the_same_rules(check, values):
    deny, _ = evaluate(render(merged(GOOD, values)), resources_of(GOOD_PLAN))
    assert {finding.check for finding in deny} == {check}


def server_of(manifests):
    [pod] = [m["spec"]["template"]["spec"] for m in manifests if m["metadata"]["name"] == "cerebeam-server" and m["kind"] == "Deployment"]  # fmt: skip  # noqa: E501
    return pod, pod["containers"][0]


def of_kind(manifests, kind):
    return next(m for m in manifests if m["kind"] == kind)


def added(kind, **fields):
    return lambda manifests: manifests.append({"kind": kind, "metadata": {"name": "x"}, **fields})


def bare_pod(manifests):
    """A pod of no Deployment, with the labels of the closed ones, as root."""
    template = copy.deepcopy(of_kind(manifests, "Deployment")["spec"]["template"])
    template["spec"]["containers"][0]["securityContext"] = {"runAsUser": 0}
    manifests.append({"kind": "Pod", "metadata": {"name": "x", **template["metadata"]}, "spec": template["spec"]})


@pytest.mark.parametrize(
    ("check", "hide"),
    [
        ("no-authentication", lambda m: server_of(m)[1]["args"].extend(["--set", "deployment.profile=dev"])),
        ("body-in-log", lambda m: server_of(m)[1]["args"].extend(["--set", "system.log_level=DEBUG"])),
        ("root-container", bare_pod),
        ("root-container", lambda m: server_of(m)[0].update(hostNetwork=True)),
        ("root-container", lambda m: server_of(m)[0]["volumes"].append({"name": "h", "hostPath": {"path": "/"}})),
        ("root-container", lambda m: server_of(m)[1]["securityContext"]["capabilities"].update(add=["SYS_ADMIN"])),
        ("plain-http", lambda m: of_kind(m, "Ingress")["spec"]["rules"].append({"http": {"paths": []}})),
        ("plain-http", lambda m: of_kind(m, "Ingress")["spec"].update(defaultBackend={"service": {"name": "x"}})),
        ("secret-in-env", added("Secret", data={"password": base64.b64encode(b"x7Gq9").decode()})),
        ("default-password", added("Secret", data={"password": base64.b64encode(b"postgres").decode()})),
        ("secret-in-env", added("ConfigMap", data={"c.yaml": "a: 1\nurl: postgresql://u:x7Gq9@db/c\n"})),
    ],
)
def test_ways_to_hide_a_fault_from_its_check(good, check, hide):
    manifests = copy.deepcopy(good[0])
    hide(manifests)
    deny, _ = evaluate(manifests, good[1])
    assert {finding.check for finding in deny} == {check}


def test_a_server_that_is_started_by_its_command_is_looked_at(good):
    manifests = copy.deepcopy(good[0])
    _, server = server_of(manifests)
    server["command"], server["args"] = ["cerebeam", *server["args"], "--set=deployment.profile=dev"], []
    deny, _ = evaluate(manifests, good[1])
    assert {finding.check for finding in deny} == {"no-authentication"}


@pytest.mark.parametrize(
    "resource",
    [
        ("aws_iam_policy_document", {"statement": [{"not_actions": ["iam:*"], "resources": ["arn:aws:s3:::a"]}]}),
        (
            "aws_iam_policy_document",
            {"statement": [{"actions": ["s3:GetObject"], "not_resources": ["arn:aws:s3:::a"]}]},
        ),
        ("aws_iam_policy_document", {"statement": [{"actions": ["s3:GetObject"], "resources": ["arn:aws:s3:::*"]}]}),
        ("aws_iam_policy_document", {"statement": [{"actions": ["s3:GetObject"], "resources": ["arn:aws:s3:::*/*"]}]}),
        ("aws_iam_role_policy_attachment", {"policy_arn": "arn:aws:iam::aws:policy/AdministratorAccess"}),
        ("aws_iam_user_policy_attachment", {"policy_arn": "arn:aws:iam::aws:policy/AmazonS3FullAccess"}),
    ],
)
def test_other_ways_to_give_too_many_rights(good, resource):
    kind, values = resource
    deny, _ = evaluate(good[0], [*good[1], {"address": f"{kind}.x", "type": kind, "values": values}])
    assert {finding.check for finding in deny} == {"wildcard-iam"}


def test_words_that_only_look_alike_are_no_alarm():
    values = {"labels": {"team": "dobrava", "tier": "armrnx"}}
    deny, _ = evaluate(render(merged(GOOD, values)), resources_of(GOOD_PLAN))
    assert deny == []


@pytest.mark.parametrize(
    "statement",
    [
        {"Effect": "Allow", "Action": "*", "Resource": "arn:aws:s3:::a"},
        {"Effect": "Allow", "Action": ["s3:GetObject"], "Resource": "*"},
        {"Effect": "Allow", "Action": ["s3:*"], "Resource": ["arn:aws:s3:::a"]},
        {"Effect": "Allow", "NotAction": ["iam:*"], "Resource": ["arn:aws:s3:::a"]},
    ],
)
def test_policies_written_as_json_are_read_too(good, statement):
    policy = {"address": "aws_iam_policy.x", "type": "aws_iam_policy", "values": {"policy": json.dumps({"Statement": [statement]})}}  # fmt: skip  # noqa: E501
    deny, _ = evaluate(good[0], [*good[1], policy])
    assert {finding.check for finding in deny} == {"wildcard-iam"}
    denied = json.loads(policy["values"]["policy"])["Statement"][0] | {"Effect": "Deny"}
    policy["values"]["policy"] = json.dumps({"Statement": denied})
    assert evaluate(good[0], [*good[1], policy])[0] == []


def test_quotes_and_backslashes_in_manifests_are_read_back(good):
    manifests = copy.deepcopy(good[0])
    manifests[0]["metadata"]["labels"]["x"] = 'patient "a\\b"\n é'
    deny, _ = evaluate(manifests, good[1])
    assert [finding.line for finding in deny] == ['x: patient "a\\b"\n é']


def test_the_page_is_what_the_command_writes():
    rows = assess(load_controls(), *evaluate(render(GOOD), resources_of(GOOD_PLAN)))
    assert (ROOT / "docs" / "compliance.md").read_text(encoding="utf-8") == markdown(rows)
    assert not [row.control.id for row in rows if row.state == "FAIL"]
    assert {row.state for row in rows} <= set(STATES)


def test_the_pack_is_what_the_command_writes_and_each_sentence_has_its_evidence():
    sentences = load_controls("pack")
    rows = assess(sentences, *evaluate(render(GOOD), resources_of(GOOD_PLAN)))
    assert (ROOT / "docs" / "reviewers_pack.md").read_text(encoding="utf-8") == pack(rows)
    assert [row.control.id for row in rows if row.state == "FAIL"] == []
    sections = {sentence.section for sentence in sentences}
    assert sections == {"Questions of MDS2", "Data flow", "Threat model", "Downtime", "Backup and restore"}
    assert len({sentence.id for sentence in sentences}) == len(sentences)
    # Most sentences are shown, and none is shown by a whole file of tests.
    assert sum(row.state == "PASS" for row in rows) > 0.8 * len(rows)
    assert all("::" in test for sentence in (*sentences, *load_controls()) for test in sentence.tests)


def test_a_sentence_whose_test_or_figure_is_gone_is_not_shown(tmp_path, monkeypatch):
    for lost in ({"tests": ("service/test_gate.py::test_that_was_deleted",)}, {"figures": ("restore_of_nothing",)}):
        [row] = assess([Control(id="1", title="x", section="s", **lost)], [], [])
        assert row.state == "FAIL"
    [row] = assess([Control(id="1", title="x", figures=("restore_lost_rows",))], [], [])
    assert row.evidence == ("restore_lost_rows: 0",)


def test_every_control_of_the_five_sections_is_there_once():
    ids = [control.id for control in load_controls()]
    assert len(ids) == len(set(ids))
    # The standards and specifications of appendix A to subpart C of part 164, and of 164.314 and 164.316.
    for section, n_least in (("308", 26), ("310", 12), ("312", 10), ("314", 4), ("316", 5)):
        assert sum(name.startswith(f"164.{section}") for name in ids) >= n_least, section


def test_a_missing_test_or_a_check_without_lines_fails():
    rows = assess([Control(id="1", title="x", tests=("infra/test_comply.py::no_such",))], [], [])
    assert rows[0].state == "FAIL"
    assert "does not exist" in rows[0].evidence[0]
    rows = assess([Control(id="1", title="x", checks=("public-bucket",))], [], [])
    assert rows[0].state == "FAIL"
    assert "nothing in this deployment shows it" in rows[0].evidence[0]
    with pytest.raises(ComplyError):
        Control(id="1", title="x")


def test_command(tmp_path, capsys):
    assert main(["--pack", str(tmp_path / "pack.md")]) == 0
    assert "0 FAIL" in capsys.readouterr().out
    assert (tmp_path / "pack.md").read_text(encoding="utf-8").startswith("# Reviewer's pack")
    (tmp_path / "v.yaml").write_text(yaml.safe_dump(merged(GOOD, {"backup": {"enabled": False}})))
    assert main(["--deployment", str(tmp_path / "v.yaml")]) == 1
    assert "no CronJob runs cerebeam backup create" in capsys.readouterr().out
    (tmp_path / "m.yaml").write_text(yaml.safe_dump_all(render(GOOD)))
    assert main(["--manifests", str(tmp_path / "m.yaml"), "--json"]) == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert {row["state"] for row in rows} <= {"PASS", "MANUAL", "N/A"}
    assert all(row["id"] and row["title"] for row in rows)


@pytest.mark.parametrize(
    ("option", "content"),
    [
        ("--deployment", "a: [1"), ("--deployment", "- 1"), ("--deployment", "server: {replica: 2}"),
        ("--manifests", "a: 1"), ("--manifests", ""), ("--plan", "nonsense"), ("--plan", "{}"), ("--plan", "[1]"),
    ],
)  # fmt: skip
def test_bad_input_is_one_line_and_2(tmp_path, capsys, option, content):
    (tmp_path / "x").write_text(content)
    assert main([option, str(tmp_path / "x")]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    assert main([option, str(tmp_path / "nothing")]) == 2
