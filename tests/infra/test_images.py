"""What can be known of an image without building it: its instructions, what enters the build, what it would install."""

import fnmatch
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
IMAGES = [*sorted((ROOT / "infra" / "docker").glob("*.Dockerfile")), ROOT / "infra" / "dataflow" / "Dockerfile"]
OWN = [path for path in IMAGES if path.parent.name == "docker"]
HADOLINT = shutil.which("hadolint", path=str(Path(sys.executable).parent)) or shutil.which("hadolint")


def instructions(path):
    """A Dockerfile's instructions, continued lines joined."""
    text = re.sub(r"\\\n", " ", re.sub(r"^\s*#.*\n", "", path.read_text(encoding="utf-8"), flags=re.M))
    return [(line.split()[0], line.split(maxsplit=1)[1]) for line in text.splitlines() if line.strip()]


def ignored(name):
    """Whether .dockerignore keeps a file out of the build; the last rule that fits decides."""
    decision = False
    for rule in (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines():
        if rule and not rule.startswith("#"):
            pattern = rule.removeprefix("!")
            patterns = [pattern, pattern + "/*", pattern.removeprefix("**/"), "*/" + pattern.removeprefix("**/")]
            forms = [pattern, f"{pattern}/*"] if not pattern.startswith("**/") else patterns
            if any(fnmatch.fnmatchcase(name, form) for form in forms):
                decision = not rule.startswith("!")
    return decision


@pytest.mark.parametrize("path", IMAGES, ids=lambda path: path.stem)
def test_bases_and_packages_are_pinned_and_nothing_is_fetched_by_hand(path):
    stages = {rest.split(" AS ")[1] for word, rest in instructions(path) if word == "FROM" and " AS " in rest}
    for word, rest in instructions(path):
        if word == "FROM":
            assert re.fullmatch(r"[\w./-]+:[\w.-]*\d[\w.-]*( AS \w+)?", rest), rest
        assert word not in {"ADD", "MAINTAINER", "VOLUME"}
        assert not re.search(r"\b(curl|wget|sudo|git clone)\b", rest)
        if word == "COPY" and rest.startswith("--from=") and path in OWN:
            assert rest.split()[0].removeprefix("--from=") in stages
        for command in re.findall(r"pip install ([^&]+)", rest if word == "RUN" else ""):
            assert "--no-cache-dir" in command
            assert "constraint" in command or "--no-deps" in command or re.search(r" [a-z]+==[\d.]+ *$", command)


@pytest.mark.parametrize("path", OWN, ids=lambda path: path.stem)
def test_nobody_is_root_when_it_runs(path):
    users = [rest for word, rest in instructions(path) if word == "USER"]
    assert users
    assert re.fullmatch(r"[1-9]\d*(:[1-9]\d*)?", users[-1])  # a number: Kubernetes cannot check a name
    ports = {rest for word, rest in instructions(path) if word == "EXPOSE"}
    assert all(int(port) > 1024 for port in ports)


@pytest.mark.parametrize("path", IMAGES, ids=lambda path: path.stem)
def test_what_is_copied_is_there_and_enters_the_build(path):
    for word, rest in instructions(path):
        if word == "COPY" and not rest.startswith("--from="):
            for source in rest.split()[:-1]:
                place = ROOT / source
                files = [place] if place.is_file() else [p for p in place.rglob("*.py") if "__pycache__" not in p.parts]
                assert files, source
                assert not [f for f in files if ignored(f.relative_to(ROOT).as_posix())]


@pytest.mark.parametrize(
    "name",
    [".env", ".git/config", "keys/jwks.json", "data/a.edf", "var/records.db", "tests/conftest.py", "bench-output/x",
     "docs/audit.md", "service/__pycache__/x.pyc", "signals/.secret", "infra/helm/README.md", "run-output/model.onnx"],
)  # fmt: skip
def test_recordings_keys_and_history_never_enter_a_build(name):
    assert ignored(name)


def test_the_service_installs_neither_torch_nor_beam_nor_tensorflow():
    names = {
        re.match(r"[A-Za-z0-9_.-]+", line)[0].lower()
        for room in ("serving", "service")
        for line in (ROOT / room / "requirements.txt").read_text(encoding="utf-8").splitlines()
        if line and not line.startswith("#")
    }
    assert len(names) > 10
    assert not names & {"torch", "torch-geometric", "transformers", "apache-beam", "tensorflow", "tensorflow-cpu"}
    [install, own] = [rest for word, rest in instructions(ROOT / "infra" / "docker" / "service.Dockerfile") if "pip install" in rest for rest in rest.split("&&")]  # fmt: skip  # noqa: E501
    assert set(re.findall(r"-r (\S+)", install)) == {"serving/requirements.txt", "service/requirements.txt"}
    assert "--no-deps" in own  # what it runs with stands in the two files alone


def install_steps(path):
    """The commands of an image that make its environment: venv and pip; users and folders are the container's."""
    steps = [step.strip() for word, rest in instructions(path) if word == "RUN" for step in rest.split("&&")]
    return [re.sub(r"^pip ", "/opt/cerebeam/bin/pip ", step) for step in steps if re.search(r"\b(venv|pip)\b", step)]


@pytest.mark.slow  # an environment of several hundred MB each
@pytest.mark.parametrize(
    ("name", "works"),
    [
        ("service", ["cerebeam", "serve", "--help"]),
        ("dashboard", ["python", "-m", "service.dashboard.app", "--help"]),
        ("mlflow", ["mlflow", "server", "--help"]),
        ("jupyter", ["jupyter", "lab", "--version"]),
    ],
)
def test_install_steps_run_in_a_fresh_environment(tmp_path, name, works):
    path = ROOT / "infra" / "docker" / f"{name}.Dockerfile"
    source, made = tmp_path / "src", tmp_path / "cerebeam"
    for word, rest in instructions(path):
        if word == "COPY" and not rest.startswith("--from="):
            *sources, place = rest.split()
            for one in sources:
                target = source / place / one if place.endswith("/") else source / place
                target.parent.mkdir(parents=True, exist_ok=True)
                (shutil.copytree if (ROOT / one).is_dir() else shutil.copy)(ROOT / one, target)
    steps = install_steps(path)
    if not any("venv" in step for step in steps):  # of an image that installs into its base
        steps.insert(0, "python -m venv /opt/cerebeam")
    assert len(steps) >= 2
    environment = {k: v for k, v in os.environ.items() if k not in {"PYTHONPATH", "VIRTUAL_ENV"}}
    for step in steps:
        command = step.replace("/opt/cerebeam", str(made)).replace("python -m venv", f"{sys.executable} -m venv")
        result = subprocess.run(
            command, shell=True, cwd=source, env=environment, capture_output=True, text=True, timeout=1500, check=False
        )
        assert result.returncode == 0, (command, result.stderr[-2000:])
    run = subprocess.run(
        [str(made / "bin" / works[0]), *works[1:]], cwd=tmp_path, env=environment, capture_output=True, text=True,
        timeout=300, check=False,
    )  # fmt: skip
    assert run.returncode == 0, run.stderr[-2000:]
    listed = subprocess.run(
        [str(made / "bin" / "pip"), "list", "--format=freeze"], capture_output=True, text=True, timeout=300, check=True
    ).stdout
    if name == "service":
        assert not re.search(r"^(torch|apache-beam|tensorflow|tensorflow-cpu|transformers)==", listed, re.M)


@pytest.mark.skipif(HADOLINT is None, reason="hadolint is not installed")
@pytest.mark.parametrize("path", IMAGES, ids=lambda path: path.stem)
def test_hadolint_finds_nothing(path):
    result = subprocess.run(
        [HADOLINT, "--no-color", str(path)], capture_output=True, text=True, timeout=60, check=False
    )
    assert (result.returncode, result.stdout) == (0, "")
