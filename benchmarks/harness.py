"""What every bench shares: run a command and see its time and memory, name the machine, print a figure."""

import json
import os
import platform
import subprocess
import sys
import time
from datetime import date
from pathlib import Path

_LOOK_S = 0.05


def run(*command: str | Path, accepted: tuple[int, ...] = (0,)) -> tuple[float, float]:
    """Run a command to its end; returns (seconds, peak resident MB of the process itself).

    Another exit code than the accepted ones ends the bench.
    """
    started = time.perf_counter()
    process = subprocess.Popen([str(part) for part in command])
    peak_mb = 0.0
    while True:
        try:
            process.wait(timeout=_LOOK_S)
            break
        except subprocess.TimeoutExpired:
            peak_mb = max(peak_mb, _peak_mb(process.pid))
    if process.returncode not in accepted:
        sys.exit(f"{' '.join(map(str, command))} failed with code {process.returncode}")
    return time.perf_counter() - started, peak_mb


def _peak_mb(pid: int) -> float:
    """Return the largest resident memory of a running process so far, MB.

    Not its ru_maxrss: that begins with what the bench itself held when it started the process.
    """
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:  # it has just ended
        return 0.0
    return next((int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM")), 0.0)


def module(name: str, *args: str | Path, accepted: tuple[int, ...] = (0,)) -> tuple[float, float]:
    """Run a module of the project."""
    return run(sys.executable, "-m", name, *args, accepted=accepted)


def same_settings(folder: Path, **settings: int | str | None) -> None:
    """End the bench where outputs that a folder keeps were made with other settings; note these where none are noted.

    settings: those that outputs to be kept depend on.
    """
    noted = folder / "settings.json"
    if not noted.is_file():
        folder.mkdir(parents=True, exist_ok=True)
        noted.write_text(json.dumps(settings))
    for name, before in json.loads(noted.read_text()).items():
        if (now := settings.get(name)) != before:
            sys.exit(f"{folder} keeps outputs of {name} {before}, not {now}: give another --output, or delete it")


def figure(name: str, value: float, unit: str) -> None:
    """Print one figure for a program to read."""
    print(f"figure {name} {value:.4g} {unit}", flush=True)


def machine() -> str:
    """Return what these figures were measured on."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    cpu = next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), "?")
    return f"{date.today()}, {os.cpu_count()} x {cpu}, {platform.system()}, Python {platform.python_version()}, no GPU"
