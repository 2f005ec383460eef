"""The chart rendered over its matrix: the schemas of Kubernetes, values that are refused, what manifests agree on."""

import copy
from pathlib import Path

import helm_python
import kubernetes_validate
import pytest
import yaml

from cerebeam.cli import COMMANDS
from cerebeam.compliance.backup import parse_args as backup_args
from pipelines.options import check_workers, refuse_unknown, runner_of
from pipelines.scoring.options import command_parser
from service.serve import overrides_of
from service.serve import parse_args as serve_args
from service.settings import LOOPBACK, load_settings

PORT = 8050
CHART = Path(__file__).parents[2] / "infra" / "helm" / "cerebeam"
VARIANTS = sorted(path.stem for path in (CHART / "variants").glob("*.yaml"))
KUBERNETES = ("1.29", "1.31", "1.33")


@pytest.fixture(scope="module")
def chart():
    with helm_python.Chart.load(CHART) as loaded:
        yield loaded


def render(chart, values):
    rendered = chart.render(values=values, name="demo", namespace="eeg")
    return [document for text in rendered.values() for document in yaml.safe_load_all(text) if document]


def values_of(variant):
    return yaml.safe_load((CHART / "variants" / f"{variant}.yaml").read_text(encoding="utf-8"))


def pods(documents):
    for document in documents:
        spec = document.get("spec", {})
        spec = spec.get("jobTemplate", {}).get("spec", spec)
        if "template" in spec:
            yield document["kind"], spec["template"]


def test_matrix():
    assert VARIANTS == ["default", "external-db", "gpu", "hipaa", "no-ingress"]


@pytest.mark.parametrize("variant", VARIANTS)
def test_every_manifest_fits_the_schemas_of_kubernetes(chart, variant):
    documents = render(chart, values_of(variant))
    for document in documents:
        if document["kind"] == "ServiceMonitor":  # of the Prometheus operator; Kubernetes has no schema for it
            assert set(document["spec"]) == {"selector", "endpoints"}
            continue
        for version in KUBERNETES:
            kubernetes_validate.validate(document, version, strict=True)
    names = [(document["kind"], document["metadata"]["name"]) for document in documents]
    assert len(names) == len(set(names))


def test_lint_finds_nothing():
    report = helm_python.lint(CHART, strict=True)
    assert report["errors"] == []
    assert [m["error"] for m in report["messages"] if m["severity"] > 1] == []


@pytest.mark.parametrize("variant", VARIANTS)
def test_volumes_and_mounts_belong_together(chart, variant):
    documents = render(chart, values_of(variant))
    claims = {d["metadata"]["name"] for d in documents if d["kind"] == "PersistentVolumeClaim"}
    for _, template in pods(documents):
        volumes = {volume["name"]: volume for volume in template["spec"]["volumes"]}
        for container in template["spec"]["containers"]:
            assert {mount["name"] for mount in container["volumeMounts"]} == set(volumes)
        own = {v["persistentVolumeClaim"]["claimName"] for v in volumes.values() if "persistentVolumeClaim" in v}
        assert {name for name in own if name.startswith("demo-")} <= claims


@pytest.mark.parametrize("variant", VARIANTS)
def test_selectors_find_their_pods_and_no_others(chart, variant):
    documents = render(chart, values_of(variant))
    templates = [template["metadata"]["labels"] for _, template in pods(documents)]

    def chosen(selector):
        return [labels for labels in templates if selector.items() <= labels.items()]

    for document in documents:
        if document["kind"] in {"Service", "PodDisruptionBudget"}:
            selector = document["spec"]["selector"]
            assert len(chosen(selector.get("matchLabels", selector))) == 1, document["metadata"]["name"]
        if document["kind"] == "NetworkPolicy":
            assert chosen(document["spec"]["podSelector"]["matchLabels"]), document["metadata"]["name"]
    [default] = [d for d in documents if d["metadata"]["name"] == "demo-default"]
    assert len(chosen(default["spec"]["podSelector"]["matchLabels"])) == len(templates)


