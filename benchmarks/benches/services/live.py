"""make bench-live: beds, answers, alarms and viewers over a running server; docs/live.md has the figures and aims.

    python -m benchmarks live [--parts answers difference kills frozen memory monitored] [--bundle DIR]
        [--beds 8] [--seconds 180] [--kills 20] [--minutes 4] [--speed 8] [--hours 72] [--most-s 240] [--log FILE]
        [--small]

Server and sources share the machine. `monitored` runs --hours of synthetic monitoring in stretches of --stretch-h; each
is a line of --log, so that the command goes on where it was stopped (--most-s ends it between two). Alarms need a model
that knows the synthetic patterns: one is fitted (benchmarks/benches/beds/reader.py) where no --bundle is given.
"""

import argparse
import contextlib
import json
import sqlite3
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.benches.beds.monitored import Stretch, stretch
from benchmarks.benches.beds.reader import FITTED_SEEDS, write_reader
from benchmarks.benches.beds.scores import show
from benchmarks.benches.beds.sources import Looped, Source, viewers_lag_ms
from benchmarks.benches.load.server import Process, service
from benchmarks.harness import figure, machine
from serving.model import open_model
from signals.modality import EEG_1020
from signals.readers.memory import recording_of_array
from signals.readers.registry import open_recording
from signals.streams.stream import Stream
from signals.windows.prepare import prepare_recording
from synthetic.recordings.monitoring import monitoring_day

PARTS = ("answers", "difference", "kills", "frozen", "memory", "monitored")
KILL_STATUS_S, KILL_LEADS_S, KILL_HOURS = (300, 900), (1260, 1380), 0.5
_FIRST_SEED = 20_000
ALARM_COLUMNS = "bed, condition, severity, round(onset_s), cleared_at is not null"


def samples_of(file: Path) -> Looped:
    """Return half an hour with status and disconnected leads as samples, at their own rate."""
    monitoring_day(file, hours=KILL_HOURS, seed=_FIRST_SEED - 1, status_s=KILL_STATUS_S, leads_off_s=KILL_LEADS_S)
    recording = open_recording(str(file))
    x = np.asarray(recording.read(range(19), segment=0), dtype=np.float32)
    file.unlink()
    return Looped(x, x.shape[1] / recording.sfreqs[0], sfreq=recording.sfreqs[0], ch_names=EEG_1020.ch_names)


def begun(samples: Looped, *, seconds: float, speed: float) -> Looped:
    """Return the same samples from now on."""
    return replace(samples, seconds=seconds, speed=speed, began=time.monotonic())


def answers(bundle: Path, work: Path, samples: Looped, args: argparse.Namespace) -> None:
    """Print how late answers come, all beds at once in real time."""
    with Process(work, service(bundle, work)) as server:
        sources = [
            Source(f"http://127.0.0.1:{server.port}", f"{n}", begun(samples, seconds=args.seconds, speed=1.0))
            for n in range(args.beds)
        ]
        for one in sources:
            one.wait(args.seconds + 120)
    late = [value for one in sources for value in one.late_ms]
    figure("live_answers", len(late), f"of_{args.beds}_beds")
    figure("live_answer_p50_ms", float(np.median(late)), "ms")
    figure("live_answer_p99_ms", float(np.percentile(late, 99)), "ms")


def difference(bundle: Path, work: Path, samples: Looped, args: argparse.Namespace) -> None:
    """Print the largest difference between answers over the socket and those of the file under the stream's plan."""
    seconds = min(args.seconds, samples.seconds)
    with Process(work, service(bundle, work)) as server:
        source = Source(f"http://127.0.0.1:{server.port}", "1", begun(samples, seconds=seconds, speed=1e6))
        source.wait(600)
    x = samples.x[:, : round(seconds * samples.sfreq)]
    model = open_model(bundle)
    profile = replace(model.bundle.profile, hop_s=10.0)
    stream = Stream(profile, ch_names=samples.ch_names, sfreq=samples.sfreq, hop_s=10.0, want=model.intake.want)
    plans, version_at = {}, {}
    for at in range(0, x.shape[1], 4 * round(samples.sfreq)):
        for window in stream.append(x[:, at : at + 4 * round(samples.sfreq)], first=at):
            plans[window.plan_version], version_at[window.start_s] = stream.plan.plan, window.plan_version
    for window in stream.finish():
        plans[window.plan_version], version_at[window.start_s] = stream.plan.plan, window.plan_version
    recording = recording_of_array(x, ch_names=samples.ch_names, sfreq=samples.sfreq)
    offline = {}
    for version, plan in plans.items():
        if plan is None:
            continue
        for window in prepare_recording(recording, replace(plan, header=recording.header), want=model.intake.want):
            if version_at.get(window.start_s) == version:
                offline[window.start_s] = model.answers([window])[0].class_probabilities
    live = {one["start_s"]: one["answer"]["class_probabilities"] for one in source.outcomes if one["answer"]}
    apart = [abs(live[at][name] - offline[at][name]) for at in live.keys() & offline.keys() for name in live[at]]
    figure("live_replay_hops", len(live), f"of_{len(version_at)}_live, {len(live.keys() & offline.keys())} offline too")
    figure("live_replay_difference", max(apart), "probability")


