"""make bench-watch: is drift found, is a clean week left alone, does every query name a metric, does an alert arrive?

    python -m benchmarks watch [--recordings N] [--weeks N] [--skip-alert]

Weeks of 20 recordings of one site against the other 100. The threshold is what one family of seeds gives at a false
alarm rate of 2.5%; false alarms are then counted on another family, under that threshold and under that of the code.
"""

import argparse
import os
import re
import sys
import tempfile
from pathlib import Path

import numpy as np

from benchmarks.benches.parts.weeks import CLEAN, PLANTED, Change, drawn, facts
from benchmarks.harness import figure, machine, module
from evaluation.drift.drift import P_BELOW, SiteDrift, compare, smallest_p, threshold_of
from evaluation.drift.exposition import exposition
from evaluation.drift.facts import RecordingFacts
from service.monitoring.boards import dangling, read_boards, rule_expressions, series_of
from service.web.metrics import Metrics

WEEK = 20
SET_ON, MEASURED_ON = 1, 2
"""Families of seeds."""
FALSE_ALARMS = 0.025
TEST = "tests/service/monitoring/test_watching.py"


def clean_weeks(recordings: list[RecordingFacts], *, n: int, seed: int) -> list[tuple[SiteDrift, ...]]:
    """Return comparisons of clean weeks, each drawn with its reference from one family."""
    rng = np.random.default_rng(seed)
    weeks = []
    for _ in range(n):
        week, reference = drawn(rng, recordings, WEEK)
        weeks.append(compare(reference, week))
    return weeks


def found_share(change: Change, reference: list[RecordingFacts], *, n: int, n_recordings: int) -> tuple[float, str]:
    """Return the share of weeks in which the planted fact is among those that drifted, and the furthest in most."""
    rng, recordings = np.random.default_rng(0), facts(change, family=MEASURED_ON, n=n_recordings)
    hits, first = 0, list[str]()
    for _ in range(n):
        (site,) = compare(drawn(rng, reference, len(reference) - WEEK)[0], drawn(rng, recordings, WEEK)[0])
        drifted = site.drifted()
        hits += any(one.fact.startswith(change.fact) for one in drifted)
        first += [drifted[0].fact] if drifted else []
    return hits / n, max(set(first), key=first.count) if first else "nothing"


def drift(n_recordings: int, n_weeks: int) -> None:
    """Set the threshold on one family, count false alarms and planted changes on the other."""
    weeks = clean_weeks(facts(CLEAN, family=SET_ON, n=n_recordings), n=n_weeks, seed=SET_ON)
    threshold = threshold_of(weeks, false_alarms=FALSE_ALARMS)
    figure("drift_p_threshold", threshold, "probability")
    recordings = facts(CLEAN, family=MEASURED_ON, n=n_recordings)
    weeks = clean_weeks(recordings, n=n_weeks, seed=MEASURED_ON)
    figure("drift_false", np.mean([smallest_p(week) < P_BELOW for week in weeks]), f"of {n_weeks} clean weeks")
    figure("drift_false_at_threshold", np.mean([smallest_p(week) < threshold for week in weeks]), "of the same weeks")
    shares = {}
    for change in PLANTED:
        share, first = found_share(change, recordings, n=max(10, n_weeks // 10), n_recordings=n_recordings // 3)
        shares[change.name] = share
        figure(f"drift_found_{change.name}", share, f"of weeks, first by {first}")
    figure("drift_found", sum(share >= 0.95 for share in shares.values()), f"of {len(PLANTED)} planted changes")


def queries() -> None:
    """Count the queries and rules that name a metric which nothing gives."""
    example = exposition(compare(*(facts(CLEAN, family=SET_ON, n=10) for _ in range(2))), at=0.0)
    families = [(family.name, family.type) for family in Metrics().registry.collect()]
    families += [(name, "gauge") for name in re.findall(r"^# TYPE (\w+)", example, re.M)]
    rules = rule_expressions()
    known = series_of(families) | {name for name in rules if ":" in name} | {"up", "ALERTS"}
    expressions = [query.expr for board in read_boards() for panel in board.panels for query in panel.queries]
    figure("queries_checked", len(expressions) + len(rules), "queries and rules")
    figure("queries_dangling", len(dangling([*expressions, *rules.values()], known)), "queries and rules")


def alert() -> None:
    """Let a real alert go from the real service through real Prometheus and Alertmanager to a webhook."""
    name = "test_a_real_alert_reaches_a_webhook_and_every_query_is_answered"
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.xml"
        seconds, _ = module("pytest", "-q", "-m", "slow", f"{TEST}::{name}", f"--junitxml={report}")
        skipped = 'skipped="1"' in report.read_text()
    figure("alert_fired", 0 if skipped else 1, "1: the real alert arrived (0: Prometheus is not installed)")
    figure(
        "alert_test_s", seconds, "s, of which most is starting" + (" (under load)" if os.getloadavg()[0] > 2 else "")
    )


def main() -> int:
    """Run the bench."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recordings", type=int, default=120, help="clean recordings of each family (default 120)")
    parser.add_argument("--weeks", type=int, default=200, help="clean weeks drawn of them (default 200)")
    parser.add_argument("--skip-alert", action="store_true", help="leave Prometheus and Alertmanager alone")
    args = parser.parse_args()
    print(machine())
    queries()
    drift(args.recordings, args.weeks)
    if not args.skip_alert:
        alert()
    return 0


if __name__ == "__main__":
    sys.exit(main())
