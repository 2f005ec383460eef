"""Whether what comes in is still what a model was trained on: each fact of each site against the training corpus.

A fact has drifted where its distance is large (`PSI_FROM`) and no accident (`P_BELOW`, for all facts of a site
together). The first is custom, the second nominal; `make bench-watch` counts false alarms on synthetic weeks
(docs/watching.md).
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from evaluation.drift.facts import RecordingFacts
from evaluation.drift.statistics import Distance, of_numbers, of_words

PSI_FROM = 0.25
P_BELOW = 0.02
"""Of the smallest p-value of a site times the number of its facts (Bonferroni)."""
FEWEST = 8
"""Recordings of a site below which nothing is decided."""
_N_COMPONENTS = 4


@dataclass(frozen=True, kw_only=True)
class Drift:
    """One fact of one site."""

    site_id: str
    fact: str
    psi: float
    p_value: float
    """Times the number of facts of the site, at most 1."""
    n_reference: int
    n_current: int

    def drifted(self, p_below: float = P_BELOW) -> bool:
        """Return whether the fact has drifted."""
        return self.psi >= PSI_FROM and self.p_value < p_below


@dataclass(frozen=True, kw_only=True)
class SiteDrift:
    """All facts of one site, the furthest first."""

    site_id: str
    n_current: int
    is_known: bool
    """Whether the reference has enough recordings of this site; else it is compared with all of the reference."""
    facts: tuple[Drift, ...]
    reason: str = ""
    """Why nothing was decided; empty where something was."""

    def drifted(self, p_below: float = P_BELOW) -> tuple[Drift, ...]:
        """Return the facts that have drifted."""
        return tuple(fact for fact in self.facts if fact.drifted(p_below))


def compare(reference: Sequence[RecordingFacts], current: Sequence[RecordingFacts]) -> tuple[SiteDrift, ...]:
    """Return the drift of each site of `current`, by name."""
    return tuple(
        _of_site(site, reference, [one for one in current if one.site_id == site])
        for site in sorted({one.site_id for one in current})
    )


def _of_site(site: str, reference: Sequence[RecordingFacts], current: Sequence[RecordingFacts]) -> SiteDrift:
    own = [one for one in reference if one.site_id == site]
    is_known = len(own) >= FEWEST
    before = own if is_known else list(reference)
    if len(current) < FEWEST or len(before) < FEWEST:
        reason = f"{len(current)} recordings against {len(before)}: at least {FEWEST} on both sides are needed"
        return SiteDrift(site_id=site, n_current=len(current), is_known=is_known, facts=(), reason=reason)
    distances = dict(_distances(*_with_components(before, current)))
    facts = [
        Drift(
            site_id=site, fact=fact, psi=distance.psi, p_value=min(1.0, distance.p_value * len(distances)),
            n_reference=sizes[0], n_current=sizes[1],
        )
        for fact, (distance, sizes) in distances.items()
    ]  # fmt: skip
    ordered = tuple(sorted(facts, key=lambda fact: (fact.p_value, -fact.psi, fact.fact)))
    return SiteDrift(site_id=site, n_current=len(current), is_known=is_known, facts=ordered)


def _distances(
    before: Sequence[RecordingFacts], now: Sequence[RecordingFacts]
) -> Iterable[tuple[str, tuple[Distance, tuple[int, int]]]]:
    """Yield the distance of each fact that enough recordings of both sides have, with their numbers."""
    for name in sorted({name for one in before for name in one.numbers}):
        x, y = ([one.numbers[name] for one in side if name in one.numbers] for side in (before, now))
        if min(len(x), len(y)) >= FEWEST:
            yield name, (of_numbers(x, y), (len(x), len(y)))
    for name in sorted({name for one in before for name in one.words}):
        a, b = ([one.words[name] for one in side if name in one.words] for side in (before, now))
        if min(len(a), len(b)) >= FEWEST:
            yield name, (of_words(a, b), (len(a), len(b)))


def _with_components(
    before: Sequence[RecordingFacts], now: Sequence[RecordingFacts]
) -> tuple[list[RecordingFacts], list[RecordingFacts]]:
    """Return both sides with their embeddings' principal components, and the distance from the centre, as numbers.

    Centre and components are those of one half of the reference, and only the other half is compared: what a basis was
    fitted on lies closer to it than anything that comes later.
    """
    ordered = sorted(before, key=lambda one: one.recording_id)
    basis = [one.vector for one in ordered[::2] if one.vector is not None]
    if len(basis) < FEWEST:
        return list(before), list(now)
    fitted = np.stack(basis)
    centre, spread = fitted.mean(axis=0), fitted.std(axis=0) + 1e-9
    _, sizes, components = np.linalg.svd((fitted - centre) / spread, full_matrices=False)
    n = max(1, min(_N_COMPONENTS, len(basis) // 5, len(sizes)))
    scale = sizes[:n] / np.sqrt(len(basis)) + 1e-9

    def numbers(one: RecordingFacts) -> RecordingFacts:
        if one.vector is None:
            return one
        at = components[:n] @ ((one.vector - centre) / spread) / scale
        named = {f"embedding_{k + 1}": float(value) for k, value in enumerate(at)}
        return replace(one, numbers=one.numbers | named | {"embedding_distance": float(np.sqrt((at**2).mean()))})

    left_out = {one.recording_id for one in ordered[::2]}
    kept = [replace(one, vector=None) if one.recording_id in left_out else one for one in before]
    return [numbers(one) for one in kept], [numbers(one) for one in now]


def smallest_p(sites: Iterable[SiteDrift]) -> float:
    """Return the smallest p-value of the facts whose index is large, 1 where there is none: what an alarm goes by."""
    return min((fact.p_value for site in sites for fact in site.facts if fact.psi >= PSI_FROM), default=1.0)


def threshold_of(clean_weeks: Sequence[Sequence[SiteDrift]], *, false_alarms: float) -> float:
    """Return the largest p below which at most this share of clean weeks raises an alarm."""
    ordered = np.sort([smallest_p(week) for week in clean_weeks])
    return float(ordered[min(int(false_alarms * len(ordered)), len(ordered) - 1)])
