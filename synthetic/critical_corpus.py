"""A shard set of labelled critical-care segments, ready to train on: `python -m synthetic.critical_corpus`.

    python -m synthetic.critical_corpus --output SHARDS --carriers REAL_SHARDS \\
        --carrier-sites carried=CLINIC_A,CLINIC_B unseen-sites=CLINIC_C --segments 480 --held-out 150

One site per family of `synthetic.segments.families`, one subject per segment, classes in turn, votes as labels.
`--carriers` is a shard set of real recordings, whose labels are not read. `--carrier-sites` names the sites whose
recordings a family lies on; a family that needs some and has none is not made.
"""

import itertools
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from hashlib import sha256
from pathlib import Path

import numpy as np

from signals.command_line import Parser, count, whole
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
PROG = "cerebeam critical-corpus"


@dataclass(frozen=True, kw_only=True)
class CorpusPlan:
    """How many segments of which families."""

    segments: int
    """Segments of each family of `TRAINED`."""
    held_out: int
    """Segments of each family of `HELD_OUT`."""
    seed: int
    """The same seed, plan and carriers give the same bytes."""
    carrier_sites: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Sites of the real backgrounds that a family lies on, by the family's name."""
    simulate_missing: bool = False
    """Whether a family that lies on real backgrounds in part lies on simulated ones alone where it has none."""

    def __post_init__(self) -> None:
        if self.segments < 6 or self.held_out < 0 or self.seed < 0:
            raise ValueError(
                f"segments={self.segments} must be at least 6, held_out={self.held_out} and seed={self.seed} at least 0"
            )
        carried = sorted(family.name for family in (*TRAINED, *HELD_OUT) if family.carriers)
        if wrong := sorted(set(self.carrier_sites) - set(carried)):
            raise ValueError(
                f"no family on real backgrounds is called {', '.join(wrong)}; there are {', '.join(carried)}"
            )
        held = {family.name for family in HELD_OUT}
        both = set(self._sites_of(held)) & set(self._sites_of({family.name for family in TRAINED}))
        if both:
            raise ValueError(f"sites {', '.join(sorted(both))} are both learnt from and held out: choose one")

    def families(self, carriers: Sequence[Carrier]) -> list[tuple[Family, int, list[Carrier]]]:
        """Return the families that can be made, how many segments of each, and the backgrounds that each lies on."""
        planned = [(family, self.segments) for family in TRAINED] + [(family, self.held_out) for family in HELD_OUT]
        rows = [(family, n, self._carriers_of(family, carriers)) for family, n in planned]
        if self.simulate_missing:
            rows = [(replace(family, carriers=0.0) if 0 < family.carriers < 1 and not own else family, n, own)
                    for family, n, own in rows]  # fmt: skip
        return [(family, n, own) for family, n, own in rows if n and (own or not family.carriers)]

    def _carriers_of(self, family: Family, carriers: Sequence[Carrier]) -> list[Carrier]:
        return [c for site in self.carrier_sites.get(family.name, ()) for c in carriers if c.site_id == site]

    def _sites_of(self, names: set[str]) -> list[str]:
        return [site for name, sites in self.carrier_sites.items() if name in names for site in sites]


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
    families = plan.families(carriers)
    total, done = sum(n for _, n, _ in families), itertools.count(1)

    def windows(family: Family, own: Sequence[Carrier], numbers: range) -> Iterator[Window]:
        for number in numbers:
            yield _window(plan.seed, family, number, own)
            if on_progress is not None:
                on_progress(next(done), total)

    sites = {
        family.name: [
            windows(family, own, range(first, min(first + SHARD_SEGMENTS, n))) for first in range(0, n, SHARD_SEGMENTS)
        ]
        for family, n, own in families
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
    parser = Parser(prog=PROG, description=(__doc__ or "").partition(":")[0])
    parser.add_argument("--output", type=Path, required=True, help="folder to make")
    parser.add_argument(
        "--carriers", type=Path, help="shard set of real recordings to lay patterns on (profile pretrain)"
    )
    parser.add_argument(
        "--carrier-sites", nargs="+", default=[], metavar="FAMILY=SITE,SITE", help="sites that each family lies on"
    )
    parser.add_argument("--without", nargs="+", default=[], metavar="SITE", help="real sites that must not be used")
    parser.add_argument("--segments", type=count, default=480, help="segments of each family to learn from")
    parser.add_argument("--held-out", type=whole, default=150, help="segments of each family to choose on")
    parser.add_argument(
        "--simulate-missing", action="store_true",
        help="lay a family that needs some real backgrounds on simulated ones alone where it has none",
    )  # fmt: skip
    parser.add_argument("--seed", type=whole, default=0, help="of everything that is drawn")
    args = parser.parse_args(argv)

    def make(on_progress: OnProgress) -> Path:
        plan = CorpusPlan(
            segments=args.segments, held_out=args.held_out, seed=args.seed,
            carrier_sites=_carrier_sites(args.carrier_sites), simulate_missing=args.simulate_missing,
        )  # fmt: skip
        carriers: Sequence[Carrier] = ()
        if args.carriers is not None:
            carriers = read_carriers(
                args.carriers, length_s=SIX_CLASS.window_s, hop_s=CARRIER_HOP_S, without=args.without
            )  # fmt: skip
            _check_sites(plan, {carrier.site_id for carrier in carriers})
        return write_corpus(args.output, plan, carriers=carriers, on_progress=on_progress)

    return run_command(PROG, make, unit="segment")


def _carrier_sites(options: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """Return sites by family; raises ValueError for an option that is no FAMILY=SITE,SITE."""
    out: dict[str, tuple[str, ...]] = {}
    for option in options:
        family, _, sites = option.partition("=")
        if not family or not all(sites.split(",")) or family in out:
            raise ValueError(f"--carrier-sites {option}: give each family once, as FAMILY=SITE,SITE")
        out[family] = tuple(sites.split(","))
    return out


def _check_sites(plan: CorpusPlan, sites: set[str]) -> None:
    if not plan.carrier_sites:
        raise ValueError("--carriers needs --carrier-sites: which family lies on which site's recordings")
    if missing := sorted({site for named in plan.carrier_sites.values() for site in named} - sites):
        raise ValueError(
            f"no usable recording is of {', '.join(missing)}; sites of --carriers: {', '.join(sorted(sites))}"
        )


if __name__ == "__main__":
    sys.exit(main())
