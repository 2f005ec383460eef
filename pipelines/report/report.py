"""run.json and report.html of a run: the facts, then the page made of them alone."""

import json
import platform
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from typing import Any

from pipelines.report.page import page
from pipelines.runs.storage import join, read_text, write_text
from pipelines.stages.example_traces import Example, choose
from signals.shards.manifest import MANIFEST, REPORT, RUN

SCHEMA_VERSION = 1
MOST_EXAMPLES = 12


def run_facts(
    root: str, *, complaint: str | None, options: Mapping[str, Any], examples: Sequence[Example]
) -> dict[str, Any]:
    """Return the facts of the run whose manifest.json lies in `root`, but for what only the launcher knows."""
    manifest = json.loads(read_text(join(root, MANIFEST)))
    signal = manifest["modality"]
    return {
        "schema_version": SCHEMA_VERSION,
        "complaint": complaint,
        "profile": manifest["profile"],
        "signal": {"ch_names": signal["ch_names"], "sfreq": signal["sfreq"], "unit": signal["unit"]},
        "config_hash": manifest["config_hash"],
        "code_version": manifest["code_version"],
        "salt_id": manifest["salt_id"],
        "options": dict(options),
        "versions": {"python": platform.python_version()}
        | {name: version(name) for name in ("apache-beam", "numpy", "scipy", "mne")},
        "counts": manifest["counts"],
        "shard_bytes": sorted(shard["n_bytes"] for shard in manifest["shards"]),
        "examples": choose(examples, MOST_EXAMPLES),
        "timings": None,
    }


def merged_facts(root: str, parts: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the facts of the set in `root` that was merged from others, with the first example of each site."""
    examples = {example["site_id"]: example for part in reversed(parts) for example in part["examples"]}
    facts = run_facts(root, complaint=None, options=parts[0]["options"], examples=())
    return facts | {"examples": [examples[site] for site in sorted(examples)][:MOST_EXAMPLES]}


def write_report(root: str, facts: Mapping[str, Any]) -> None:
    """Write run.json and report.html; the page is made from what a reader of run.json gets."""
    as_json = json.dumps(facts, ensure_ascii=False, sort_keys=True, allow_nan=False)
    html = page(json.loads(as_json))
    write_text(join(root, RUN), as_json + "\n")
    write_text(join(root, REPORT), html)


def add_timings(root: str, *, wall_s: float, counters: Mapping[str, Mapping[str, int]], runner: str) -> None:
    """Add to a report what is known only when the pipeline has ended: time, and the counters of its stages.

    They differ from run to run, so they stand in run.json and the page alone, never in the manifest.
    """
    facts = json.loads(read_text(join(root, RUN)))
    facts["timings"] = {
        "wall_s": round(wall_s, 3),
        "runner": runner,
        "stages": {k: dict(v) for k, v in counters.items()},
    }
    write_report(root, facts)


def stage_counters(result: Any) -> dict[str, dict[str, int]]:
    """Return the counters by stage of a pipeline's result; empty where the runner gives none."""
    stages: dict[str, dict[str, int]] = {}
    for entry in result.metrics().query()["counters"]:
        value = entry.committed if entry.committed is not None else entry.attempted
        name = entry.key.metric
        stages.setdefault(name.namespace, {})
        stages[name.namespace][name.name] = stages[name.namespace].get(name.name, 0) + int(value or 0)
    return {stage: dict(sorted(values.items())) for stage, values in sorted(stages.items())}