@pytest.mark.parametrize("variant", VARIANTS)
def test_commands_exist_and_the_service_takes_the_settings(chart, variant):
    containers = [c for _, template in pods(render(chart, values_of(variant))) for c in template["spec"]["containers"]]
    [server] = [c for c in containers if c["name"] == "server"]
    args = serve_args(server["args"][1:])
    settings = load_settings(overrides=overrides_of(args), environment={})
    assert settings.deployment.profile == "production"
    assert settings.deployment.port == server["ports"][0]["containerPort"]
    mounts = {mount["mountPath"] for mount in server["volumeMounts"]}
    system, models = settings.system, settings.models
    needed = [system.data, system.audit_keys, system.audit_sink, system.encryption_keys, models.public_key]
    needed += [settings.deployment.jwks, settings.deployment.certificate, args.config]
    for path in [*models.bundles, *filter(None, needed)]:
        assert any(path.is_relative_to(mount) for mount in mounts), path
    for backup in (c for c in containers if c["name"] == "backup"):
        assert backup_args(backup["args"][1:]).data == settings.system.data
    assert {c["args"][0] for c in containers if c.get("command") == ["cerebeam"]} <= set(COMMANDS)


def test_probes_are_routes_that_need_no_token(chart):
    [server] = [t["spec"]["containers"][0] for kind, t in pods(render(chart, {})) if kind == "Deployment"]
    paths = {server[probe]["httpGet"]["path"] for probe in ("startupProbe", "readinessProbe", "livenessProbe")}
    assert paths == {"/health", "/ready"}
    gate = (CHART.parents[2] / "service" / "web" / "gate.py").read_text(encoding="utf-8")
    assert all(f'"{path}"' in gate for path in paths)


def test_pretraining_has_the_grace_that_the_drill_needs_and_waits_for_all_agents(chart):
    documents = render(chart, values_of("gpu"))
    [job] = [d for d in documents if d["kind"] == "Job"]
    spec = job["spec"]["template"]["spec"]
    page = (CHART.parents[2] / "docs" / "benchmarks.md").read_text(encoding="utf-8")
    slowest_s = float(page.split("`sigterm_worst_s` ")[1].split(" s")[0])
    assert 8 * slowest_s < spec["terminationGracePeriodSeconds"] < 120
    [trainer] = spec["containers"]
    assert f"--nnodes={job['spec']['completions']}" in trainer["command"]
    # The first agent's name is its pod's host name in the headless service.
    endpoint = next(part for part in trainer["command"] if part.startswith("--rdzv-endpoint="))
    assert endpoint == f"--rdzv-endpoint={job['metadata']['name']}-0.{spec['subdomain']}:29500"
    assert spec["subdomain"] in {d["metadata"]["name"] for d in documents if d["kind"] == "Service"}
    # 75 is the code of a run that was stopped and saved (docs/training_internals.md).
    assert job["spec"]["podFailurePolicy"]["rules"][0]["onExitCodes"]["values"] == [75]


def test_the_archive_job_resumes_and_its_command_takes_the_arguments(chart):
    documents = render(chart, values_of("no-ingress"))
    [job] = [d for d in documents if d["kind"] == "Job"]
    [container] = job["spec"]["template"]["spec"]["containers"]
    parser = command_parser()
    args, beam = parser.parse_known_args(container["args"][1:])
    refuse_unknown(parser, beam)
    check_workers(beam)
    assert runner_of(beam)[1] == 4
    assert args.resume  # of a pod that was taken away; there is nothing to resume at first
    mounts = {mount["mountPath"]: mount.get("readOnly", False) for mount in container["volumeMounts"]}
    assert mounts == {
        "/recordings": True,
        "/models": True,
        "/answers": False,
        "/etc/cerebeam/salt": True,
        "/tmp": False,
    }
    for path in (*args.input, args.bundle, args.output, args.salt_file):
        assert any(Path(path).is_relative_to(mount) for mount in mounts), path
    other = render(chart, values_of("no-ingress") | {"archive": {"enabled": True, "run": "second"}})
    names = {d["metadata"]["name"] for each in (documents, other) for d in each if d["kind"] == "Job"}
    assert names == {"demo-archive-first", "demo-archive-second"}  # a job's template cannot be changed


