"""make up, down, health, status, logs: the API and the programs beside it as processes, without containers.

MLflow, Prometheus and Alertmanager are started where they are installed, and named where they are not. Process ids and
logs lie below system.data; a process that ended is noticed by its id and the time it was started.
"""

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from service.settings import Settings, SettingsError, load_settings
from signals.command_line import Parser
from signals.files import atomic_file

ROOT = Path(__file__).parent.parent
MONITORING = ROOT / "infra" / "monitoring"
_START_S, _END_S = 90.0, 40.0
_QUIET = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
"""Registry and runs need none of the workers that MLflow's server starts beside itself."""
VIEWER = "/app"
"""Where the API shows recordings (service/viewer/pages.py)."""
_TICKS = 21
"""Place of a process's start time behind its name in /proc/PID/stat (proc(5), field 22)."""


@dataclass(frozen=True)
class Program:
    """One process of the stack."""

    name: str
    command: tuple[str, ...]
    """Empty where it is not installed."""
    url: str
    """Answers 200 when it is ready."""


@dataclass(frozen=True)
class Running:
    """A process that was started."""

    pid: int
    ticks: str
    """When it began, by the kernel: another process may have got its id since."""


def programs(settings: Settings, config: Path | None, overrides: Sequence[str]) -> list[Program]:
    """Return what belongs to the stack, in order of start."""
    host, port, data = settings.deployment.host, settings.deployment.port, settings.system.data.resolve()
    options = [part for one in overrides for part in ("--set", one)]
    serve = (sys.executable, "-m", "service.serve", *(["--config", str(config)] if config else []), *options)
    prometheus, alerts = (shutil.which(name) for name in ("prometheus", "prometheus-alertmanager"))
    mlflow = str(Path(sys.executable).parent / "mlflow") if _has_mlflow_server() else None
    store = ("--backend-store-uri", settings.models.registry, "--artifacts-destination", str(data / "mlartifacts"))
    return [
        Program("api", serve, f"http://{host}:{port}/ready"),
        Program("dashboard", (
            sys.executable, "-m", "service.dashboard.app", *(["--config", str(config)] if config else []), *options,
        ) if _has_dash() else (), f"http://{host}:8050/ready"),
        Program("mlflow", (
            mlflow, "server", "--host", host, "--port", "5000", "--workers", "1", *store,
        ) if mlflow else (), f"http://{host}:5000/health"),
        Program("prometheus", (
            prometheus, f"--config.file={MONITORING / 'prometheus.yml'}", f"--storage.tsdb.path={data / 'prometheus'}",
            f"--web.listen-address={host}:9090",
        ) if prometheus else (), f"http://{host}:9090/-/ready"),
        Program("alertmanager", (
            alerts, f"--config.file={MONITORING / 'alertmanager.yml'}", f"--storage.path={data / 'alertmanager'}",
            f"--web.listen-address={host}:9093", "--cluster.listen-address=",
        ) if alerts else (), f"http://{host}:9093/-/ready"),
    ]  # fmt: skip


def _has_dash() -> bool:
    from importlib.util import find_spec

    return find_spec("dash") is not None


def _has_mlflow_server() -> bool:
    """Return whether MLflow is installed whole: its light form, mlflow-skinny, has the command and no server."""
    from importlib.metadata import PackageNotFoundError, distribution

    try:
        distribution("mlflow")
    except PackageNotFoundError:
        return False
    return True


def up(stack: Sequence[Program], folder: Path) -> list[str]:
    """Start what is not running, wait for each, and return a line per program.

    Raises SettingsError with the end of its log for one that does not become ready.
    """
    lines = []
    for program in stack:
        if not program.command:
            lines.append(f"{program.name:<14} not installed here")
            continue
        if _running(folder, program.name) is None:
            _start(program, folder)
        _wait(program, folder)
        lines.append(f"{program.name:<14} {_address(program.url)}")
    return lines


def down(stack: Sequence[Program], folder: Path) -> list[str]:
    """End what is running, the last started first, and return a line per program that was."""
    lines = []
    for program in reversed(stack):
        running = _running(folder, program.name)
        if running is None:
            continue
        os.kill(running.pid, signal.SIGTERM)
        until = time.monotonic() + _END_S
        while _running(folder, program.name) is not None and time.monotonic() < until:
            _reap(running.pid)
            time.sleep(0.05)
        _end_group(running.pid)
        _note(folder, program.name).unlink(missing_ok=True)
        lines.append(f"{program.name:<14} ended")
    return lines or ["nothing was running"]


def _end_group(pid: int) -> None:
    """End what a program has left behind: MLflow's server forgets its children. The group is the program's own."""
    try:
        os.killpg(pid, signal.SIGKILL)
    except ProcessLookupError:
        return


