"""cerebeam drift: is what comes in still what a model was trained on? Each site's recordings against the corpus.

    cerebeam drift --corpus SHARDS --current SHARDS_OR_ARCHIVE [--bundle DIR] [--metrics FILE]

Both sides are finished runs: shard sets of `cerebeam preprocess`, or answers of `cerebeam archive`. With a bundle the
embeddings of shard sets are compared too. Ends with 0, with 1 where something has drifted and --fail is given.
"""

import json
import sys
import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict
from itertools import islice
from pathlib import Path

import numpy as np

from evaluation.drift.drift import SiteDrift, compare
from evaluation.drift.exposition import exposition
from evaluation.drift.facts import RecordingFacts, read_facts, with_vectors
from serving.runtime import embed
from signals.bundles.bundle import Bundle, BundleError, load_bundle
from signals.bundles.inputs import windows_of_shards
from signals.command_line import Parser
from signals.files import atomic_file
from signals.progress import progress
from signals.shards.manifest import MANIFEST, ManifestError
from signals.window import Window

_WINDOWS = 4
"""Of each recording, on average, that are embedded."""


def facts_of(folder: Path, bundle: Bundle | None) -> list[RecordingFacts]:
    """Return the facts of a run's recordings, with embeddings where it is a shard set and there is a bundle."""
    facts = read_facts(folder)
    if bundle is None or not (folder / MANIFEST).is_file():
        return facts
    return with_vectors(facts, vectors_of(bundle, folder, n_windows=_WINDOWS * len(facts)))


def vectors_of(bundle: Bundle, folder: Path, *, n_windows: int) -> dict[str, np.ndarray]:
    """Return the mean embedding of each recording's windows, of `n_windows` spread evenly over a shard set."""
    sums, counts = dict[str, np.ndarray](), defaultdict[str, int](int)
    spread = windows_of_shards([folder], n_windows=n_windows)
    windows = iter(progress(spread, f"embedding {folder.name}", unit="windows", total=n_windows))
    while batch := list[Window](islice(windows, 8)):
        for window, embedding in zip(batch, embed(bundle, batch), strict=True):
            vector = np.array(embedding.representation)
            sums[window.recording_id] = sums.get(window.recording_id, 0.0) + vector
            counts[window.recording_id] += 1
    return {name: total / counts[name] for name, total in sums.items()}


def table(sites: Sequence[SiteDrift]) -> str:
    """Return the comparison as lines for a terminal, the furthest fact of a site first."""
    lines = []
    for site in sites:
        against = "itself" if site.is_known else "all sites: the corpus has too few recordings of this one"
        lines.append(f"site {site.site_id}: {site.n_current} recordings, against {against}")
        lines += [f"  not compared: {site.reason}"] * bool(site.reason)
        lines += [
            f"  {'DRIFT' if fact.drifted() else '     '} {fact.fact:<20} PSI {fact.psi:6.3f}  p {fact.p_value:.2g}"
            for fact in site.facts
        ]
    return "\n".join(lines)


def main(argv: Sequence[str] | None = None) -> int:
    """Run from the command line; returns 0, 1 for drift with --fail, or 2 with one line on standard error."""
    parser = Parser(prog="cerebeam drift", description="recordings that came in against the training corpus")
    parser.add_argument("--corpus", type=Path, required=True, help="shard set that the model was trained on")
    parser.add_argument("--current", type=Path, required=True, help="shard set, or answers of cerebeam archive")
    parser.add_argument("--bundle", type=Path, help="compare its embeddings too, where both are shard sets")
    parser.add_argument("--metrics", type=Path, help="file for Prometheus: DATA/metrics/drift.prom of a server")
    parser.add_argument("--json", action="store_true", help="JSON, one object per site")
    parser.add_argument("--fail", action="store_true", help="end with 1 where something has drifted")
    args = parser.parse_args(argv)
    try:
        bundle = None if args.bundle is None else load_bundle(args.bundle)
        sites = compare(facts_of(args.corpus, bundle), facts_of(args.current, bundle))
        if args.metrics is not None:
            with atomic_file(args.metrics) as file:
                file.write(exposition(sites, at=time.time()).encode())
    except (BundleError, ManifestError, ValueError, OSError) as error:
        print(f"cerebeam drift: {error}", file=sys.stderr)  # noqa: T201
        return 2
    print("\n".join(json.dumps(asdict(site)) for site in sites) if args.json else table(sites))  # noqa: T201
    return int(args.fail and any(site.drifted() for site in sites))


if __name__ == "__main__":
    sys.exit(main())