def test_the_dashboard_listens_on_its_own_address_alone(chart):
    documents = render(chart, values_of("gpu"))
    [dashboard] = [d for d in documents if d["metadata"]["name"] == "demo-dashboard"]
    labels = dashboard["spec"]["template"]["metadata"]["labels"]
    [container] = dashboard["spec"]["template"]["spec"]["containers"]
    overrides = [arg.removeprefix("--set=") for arg in container["args"]]
    settings = load_settings(overrides=overrides, environment={})
    assert settings.deployment.profile == "dev"
    assert settings.deployment.host in LOOPBACK
    assert str(settings.training.output) == container["volumeMounts"][0]["mountPath"]
    assert str(PORT) in container["livenessProbe"]["exec"]["command"][-1]
    selectors = [d["spec"]["selector"] for d in documents if d["kind"] == "Service"]
    assert not any(selector.items() <= labels.items() for selector in selectors)


def changed(**changes):
    values = copy.deepcopy(values_of("default"))
    for path, value in changes.items():
        *parents, last = path.split("__")
        place = values
        for parent in parents:
            place = place.setdefault(parent, {})
        place[last] = value
    return values


@pytest.mark.parametrize(
    ("changes", "place"),
    [
        ({"image__tag": "latest"}, "tag"),
        ({"image__digest": "sha256:12"}, "digest"),
        ({"server__replicas": 0}, "replicas"),
        ({"server__replica": 2}, "replica"),
        ({"server__bundles": []}, "bundles"),
        ({"server__bundles": ["models"]}, "bundles"),
        ({"server__logLevel": "TRACE"}, "logLevel"),
        ({"server__set": ["deploymentport=1"]}, "set"),
        ({"server__corsOrigins": ["viewer.example.org"]}, "corsOrigins"),
        ({"server__gpus": 9}, "gpus"),
        ({"storage__size": "50"}, "size"),
        ({"storage__accessMode": "ReadOnlyMany"}, "accessMode"),
        ({"backup__schedule": "hourly"}, "schedule"),
        ({"ingress__host": "http://x"}, "host"),
        ({"networkPolicy__fromNamespaces": []}, "fromNamespaces"),
        ({"networkPolicy__toCIDRs": ["10.0.0.0"]}, "toCIDRs"),
        ({"mlflow__image": "ghcr.io/mlflow/mlflow:latest"}, "image"),
        ({"mlflow__image": "ghcr.io/mlflow/mlflow"}, "image"),
        ({"pretraining__graceSeconds": 5}, "graceSeconds"),
        ({"pretraining__shards": "corpus"}, "shards"),
        ({"postgres__password": "x"}, "postgres"),
        ({"tls__secretName": "Server_TLS"}, "secretName"),
        ({"models__publicKeyConfigMap": "Signing Key"}, "publicKeyConfigMap"),
        ({"encryption__existingSecret": "a_b"}, "existingSecret"),
        ({"encryption__key": "00ff"}, "encryption"),
        ({"audit__sinkClaim": "s3://bucket"}, "sinkClaim"),
        ({"dashboard__image": "registry.example.org/dashboard:latest"}, "image"),
        ({"dashboard__port": 80}, "dashboard"),
        ({"archive__workers": 1}, "workers"),
        ({"archive__hopSeconds": 0}, "hopSeconds"),
        ({"archive__bundle": "/etc/bundle"}, "bundle"),
        ({"archive__run": "../x"}, "run"),
        ({"archive__salt": "secret"}, "archive"),
    ],
)
def test_values_that_are_refused(chart, changes, place):
    with pytest.raises(helm_python.HelmError, match=place):
        chart.validate_schema(changed(**changes))
    with pytest.raises(helm_python.HelmError):
        chart.render(values=changed(**changes), name="demo")


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"server__replicas": 2}, "several servers cannot share SQLite"),
        ({"server__autoscaling": {"enabled": True}}, "several servers cannot share SQLite"),
        ({"server__replicas": 2, "config__existingSecret": "c"}, "several servers share their uploads"),
        (
            {"server__replicas": 2, "config__existingSecret": "c", "storage__accessMode": "ReadWriteMany"},
            "several servers need the same keys",
        ),
        ({"audit__sinkClaim": "checkpoints"}, "a key beside the log"),
    ],
)
def test_contradictions_are_refused_by_the_templates(chart, changes, problem):
    with pytest.raises(helm_python.HelmError, match=problem):
        render(chart, changed(**changes))