def _address(url: str) -> str:
    return "/".join(url.split("/")[:3])


def status(stack: Sequence[Program], folder: Path) -> list[str]:
    """Return a line per program: running and ready, running, not running, not installed."""
    lines = []
    for program in stack:
        running = _running(folder, program.name)
        state = "not running" if program.command else "not installed here"
        if running is not None:
            state = f"running, process {running.pid}, {'ready' if _answers(program.url) else 'not ready'}"
        lines.append(f"{program.name:<14} {state}")
    return lines


def healthy(stack: Sequence[Program], folder: Path) -> bool:
    """Return whether everything that is installed runs and is ready."""
    return all(_running(folder, one.name) is not None and _answers(one.url) for one in stack if one.command)


def _start(program: Program, folder: Path) -> None:
    (folder / "log").mkdir(parents=True, exist_ok=True)
    (folder / "run").mkdir(parents=True, exist_ok=True)
    env = os.environ | {"PYTHONPATH": f"{ROOT}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"} | _QUIET
    with _log(folder, program.name).open("ab") as log:
        process = subprocess.Popen(
            program.command, stdout=log, stderr=log, stdin=subprocess.DEVNULL, start_new_session=True, env=env
        )
    with atomic_file(_note(folder, program.name)) as file:
        file.write(json.dumps(asdict(Running(process.pid, _ticks(process.pid)))).encode())


def _wait(program: Program, folder: Path) -> None:
    until = time.monotonic() + _START_S
    while not _answers(program.url):
        running = _running(folder, program.name)
        if running is None or time.monotonic() > until:
            lines = _log(folder, program.name).read_text(errors="replace").splitlines() or ["no log"]
            why = "ended" if running is None else f"was not ready in {_START_S:g} s"
            raise SettingsError(f"{program.name} {why}: {lines[-1][:300]}")
        _reap(running.pid)
        time.sleep(0.1)


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=2) as reply:
            return bool(reply.status == 200)
    except (urllib.error.URLError, OSError):
        return False


def _running(folder: Path, name: str) -> Running | None:
    """Return the process that was started under a name, None where it ended."""
    try:
        running = Running(**json.loads(_note(folder, name).read_text()))
    except (OSError, ValueError, TypeError):
        return None
    return running if running.ticks and _ticks(running.pid) == running.ticks else None


def _ticks(pid: int) -> str:
    """Return when a process began, "" where there is none or it is dead already."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return ""
    return "" if fields[0] == "Z" else fields[_TICKS - 2]


def _reap(pid: int) -> None:
    """Take note of the end of a child, so that it is no zombie."""
    try:
        os.waitpid(pid, os.WNOHANG)
    except ChildProcessError:
        return


def _note(folder: Path, name: str) -> Path:
    return folder / "run" / f"{name}.json"


def _log(folder: Path, name: str) -> Path:
    return folder / "log" / f"{name}.log"


def main(argv: Sequence[str] | None = None) -> int:
    """Run one of the commands; returns 0, 1 where health fails, or 2 with one line."""
    parser = Parser(prog="service.stack", description=__doc__)
    parser.add_argument("command", choices=("up", "down", "status", "health", "logs"))
    parser.add_argument("--config", type=Path, help="YAML file of five sections")
    parser.add_argument("--set", action="append", default=[], metavar="SECTION.KEY=VALUE", help="any key")
    args = parser.parse_args(argv)
    try:
        settings = load_settings(args.config, args.set)
        return run(args, settings)
    except SettingsError as error:
        print(f"service.stack: {error}", file=sys.stderr)  # noqa: T201
        return 2


def run(args: argparse.Namespace, settings: Settings) -> int:
    """Do what the command line asks for; returns the exit code."""
    folder, stack = settings.system.data, programs(settings, args.config, args.set)
    if args.command == "up":
        if not settings.models.bundles and not settings.models.registered:
            raise SettingsError("no bundle: cerebeam run makes one, or set models.bundles")
        lines = up(stack, folder)
        lines.append(f"{'viewer':<14} {_address(stack[0].url)}{VIEWER}")
    elif args.command == "down":
        lines = down(stack, folder)
    elif args.command == "logs":
        logs = sorted((folder / "log").glob("*.log"))
        lines = [
            f"{path.stem}: {line}" for path in logs for line in path.read_text(errors="replace").splitlines()[-20:]
        ]
    else:
        lines = status(stack, folder)
    print("\n".join(lines))  # noqa: T201
    return 1 if args.command == "health" and not healthy(stack, folder) else 0


if __name__ == "__main__":
    sys.exit(main())
