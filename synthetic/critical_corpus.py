"""A shard set of labelled critical-care segments, ready to train on: `python -m synthetic.critical_corpus`.

    python -m synthetic.critical_corpus --output SHARDS --carriers REAL_SHARDS --segments 480 --held-out 150

One site a family of `synthetic.segments.families`, one subject a segment, classes in turn, votes as labels.
Without `--carriers` (a shard set of real recordings, whose labels are not read) only families that need none are made.
"""

import itertools
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import numpy as np

from signals.command_line import Parser
from signals.description import artifacts, quality
from signals.description.features import features
from signals.files import atomic_folder
from signals.modality import EEG_1020
from signals.shards.writer import write_set
from signals.tasks import SIX_CLASS
from signals.version import code_version
from signals.window import Provenance, Window
from signals.windows.profiles import SIX_CLASS as PROFILE
from synthetic.command import OnProgress, run_command
from synthetic.segments.families import BAND_HZ, HELD_OUT, TRAINED, Family, draw_segment
from synthetic.segments.segment import Segment
from synthetic.subject.carriers import Carrier, read_carriers

SHARD_SEGMENTS = 60
CARRIER_HOP_S = 10.0
PROG = "synthetic.critical_corpus"


@dataclass(frozen=True, kw_only=True)
class CorpusPlan:
    """How many segments of which families."""

    segments: int
    """Segments of each family of `TRAINED`."""
    held_out: int
    """Segments of each family of `HELD_OUT`."""
    seed: int
    """The same seed, plan and carriers give the same bytes."""

    def __post_init__(self) -> None:
        if self.segments < 6 or self.held_out < 0 or self.seed < 0:
            raise ValueError(
                f"segments={self.segments} must be at least 6, held_out={self.held_out} and seed={self.seed} at least 0"
            )

    def families(self, sites: set[str]) -> list[tuple[Family, int]]:
        """Return the families that can be made of carriers of these sites, and how many segments of each."""
        planned = [(family, self.segments) for family in TRAINED] + [(family, self.held_out) for family in HELD_OUT]
        return [(f, n) for f, n in planned if n and (not f.carrier_sites or sites & set(f.carrier_sites))]


def write_corpus(
    output: Path,
    plan: CorpusPlan,
    *,
    carriers: Sequence[Carrier] = (),
    on_progress: OnProgress | None = None,
) -> Path:
    """Write the shard set, whole or not at all, and return its folder. `on_progress(done, total)` counts segments.

    Raises ValueError where `output` exists and is not empty.
    """
    with atomic_folder(output) as partial:
        _fill(partial, plan, carriers, on_progress)
    return output


def _fill(folder: Path, plan: CorpusPlan, carriers: Sequence[Carrier], on_progress: OnProgress | None) -> None:
    families = plan.families({carrier.site_id for carrier in carriers})
    total, done = sum(n for _, n in families), itertools.count(1)

    def windows(family: Family, numbers: range) -> Iterator[Window]:
        for number in numbers:
            yield _window(plan.seed, family, number, carriers)
            if on_progress is not None:
                on_progress(next(done), total)

    sites = {
        family.name: [
            windows(family, range(first, min(first + SHARD_SEGMENTS, n))) for first in range(0, n, SHARD_SEGMENTS)
        ]
        for family, n in families
    }
    write_set(folder, sites, profile=PROFILE, label_source="synthetic")


def _window(seed: int, family: Family, number: int, carriers: Sequence[Carrier]) -> Window:
    name = f"{seed}/{family.name}/{number}"
    rng = np.random.default_rng(list(sha256(name.encode()).digest()[:16]))
    label = SIX_CLASS.classes[number % len(SIX_CLASS.classes)]
    segment = draw_segment(rng, label=label, family=family, carriers=carriers)
    return as_window(segment, name, site_id=family.name)


def as_window(segment: Segment, name: str, *, site_id: str) -> Window:
    """Return a segment as a window of a site; `name` decides its subject and its key."""
    digest, sfreq = sha256(name.encode()).hexdigest(), EEG_1020.sfreq
    mask = artifacts.detect(segment.data, sfreq, ch_names=EEG_1020.ch_names, mains_hz=None, h_freq=BAND_HZ[1])
    return Window(
        data=segment.data, ch_state=segment.ch_state, artifact_mask=mask,
        quality=quality.channel_quality(segment.data, mask, segment.ch_state),
        features=np.nan_to_num(features(segment.data, sfreq)), modality=EEG_1020.name, sfreq=sfreq, band=BAND_HZ,
        site_id=site_id, subject_id=digest[16:32], recording_id=digest[:16], start_s=0.0, label=segment.truth.label,
        votes=tuple(float(vote) for vote in segment.votes), label_span_s=SIX_CLASS.label_span_s,
        provenance=Provenance(
            source_sha256=digest, segment=0, start_sample=0, stop_sample=segment.data.shape[1], reader="synthetic",
            config_hash=PROFILE.config_hash, code_version=code_version(),
        ),
    )  # fmt: skip


def main(argv: Sequence[str] | None = None) -> int:
    """Make a corpus from the command line; return 0, or 2 with one line on stderr for bad input."""
    parser = Parser(prog=f"python -m {PROG}", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--output", type=Path, required=True, help="folder to make")
    parser.add_argument(
        "--carriers", type=Path, help="shard set of real recordings to lay patterns on (profile pretrain)"
    )
    parser.add_argument("--without", nargs="*", default=[], metavar="SITE", help="real sites that must not be used")
    parser.add_argument("--segments", type=int, default=480, help="segments of each family to learn from")
    parser.add_argument("--held-out", type=int, default=150, help="segments of each family to choose on")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args(argv)

    def make(on_progress: OnProgress) -> Path:
        plan = CorpusPlan(segments=args.segments, held_out=args.held_out, seed=args.seed)
        carriers: Sequence[Carrier] = ()
        if args.carriers is not None:
            carriers = read_carriers(
                args.carriers, length_s=SIX_CLASS.window_s, hop_s=CARRIER_HOP_S, without=args.without
            )  # fmt: skip
        return write_corpus(args.output, plan, carriers=carriers, on_progress=on_progress)

    return run_command(PROG, make, unit="segment")


if __name__ == "__main__":
    sys.exit(main())
