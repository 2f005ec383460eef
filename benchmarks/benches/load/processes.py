"""What a process and those below it hold, as Linux counts it (proc(5))."""

from contextlib import suppress
from pathlib import Path


def family(pid: int) -> list[int]:
    """Return a process and all below it. A child may have a smaller number than its parent: numbers start again."""
    found = [pid]
    for each in found:
        listings: list[Path] = []
        with suppress(OSError):  # it has just ended
            listings += Path(f"/proc/{each}/task").glob("*/children")
        for listing in listings:
            with suppress(OSError):  # that thread has
                found += map(int, listing.read_text().split())
    return found


def memory_mb(pid: int, field: str) -> float:
    """Return a memory field of a process, such as `VmRSS` (all), `RssAnon` (its own) or `VmHWM` (peak), or 0."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0.0
    return next((int(line.split()[1]) / 1024 for line in lines if line.startswith(f"{field}:")), 0.0)
