"""Figures of the run report: hours, channels, amplitudes and quality, site by site."""

from collections.abc import Mapping, Sequence
from html import escape
from math import log10
from typing import Any

from pipelines.runs.accounting import SiteCounts
from signals.description.systems import ElectrodeSystem
from signals.pages.svg import ACCENT, RULE, WIDTH, line, svg, text, ticks

Sites = Mapping[str, SiteCounts]
AMBER, RED, PALE = "#c07a1a", "#b3261e", "#a9bfcc"
FATES = {"in windows": ACCENT, "windows rejected": AMBER, "no window fits": PALE, "files left out": RED}
LEVELS = {"0–0.2": RED, "0.2–0.4": "#d98a6a", "0.4–0.6": "#e3cfa4", "0.6–0.8": "#8fb3c6", "0.8–1": ACCENT}
_LEFT = 122.0


def hours_plot(sites: Sites) -> str:
    """Return a bar per site: its hours by what became of them."""
    parts = {site: entry.hours.fates for site, entry in sites.items()}
    most = max((sum(p.values()) for p in parts.values()), default=0.0) or 1.0
    marks = ticks(0, most)
    right, top, step = WIDTH - 18.0, 8.0, 24.0
    bottom = top + step * len(parts)

    def at(hours: float) -> float:
        return _LEFT + hours / marks[-1] * (right - _LEFT)

    body = [
        line(at(m), top, at(m), bottom) + text(at(m), bottom + 16, f"{m:g}", anchor="middle", cls="soft") for m in marks
    ]
    for i, (site, bars) in enumerate(parts.items()):
        body.append(_site_name(site, top + step * i + 15))
        title = f"{site}: " + ", ".join(f"{hours:.3f} h {name}" for name, hours in bars.items() if hours)
        body.append(_stack(bars, FATES, at, top + step * i + 4, step - 9, title))
    body.append(text(right, bottom + 33, "hours", anchor="end", cls="soft"))
    return _figure("Hours in, by what became of them", svg(bottom + 40, "".join(body), "Hours by site"), FATES)


def quality_plot(sites: Sites) -> str:
    """Return a bar per site: its windows by quality, the mean over measured channels."""
    top, step, right = 8.0, 24.0, WIDTH - 18.0
    rows = {site: entry.sums.quality for site, entry in sites.items() if sum(entry.sums.quality)}
    body = []
    for i, (site, bins) in enumerate(rows.items()):
        total, per = sum(bins), len(bins) // len(LEVELS)
        shares = {name: sum(bins[per * k : per * (k + 1)]) / total for k, name in enumerate(LEVELS)}
        title = f"{site}: " + ", ".join(f"{share:.1%} at {name}" for name, share in shares.items() if share)
        body.append(_site_name(site, top + step * i + 15))
        body.append(_stack(shares, LEVELS, lambda s: _LEFT + s * (right - _LEFT), top + step * i + 4, step - 9, title))
    bottom = top + step * len(rows)
    body += [
        text(_LEFT + s * (right - _LEFT), bottom + 16, f"{s:.0%}", anchor="middle", cls="soft") for s in (0, 0.5, 1)
    ]
    return _figure("Windows by quality, 1 is clean", svg(bottom + 24, "".join(body), "Quality by site"), LEVELS)


def presence_map(sites: Sites, ch_names: Sequence[str]) -> str:
    """Return a cell per site and electrode, filled by the share of windows that measured or interpolated it."""
    top, step, right = 34.0, 22.0, WIDTH - 8.0
    rows = {site: entry.sums.presence for site, entry in sites.items() if entry.sums.presence}
    width = (right - _LEFT) / len(ch_names)
    body = [
        f'<text transform="translate({_LEFT + width * (i + 0.5) + 4:.1f},{top - 6}) rotate(-90)" class="soft">{escape(name)}</text>'
        for i, name in enumerate(ch_names)
    ]
    for i, (site, presence) in enumerate(rows.items()):
        y, height = top + step * i, step - 4
        body.append(_site_name(site, y + 14))
        for k, name in enumerate(ch_names):
            total = sum(counts[k] for counts in presence.values()) or 1
            measured, spline = (
                presence.get(state, (0,) * len(ch_names))[k] / total for state in ("measured", "interpolated")
            )
            x = _LEFT + width * k
            title = (
                f"{site} {name}: measured {measured:.0%}, interpolated {spline:.0%}, absent {1 - measured - spline:.0%}"
            )
            body.append(
                f'<g><title>{escape(title)}</title><rect x="{x:.1f}" y="{y}" width="{width - 2:.1f}" height="{height}" fill="none" stroke="{RULE}"/>'
                f"{_fill(x, y, width - 2, height * measured, ACCENT)}{_fill(x, y + height * measured, width - 2, height * spline, AMBER)}</g>"
            )
    key = {"measured": ACCENT, "interpolated": AMBER, "absent": "#fff"}
    height = top + step * len(rows) + 4
    return _figure("Channels at hand, share of windows", svg(height, "".join(body), "Channels by site"), key)


