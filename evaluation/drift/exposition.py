"""Drift as metrics in Prometheus' text form: a file that the service hands out at /metrics."""

from collections.abc import Iterable, Iterator, Sequence

from evaluation.drift.drift import SiteDrift

_METRICS = (
    ("cerebeam_drift_psi", "Population stability index of a fact against the training corpus"),
    ("cerebeam_drift_p_value", "p-value of the two-sample test, times the number of facts"),
    ("cerebeam_drift_found", "1 where the fact has drifted"),
)


def exposition(sites: Sequence[SiteDrift], *, at: float) -> str:
    """Return the metrics of a comparison that was made at `at`, UTC seconds since 1970."""
    rows = [(site.site_id, fact) for site in sites for fact in site.facts]
    values = (
        [(site, fact.fact, fact.psi) for site, fact in rows],
        [(site, fact.fact, fact.p_value) for site, fact in rows],
        [(site, fact.fact, float(fact.drifted())) for site, fact in rows],
    )
    lines = [line for metric, some in zip(_METRICS, values, strict=True) for line in _gauge(*metric, some)]
    lines += _family("cerebeam_drift_recordings", "Recordings of a site that were compared")
    lines += [f'cerebeam_drift_recordings{{site="{_quoted(site.site_id)}"}} {site.n_current}' for site in sites]
    lines += [*_family("cerebeam_drift_compared_seconds", "When drift was looked for"),
              f"cerebeam_drift_compared_seconds {at:.0f}"]  # fmt: skip
    return "\n".join(lines) + "\n"


def _gauge(name: str, what: str, values: Iterable[tuple[str, str, float]]) -> Iterator[str]:
    yield from _family(name, what)
    for site, fact, value in values:
        yield f'{name}{{site="{_quoted(site)}",fact="{_quoted(fact)}"}} {value:.6g}'


def _family(name: str, what: str) -> list[str]:
    return [f"# HELP {name} {what}", f"# TYPE {name} gauge"]


def _quoted(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
