"""make up and down without containers, and the files that describe the stack."""

import importlib.metadata
import json
import os
import re
import shutil
import subprocess
import sys
import time

import httpx
import pytest
import yaml

from service import stack
from service.settings import Settings, load_settings
from tests.service.live import ROOT, free_port


def cerebeam(*arguments):
    return stack.main(list(arguments))


@pytest.fixture
def options(things, tmp_path, monkeypatch):
    """Options of a stack of the API alone: the others listen to fixed ports."""
    monkeypatch.setattr(stack, "programs", only_api(stack.programs))
    given = ["--set", f"models.bundles=[{things.bundle}]", "--set", f"system.data={tmp_path}", "--set",
             f"deployment.port={free_port()}"]  # fmt: skip
    yield given
    cerebeam("down", *given)


def only_api(programs):
    return lambda *arguments: programs(*arguments)[:1]


def test_up_status_health_logs_down(options, capsys, tmp_path):
    assert cerebeam("health", *options) == 1
    assert "not running" in capsys.readouterr().out
    assert cerebeam("up", *options) == 0
    url = re.search(r"http://\S+", capsys.readouterr().out)[0]
    assert httpx.get(f"{url}/health").json() == {"status": "live"}
    pid = json.loads((tmp_path / "run" / "api.json").read_text())["pid"]
    assert cerebeam("up", *options) == 0  # again changes nothing
    assert json.loads((tmp_path / "run" / "api.json").read_text())["pid"] == pid
    capsys.readouterr()
    assert cerebeam("health", *options) == 0
    assert "ready" in capsys.readouterr().out
    assert cerebeam("logs", *options) == 0
    assert '"route": "/ready"' in capsys.readouterr().out
    assert cerebeam("down", *options) == 0
    assert "ended" in capsys.readouterr().out
    assert not (tmp_path / "run" / "api.json").exists()
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"{url}/health")
    assert cerebeam("down", *options) == 0
    assert "nothing was running" in capsys.readouterr().out


def test_a_stack_that_cannot_start_shows_the_last_line_of_its_log(things, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(stack, "programs", only_api(stack.programs))
    code = cerebeam("up", "--set", f"models.bundles=[{tmp_path}]", "--set", f"system.data={tmp_path / 'd'}", "--set",
                    f"deployment.port={free_port()}")  # fmt: skip
    err = capsys.readouterr().err
    assert (code, err.count("\n")) == (2, 1)
    assert "is no bundle" in err
    assert cerebeam("up") == 2
    assert "no bundle: cerebeam run makes one" in capsys.readouterr().err


def test_a_process_id_that_somebody_else_has_now_is_left_alone(tmp_path, monkeypatch):
    other = subprocess.Popen(["sleep", "30"])
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "api.json").write_text(json.dumps({"pid": other.pid, "ticks": "1"}))
    program = stack.Program("api", ("x",), "http://127.0.0.1:9/")
    assert stack.down([program], tmp_path) == ["nothing was running"]
    assert other.poll() is None
    other.kill()
    other.wait()
    time.sleep(0.01)
    assert stack.status([program], tmp_path) == ["api            not running"]


def test_the_configuration_file_holds_every_key_with_its_default():
    text = (ROOT / "config" / "config.yaml").read_text(encoding="utf-8")
    assert load_settings(ROOT / "config" / "config.yaml", (), {}) == Settings()
    given = yaml.safe_load(text)
    for section, fields in Settings().model_dump().items():
        assert set(given[section]) == set(fields)


def compose():
    return yaml.safe_load((ROOT / "docker-compose.yml").read_text(encoding="utf-8"))


def test_compose_has_what_was_promised_and_no_password():
    services = compose()["services"]
    ports = {port.split(":")[1] for one in services.values() for port in one.get("ports", [])}
    assert ports == {"8000", "5000", "3001", "8888"}
    assert all(port.startswith("127.0.0.1:") for one in services.values() for port in one.get("ports", []))
    assert {profile for one in services.values() for profile in one["profiles"]} == {"api", "full", "dev", "gpu"}
    text = (ROOT / "docker-compose.yml").read_text(encoding="utf-8")
    passwords = re.findall(r"\$\{(\w+_PASSWORD)(\S*?)[^}]*\}", text)
    assert {name for name, _ in passwords} == {"POSTGRES_PASSWORD", "REDIS_PASSWORD", "GRAFANA_PASSWORD"}
    assert all(":?" in one for one in re.findall(r"\$\{\w+_PASSWORD[^}]*\}", text))
    example = (ROOT / ".env.example").read_text(encoding="utf-8")
    assert all(f"{name}=\n" in example for name, _ in passwords)