def rows_of(work: Path, query: str) -> list[tuple[Any, ...]]:
    """Return rows of a server's records."""
    with contextlib.closing(sqlite3.connect(work / "var" / "records.db", timeout=30)) as records:
        return records.execute(query).fetchall()


def kills(bundle: Path, work: Path, samples: Looped, args: argparse.Namespace) -> None:
    """Print hops and alarms that are lost or doubled when the server is killed again and again."""
    n_beds, speed = 3, 8.0
    (work / "whole").mkdir()
    with Process(work / "whole", service(bundle, work / "whole", "system.workers=1")) as server:
        whole = Source(f"http://127.0.0.1:{server.port}", "0", begun(samples, seconds=samples.seconds, speed=1e6), 2.0)
        whole.wait(900)
    rng, n_killed, server = np.random.default_rng(0), 0, None
    command = service(bundle, work, "system.workers=1")
    server = Process(work, command)
    sources = [
        Source(f"http://127.0.0.1:{server.port}", f"{n}", begun(samples, seconds=samples.seconds, speed=speed), 2.0)
        for n in range(n_beds)
    ]
    while n_killed < args.kills and any(one.thread.is_alive() for one in sources):
        time.sleep(float(rng.uniform(0.5, 3.0)))
        server.process.kill()
        server.process.wait()
        n_killed += 1
        server = Process(work, command, port=server.port)
    for one in sources:
        one.wait(900)
    server.__exit__()
    wanted = {10.0 * n for n in range(len(whole.outcomes))}
    found = rows_of(work, "select stream_id, start_s from hops")
    figure("live_kills", n_killed, "kills")
    figure("live_hops_lost", n_beds * len(wanted) - len(set(found)), f"of_{n_beds * len(wanted)}")
    figure("live_hops_doubled", len(found) - len(set(found)), "hops")
    _alarms_lost(work, n_beds)


def _alarms_lost(work: Path, n_beds: int) -> None:
    query = f"select {ALARM_COLUMNS} from alarms where condition != 'no answer: no samples'"
    wanted = [row[1:] for row in rows_of(work / "whole", query)]
    found = rows_of(work, query)
    lost = sum(max(0, wanted.count(row) - sum(one == (f"{n}", *row) for one in found))
               for n in range(n_beds) for row in set(wanted))  # fmt: skip
    print(f"  without a kill: {wanted}\n  with kills: {sorted(found)}")
    figure("alarms_lost", lost, f"of_{n_beds * len(wanted)}")
    figure("alarms_doubled", len(found) + lost - n_beds * len(wanted), "alarms")


def frozen(bundle: Path, work: Path, samples: Looped, args: argparse.Namespace) -> None:
    """Print the lag of nineteen viewers with and without a twentieth that reads nothing, in turns."""
    lags: dict[bool, list[float]] = {False: [], True: []}
    seconds, speed = args.seconds / 8, 8.0
    with Process(work, service(bundle, work)) as server:
        url = f"http://127.0.0.1:{server.port}"
        source = Source(url, "1", begun(samples, seconds=1e6, speed=speed))
        time.sleep(2.0)
        for is_frozen in (False, True) * 2:
            lags[is_frozen] += viewers_lag_ms(url, "1", source.samples, n_viewers=20, frozen=is_frozen, seconds=seconds)
    p99 = {key: float(np.percentile(values, 99)) for key, values in lags.items()}
    figure("live_display_lag_p95_ms", float(np.percentile(lags[False], 95)), "ms")
    figure("live_others_p99_ms", p99[True], "ms")
    figure("live_others_p99_ratio", p99[True] / p99[False], "ratio")


