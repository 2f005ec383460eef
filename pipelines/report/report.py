"""run.json and report.html of a run: the facts, then the page made of them alone."""

import json
import platform
from collections.abc import Mapping, Sequence
from dataclasses import replace
from importlib.metadata import version
from typing import Any

from pipelines.report.facts import RunFacts, Timings
from pipelines.report.page import page
from pipelines.report.traces import Example
from pipelines.runs.accounting import Counts
from pipelines.runs.storage import join, read_text, write_text
from signals.shards.manifest import MANIFEST, REPORT, RUN

MOST_EXAMPLES = 12


def run_facts(root: str, *, complaint: str | None, options: Mapping[str, Any], examples: Sequence[Example]) -> RunFacts:
    """Return the facts of the run whose manifest.json lies in `root`, but for what only the launcher knows."""
    manifest = json.loads(read_text(join(root, MANIFEST)))
    signal = manifest["modality"]
    return RunFacts(
        complaint=complaint,
        profile=manifest["profile"],
        ch_names=tuple(signal["ch_names"]),
        sfreq=signal["sfreq"],
        unit=signal["unit"],
        config_hash=manifest["config_hash"],
        code_version=manifest["code_version"],
        salt_id=manifest["salt_id"],
        options=dict(options),
        versions={"python": platform.python_version()}
        | {name: version(name) for name in ("apache-beam", "numpy", "scipy", "mne")},
        counts=Counts.from_dict(manifest["counts"]),
        shard_bytes=tuple(sorted(shard["n_bytes"] for shard in manifest["shards"])),
        examples=choose(examples, MOST_EXAMPLES),
    )


def choose(examples: Sequence[Example], most: int) -> tuple[Example, ...]:
    """Return at most so many examples, evenly spread over the sites in order of their names."""
    ordered = sorted(examples, key=lambda example: example.site_id)
    step = max(1.0, len(ordered) / most)
    return tuple(ordered[int(i * step)] for i in range(min(most, len(ordered))))


def merged_facts(root: str, parts: Sequence[RunFacts]) -> RunFacts:
    """Return the facts of the set in `root` that was merged from others, with the first example of each site."""
    examples = {example.site_id: example for part in reversed(parts) for example in part.examples}
    carded = sorted({site for part in parts for site in part.options.get("carded_sites", ())})
    options = {**parts[0].options, **({"carded_sites": carded} if carded else {})}
    facts = run_facts(root, complaint=None, options=options, examples=())
    return replace(facts, examples=tuple(examples[site] for site in sorted(examples))[:MOST_EXAMPLES])


def read_facts(root: str) -> RunFacts:
    """Return the facts that lie in a run's folder."""
    return RunFacts.from_dict(json.loads(read_text(join(root, RUN))))


def write_report(root: str, facts: RunFacts) -> None:
    """Write run.json and report.html; the page is made from what a reader of run.json gets."""
    as_json = json.dumps(facts.to_dict(), ensure_ascii=False, sort_keys=True, allow_nan=False)
    html = page(RunFacts.from_dict(json.loads(as_json)))
    write_text(join(root, RUN), as_json + "\n")
    write_text(join(root, REPORT), html)


def add_timings(root: str, *, wall_s: float, counters: Mapping[str, Mapping[str, int]], runner: str) -> None:
    """Add to a report what is known only when the pipeline has ended: time, and the counters of its stages.

    They differ from run to run, so they stand in run.json and the page alone, never in the manifest.
    """
    stages = {name: dict(values) for name, values in counters.items()}
    timings = Timings(wall_s=round(wall_s, 3), runner=runner, stages=stages)
    write_report(root, replace(read_facts(root), timings=timings))
