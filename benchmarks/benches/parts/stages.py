"""Where the time of the whole chain goes: one hour from file to shard, by stage."""

import cProfile
import pstats
import time
from pathlib import Path

from benchmarks.harness import figure
from signals.readers.registry import open_recording
from signals.shards.moments import Moments
from signals.shards.records import encode_window
from signals.shards.tfrecord import write_shard
from signals.windows.plan import plan_recording
from signals.windows.prepare import prepare_recording
from signals.windows.profiles import PRETRAIN

STAGES: dict[str, tuple[str, ...]] = {
    "read": ("signals/recording/recording.py",),
    "condition": ("signals/conditioning/conditioning.py",),
    "artifacts": ("signals/description/artifacts.py",),
    "features": ("signals/description/features.py",),
    "quality": ("signals/description/quality.py",),
    "encode": ("signals/shards/records.py",),
}
"""Files whose functions, with all that they call, make up a stage."""


def stages(path: Path, output: Path) -> None:
    """Print seconds and shares of an hour's stages, under the profiler, which adds a few hundredths."""
    profiler = cProfile.Profile()
    started = time.perf_counter()
    profiler.enable()
    recording = open_recording(str(path))
    plan = plan_recording(recording, PRETRAIN, site_id="s", subject_id="p", source_sha256="0" * 64)
    windows = list(prepare_recording(recording, plan))
    records = [encode_window(window) for window in windows]
    profiler.disable()
    total = time.perf_counter() - started
    seconds = {stage: _entered(profiler, files) for stage, files in STAGES.items()}
    seconds["rest"] = total - sum(seconds.values())
    for stage, job in (
        ("moments", lambda: [Moments.of(window.data) for window in windows]),
        ("write", lambda: write_shard(output / "stages.tfrecord.snappy", records)),
    ):
        started = time.perf_counter()
        job()
        seconds[stage] = time.perf_counter() - started
        total += seconds[stage]
    print(f"  {path.name}: {total:.2f} s, {len(windows)} windows, {1000 * total / len(windows):.2f} ms each")
    for stage, value in seconds.items():
        print(f"    {stage:<10}{value:7.3f} s{value / total:8.1%}")
    figure(f"preprocess_ms_per_window_{path.stem.split('-')[0]}", 1000 * total / len(windows), "ms")


def _entered(profiler: cProfile.Profile, files: tuple[str, ...]) -> float:
    """Return the seconds spent in calls into `files` from other files."""
    total = 0.0
    for (filename, _, _), (*_, callers) in pstats.Stats(profiler).stats.items():  # type: ignore[attr-defined]
        if not filename.endswith(files):
            continue
        for (caller, _, _), (_, _, _, cumulative) in callers.items():
            if not caller.endswith(files):
                total += cumulative
    return total