def memory(bundle: Path, work: Path, samples: Looped, args: argparse.Namespace) -> None:
    """Print how much the server's memory grows while beds stream at --speed times real time."""
    sizes = []
    with Process(work, service(bundle, work)) as server:
        url, seconds = f"http://127.0.0.1:{server.port}", 60 * args.minutes * args.speed
        sources = [
            Source(url, f"{n}", begun(samples, seconds=seconds, speed=args.speed), 0.25 * args.speed)
            for n in range(args.beds)
        ]
        until = time.monotonic() + 60 * args.minutes
        while time.monotonic() < until:
            sizes.append(server.rss_mb())
            time.sleep(1.0)
        for one in sources:
            one.wait(300)
    fifth = max(1, len(sizes) // 5)
    before, after = float(np.median(sizes[fifth : 2 * fifth])), float(np.median(sizes[-fifth:]))
    print(f"  {before:.0f} MB in the second fifth, {after:.0f} MB in the last")
    figure("live_memory_minutes", args.minutes * args.speed, f"minutes_of_{args.beds}_beds")
    figure("live_memory_growth", after / before - 1, "share")


def monitored(bundle: Path, args: argparse.Namespace) -> None:
    """Run what is missing of the hours, stretch by stretch, and print what all of them come to."""
    done = read_log(args.log) if args.log else []
    model, until = open_model(bundle), time.monotonic() + args.most_s
    n_stretches = max(1, round(args.hours / args.stretch_h))
    known = {one.seed for one in done if one.hours == args.stretch_h}
    for seed in range(_FIRST_SEED, _FIRST_SEED + n_stretches):
        if seed in known:
            continue
        if time.monotonic() > until:
            print(f"  {len(done)} of {n_stretches} stretches: run the command again for the rest")
            break
        done.append(stretch(model, seed=seed, hours=args.stretch_h))
        if args.log:
            with args.log.open("a", encoding="utf-8") as log:
                log.write(json.dumps(asdict(done[-1])) + "\n")
        print(f"  stretch {seed - _FIRST_SEED}: {done[-1].alarms}", flush=True)
    show(done)


def read_log(path: Path) -> list[Stretch]:
    """Return the stretches of a log; a line that was cut off is left out."""
    found = []
    for line in path.read_text(encoding="utf-8").splitlines() if path.is_file() else ():
        with contextlib.suppress(ValueError, TypeError):
            found.append(Stretch(**json.loads(line)))
    return found


def main(argv: Sequence[str] | None = None) -> None:
    """Run the parts."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--bundle", type=Path, help="a bundle of six classes; by default one is fitted")
    parser.add_argument("--beds", type=int, default=8)
    parser.add_argument("--seconds", type=float, default=180.0, help="of answers and difference; an eighth of frozen")
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--minutes", type=float, default=4.0, help="wall time of memory")
    parser.add_argument("--speed", type=float, default=8.0, help="of memory, times real time")
    parser.add_argument("--hours", type=float, default=72.0, help="of monitored, all stretches together")
    parser.add_argument("--stretch-h", type=float, default=3.0)
    parser.add_argument("--most-s", type=float, default=240.0, help="monitored begins no stretch after so long")
    parser.add_argument("--log", type=Path, help="a line of JSON per stretch; what is there is not run again")
    parser.add_argument("--small", action="store_true", help="two beds, two kills, half an hour: for a look")
    args = parser.parse_args(argv)
    if args.small:
        args.beds, args.seconds, args.kills, args.minutes, args.hours, args.stretch_h = 2, 80.0, 2, 0.5, 0.5, 0.5
    if not sys.platform.startswith("linux"):
        sys.exit("benchmarks: bench-live reads /proc, which this system has not")
    print(machine())
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        bundle = args.bundle or write_reader(work / "reader", seeds=FITTED_SEEDS[: 4 if args.small else None])
        samples = samples_of(work / "bed.edf")
        runs = {"answers": answers, "difference": difference, "kills": kills, "frozen": frozen, "memory": memory}
        for part in args.parts:
            (work / part).mkdir()
            if part == "monitored":
                monitored(bundle, args)
            else:
                runs[part](bundle, work / part, samples, args)


if __name__ == "__main__":
    main()