def amplitude_plot(sites: Sites, system: ElectrodeSystem) -> str:
    """Return each site's recordings by size in µV on a log axis: range, middle half and median."""
    plausible = system.plausible_uv
    rows = {site: entry.amplitude_uv for site, entry in sites.items() if entry.amplitude_uv}
    top, step, right, low, high = 8.0, 24.0, WIDTH - 18.0, -2, 4
    bottom = top + step * len(rows)

    def at(value: float) -> float:
        place = log10(min(max(value, 10.0**low), 10.0**high))
        return _LEFT + (place - low) / (high - low) * (right - _LEFT)

    body = [_fill(at(plausible[0]), top - 4, at(plausible[1]) - at(plausible[0]), bottom - top + 4, "#eef3f6")]
    for decade in range(low, high + 1):
        body.append(line(at(10.0**decade), top - 4, at(10.0**decade), bottom))
        body.append(text(at(10.0**decade), bottom + 16, f"{10.0**decade:g}", anchor="middle", cls="soft"))
    for i, (site, sizes) in enumerate(rows.items()):
        y = top + step * i + 11
        title = f"{site}: median {sizes['median']:.3g} µV, half of the recordings within {sizes['q25']:.3g} to {sizes['q75']:.3g}, all within {sizes['min']:.3g} to {sizes['max']:.3g}"
        body.append(
            f"{_site_name(site, y + 4)}<g><title>{escape(title)}</title>{line(at(sizes['min']), y, at(sizes['max']), y, colour=ACCENT, width=1.5)}"
            f'{line(at(sizes["q25"]), y, at(sizes["q75"]), y, colour=ACCENT, width=7)}<circle cx="{at(sizes["median"]):.1f}" cy="{y}" r="4" fill="#fff" stroke="{ACCENT}" stroke-width="2"/></g>'
        )
    body.append(
        text(right, bottom + 33, f"µV, log scale; taken as {system.signal} where shaded", anchor="end", cls="soft")
    )
    title = "Size of the recordings as read, 1–35 Hz"
    return f"<figure><figcaption>{title}</figcaption>{svg(bottom + 40, ''.join(body), title)}</figure>"


def legend(colours: Mapping[str, str]) -> str:
    """Return names with their colours."""
    return (
        '<p class="legend">'
        + "".join(f'<span><i style="background:{c}"></i>{escape(name)}</span>' for name, c in colours.items())
        + "</p>"
    )


def _figure(title: str, drawing: str, colours: Mapping[str, str]) -> str:
    return f"<figure><figcaption>{escape(title)}</figcaption>{drawing}{legend(colours)}</figure>"


def _site_name(site: str, y: float) -> str:
    shown = site if len(site) < 19 else site[:17] + "…"
    return (
        f'<text x="{_LEFT - 8:.0f}" y="{y:.1f}" text-anchor="end"><title>{escape(site)}</title>{escape(shown)}</text>'
    )


def _stack(parts: Mapping[str, float], colours: Mapping[str, str], at: Any, y: float, height: float, title: str) -> str:
    reached, rects = 0.0, []
    for name, value in parts.items():
        rects.append(_fill(at(reached), y, at(reached + value) - at(reached), height, colours[name]))
        reached += value
    return f"<g><title>{escape(title)}</title>{''.join(rects)}</g>"


def _fill(x: float, y: float, width: float, height: float, colour: str) -> str:
    if width <= 0 or height <= 0:
        return ""
    return f'<rect x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}" fill="{colour}"/>'