def test_compose_builds_from_files_that_exist_and_sets_keys_that_exist():
    known = {f"CEREBEAM_{s}_{k}".upper() for s, fields in Settings().model_dump().items() for k in fields}
    for one in compose()["services"].values():
        build = one.get("build")
        assert build is None or (ROOT / build["dockerfile"]).is_file()
        for name in one.get("environment", {}):
            if name.startswith("CEREBEAM_") and name != "CEREBEAM_PROVIDER":
                assert name in known
        for volume in one.get("volumes", []):
            source = volume.split(":")[0]
            assert not source.startswith("./infra") or (ROOT / source).exists()


def test_images_copy_files_that_exist():
    for file in (ROOT / "infra" / "docker").glob("*.Dockerfile"):
        for sources in re.findall(r"^COPY (?!--from=)(.+) \S+$", file.read_text(encoding="utf-8"), re.M):
            assert all((ROOT / source).exists() for source in sources.split()), (file, sources)


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not installed")
def test_prometheus_takes_its_files():
    command = ["promtool", "check", "config", str(ROOT / "infra" / "monitoring" / "prometheus.yml")]
    assert subprocess.run(command, capture_output=True, timeout=30, check=False).returncode == 0


def test_alerts_name_metrics_that_exist(serve):
    server, _ = serve()
    server.refresh_gauges()
    names = {family.name for family in server.metrics.registry.collect()}
    text = (ROOT / "infra" / "monitoring" / "alerts.yml").read_text(encoding="utf-8")
    used = {re.sub("_total$", "", name) for name in re.findall(r"cerebeam_\w+", text)}
    assert used
    assert used <= names


def test_the_script_for_docker_is_one_line_without_docker(tmp_path):
    env = {"PATH": str(tmp_path)}
    for tool in ("bash", "dirname", "env"):
        (tmp_path / tool).symlink_to(shutil.which(tool))
    for arguments, message in ((["start"], "Docker is not installed"), ([], "give start"), (["burn"], "give start")):
        command = ["bash", str(ROOT / "docker-run.sh"), *arguments]
        done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=20, check=False)
        assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
        assert message in done.stderr


def test_commands_of_make_keep_bytecode():
    """Where it is not kept, each start of Python compiles thousands of files."""
    env = os.environ | {"MAKEFLAGS": "", "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(["make", "-s", "-f", "-", "environment"], cwd=ROOT, capture_output=True, text=True, env=env,
                          input="include Makefile\nenvironment: ; @env\n", timeout=20, check=True)  # fmt: skip
    assert "OMP_NUM_THREADS=" in done.stdout
    assert "PYTHONDONTWRITEBYTECODE" not in done.stdout


def test_make_lists_every_target_that_was_promised():
    done = subprocess.run(["make", "-s", "help"], cwd=ROOT, capture_output=True, text=True, timeout=20, check=True,
                          env=os.environ | {"MAKEFLAGS": ""})  # fmt: skip
    listed = {line.split(" - ")[0] for line in done.stdout.splitlines()}
    assert {"all", "quick", "up", "down", "logs", "train", "test", "shell", "help", "health", "status", "download",
            "clean", "format", "lint"} <= listed  # fmt: skip


def test_what_a_program_leaves_behind_is_ended_with_it(tmp_path):
    code = "import os, subprocess, sys; print(subprocess.Popen(['sleep', '60']).pid, flush=True); sys.stdin.read()"
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stdin=subprocess.PIPE, text=True,
                               start_new_session=True)  # fmt: skip
    child = int(process.stdout.readline())
    (tmp_path / "run").mkdir()
    note = json.dumps({"pid": process.pid, "ticks": stack._ticks(process.pid)})
    (tmp_path / "run" / "api.json").write_text(note)
    assert stack.down([stack.Program("api", ("x",), "http://127.0.0.1:9/")], tmp_path) == ["api            ended"]
    until = time.monotonic() + 5
    while stack._ticks(child) and time.monotonic() < until:
        time.sleep(0.01)
    assert stack._ticks(child) == ""
    process.wait()


def test_the_light_mlflow_has_no_server(things, monkeypatch):
    """mlflow-skinny brings the command `mlflow`, and Flask may be there for the dashboard: neither makes a server."""

    def named(stack_of):
        return {program.name: bool(program.command) for program in stack_of}

    settings = load_settings(overrides=[f"models.bundles=[{things.bundle}]"])
    assert named(stack.programs(settings, None, []))["mlflow"]
    found = importlib.metadata.distribution

    def without(name):
        if name == "mlflow":
            raise importlib.metadata.PackageNotFoundError(name)
        return found(name)

    monkeypatch.setattr(importlib.metadata, "distribution", without)
    assert not named(stack.programs(settings, None, []))["mlflow"]
