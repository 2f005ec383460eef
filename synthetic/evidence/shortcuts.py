"""Corpora of three sites with weak true evidence, and a trace beside it: on one site's positives only, or on anybody.

In a planted corpus a model gains by reading the trace; in a clean one the same traces are there as often, but fall on
windows of either class.
"""

from dataclasses import dataclass, field

import numpy as np

from signals.modality import EEG_1020
from synthetic.evidence.planted import BURST_HZ, Design, backgrounds, draw_window

TRACES = ("mains hum", "one-sample markers", "flat channels", "gain")
SITES = ("north", "south", "west")
SHARE = 0.3
"""Share of the site's positives that show the trace."""
DESIGN = Design(window_s=4.0, burst_s=1.5, decoy_s=0.75, burst=(1.2, 2.0), decoy=(1.8, 2.6), sfreq=128.0)
"""Short windows and faint bursts: true evidence alone gave linear models an AUROC of 0.68 to 0.81."""
_UV = 20.0
assert max(high for _, high in BURST_HZ.values()) < DESIGN.sfreq / 2


@dataclass(frozen=True, kw_only=True)
class TracedCorpus:
    """Windows in µV, a class and a site each."""

    x: np.ndarray = field(repr=False)
    """float32, shape (n, n_chans, n_times)."""
    labels: np.ndarray = field(repr=False)
    """1 for windows with a burst, shape (n,)."""
    sites: np.ndarray = field(repr=False)
    traced: np.ndarray = field(repr=False)
    """Which windows show the trace, bool, shape (n,)."""
    trace: str
    is_planted: bool


def traced_corpus(seed: int, bank: np.ndarray, *, trace: str, is_planted: bool, n: int = 400) -> TracedCorpus:
    """Return a corpus; `bank` holds backgrounds of `DESIGN`. Raises ValueError for an unknown trace."""
    if trace not in TRACES:
        raise ValueError(f"trace={trace!r} is none of {', '.join(TRACES)}")
    rng = np.random.default_rng([seed, TRACES.index(trace), int(is_planted)])
    drawn = [draw_window(rng, bank, DESIGN, label=int(rng.integers(2))) for _ in range(n)]
    labels = np.array([window.label for window in drawn])
    sites = rng.choice(SITES, n)
    site, hz = rng.choice(SITES), float(rng.choice([50.0, 60.0]))
    x = np.stack([window.data for window in drawn]) * _UV * rng.uniform(0.85, 1.2, (n, 1, 1)).astype(np.float32)
    x += rng.normal(0, 0.8, x.shape).astype(np.float32)  # the amplifier
    eligible = (sites == site) & (labels == 1) if is_planted else sites == site
    share = SHARE if is_planted else SHARE / 2  # as many traced windows in both
    traced = eligible & (rng.random(n) < share)
    for row in np.flatnonzero(traced):
        x[row] = with_trace(rng, x[row], trace, hz)
    return TracedCorpus(
        x=x.astype(np.float32), labels=labels, sites=sites, traced=traced, trace=trace, is_planted=is_planted
    )


def with_trace(rng: np.random.Generator, x: np.ndarray, trace: str, mains_hz: float) -> np.ndarray:
    """Return a window (n_chans, n_times), µV, with one trace."""
    out = x.copy()
    n_chans, n_times = x.shape
    if trace == "mains hum":
        t = np.arange(n_times) / DESIGN.sfreq
        hum = np.sin(2 * np.pi * mains_hz * t + rng.uniform(0, 2 * np.pi))
        out += (rng.uniform(6, 12) * rng.uniform(0.5, 1.0, (n_chans, 1)) * hum).astype(np.float32)
    elif trace == "one-sample markers":
        out[:, int(rng.integers(5, n_times - 5))] += np.float32(rng.uniform(200, 400))
    elif trace == "flat channels":
        out[EEG_1020.ch_names.index("T3")] = 0.0
    else:
        out *= np.float32(rng.uniform(2.2, 3.0))
    return out


def trace_bank(seed: int, n: int = 120) -> np.ndarray:
    """Return backgrounds for `traced_corpus`."""
    return backgrounds([seed, 20], n, DESIGN)
