"""A patient report: one printable page, every sentence derived from facts; research use only."""

import base64
import hashlib
import re
from collections.abc import Sequence
from html import escape

from service.notice import RESEARCH
from service.report.facts import LEAST, Burden, Facts
from service.report.figures import clock, colour_of
from signals.pages.page import document, key_values, table

CSS = """
.key{display:inline-block;width:12px;height:12px;border-radius:2px;outline:0;margin-right:6px;vertical-align:-1px}
figure{max-width:none}figure svg{font-size:11.5px}
.legend span{margin-right:16px;white-space:nowrap;font-size:14px}
.key svg{width:12px;height:12px}
@page{margin:14mm}
@media print{h2{margin-top:22px}.use{break-inside:avoid}}
"""
TITLES = {
    "Seizure": "Electrographic seizure", "LPD": "Lateralized periodic discharges",
    "GPD": "Generalized periodic discharges", "LRDA": "Lateralized rhythmic delta activity",
    "GRDA": "Generalized rhythmic delta activity", "Other": "None of these",
}  # fmt: skip
"""Terms of the ACNS Standardized Critical Care EEG Terminology, 2021."""
_REASONS = {
    "edge": "the first and last seconds, where an answer has too little EEG around it",
    "gap": "gaps in the recording", "rejected": "signal lost or of poor quality",
}  # fmt: skip


def page(facts: Facts, *, timeline: str, epochs: Sequence[tuple[str, str]]) -> str:
    """Return the page; `timeline` and `epochs` (caption, figure) are ready-made SVG."""
    body = "".join([
        f'<p class="use"><b>{escape(RESEARCH)}</b> What stands here flags stretches for expert review; it is no '
        "diagnosis, and it does not replace reading the EEG.</p>",
        f'<p class="lead">{escape(summary(facts))}</p>',
        "<h2>Burden</h2>", _burden_table(facts.burdens),
        '<p class="note">Share of the time that was answered; the largest share of any five minutes beside it. Terms '
        "follow the ACNS terminology of 2021.</p>",
        "<h2>Timeline</h2>", f"<figure>{timeline}</figure>", _legend(),
        "<h2>Findings to review</h2>", _episode_table(facts),
        "<h2>Sample epochs</h2>", _epochs(epochs),
        "<h2>Signal</h2>", f"<p>{escape(signal_words(facts))}</p>",
        "<h2>Limits</h2>", _limits(),
        key_values({
            "recording": facts.recording, "length": clock(facts.duration_s), "model": facts.model,
            "model digest": facts.model_digest, "labels by reviewers": facts.n_reviews,
        }),
    ])  # fmt: skip
    return document(body, title="EEG report", css=CSS)


def policy(html: str) -> str:
    """Return the Content-Security-Policy of a page: its own style sheet, by digest, and nothing else."""
    (style,) = re.findall(r"<style>(.*?)</style>", html, flags=re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    return f"default-src 'none'; style-src 'sha256-{digest}'; img-src data:; frame-ancestors 'none'"


def summary(facts: Facts) -> str:
    """Return what was found, in sentences."""
    found = [one for one in facts.burdens if one.seconds > 0]
    words = f"{_hours(facts.recorded_s)} of EEG; the model answers {_hours(facts.answered_s)} of it"
    words += f" and abstains from {_hours(facts.abstained_s)}. " if facts.abstained_s else ". "
    words += f"{_hours(facts.unsure_s)} are below {LEAST:.0%} confidence and not counted. " if facts.unsure_s else ""
    if not found:
        return words + "It predicts none of the five patterns."
    parts = [f"{one.name} in {one.share:.1%} ({_times(one.n_episodes)})" for one in found]
    return words + "It predicts " + "; ".join(parts) + "."


def signal_words(facts: Facts) -> str:
    """Return what is known of the signal, in sentences."""
    words = "Bad electrodes: " + (", ".join(facts.bad) if facts.bad else "none") + ". "
    parts = [f"{_hours(seconds)}: {_REASONS[reason]}" for reason, seconds in facts.unanswered]
    return words + ("Not answered: " + "; ".join(parts) + "." if parts else "All of the recording is answered.")


def _burden_table(rows: Sequence[Burden]) -> str:
    lines = [
        f"<tr><td>{_key(one.name)}{escape(TITLES.get(one.name, one.name))}</td><td>{_hours(one.seconds)}</td>"
        f"<td>{one.share:.1%}</td><td>{one.most_in_5_min:.0%}</td><td>{one.n_episodes}</td>"
        f"<td>{_hours(one.longest_s)}</td></tr>"
        for one in rows
    ]
    return table(("Pattern", "Time", "Share", "Most in 5 min", "Episodes", "Longest"), lines)


def _episode_table(facts: Facts) -> str:
    if not facts.episodes:
        return "<p>None.</p>"
    most = 40
    ranked = sorted(facts.episodes, key=lambda one: -one.duration_s)[:most]
    lines = [
        f"<tr><td>{clock(one.onset_s)}</td><td>{_key(one.predicted_class)}{escape(one.predicted_class)}</td>"
        f"<td>{_hours(one.duration_s)}</td><td>{one.confidence:.0%}</td></tr>"
        for one in sorted(ranked, key=lambda one: one.onset_s)
    ]
    rest = len(facts.episodes) - len(ranked)
    note = f'<p class="note">The {most} longest; {rest} shorter ones are not listed.</p>' if rest else ""
    return table(("From", "Pattern", "Length", "Mean confidence"), lines) + note


def _epochs(epochs: Sequence[tuple[str, str]]) -> str:
    if not epochs:
        return "<p>None.</p>"
    return "".join(f"<figure><figcaption>{escape(words)}</figcaption>{figure}</figure>" for words, figure in epochs)


def _limits() -> str:
    return (
        "<ul><li>An answer speaks of 10 s and was made of the 50 s around them.</li>"
        "<li>Confidence is the model's calibrated probability; it says nothing of patterns that it was not trained on."
        "</li><li>Traces are a longitudinal bipolar montage, 0.5-70 Hz, negative up.</li></ul>"
    )


def _legend() -> str:
    return '<p class="legend">' + "".join(f"<span>{_key(name)}{escape(name)}</span>" for name in TITLES) + "</p>"


def _key(name: str) -> str:
    fill = f'<rect width="12" height="12" rx="2" fill="{colour_of(name)}"/>'
    return f'<span class="key"><svg viewBox="0 0 12 12" aria-hidden="true">{fill}</svg></span>'


def _hours(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.1f} min" if seconds < 3600 else f"{seconds / 3600:.1f} h"


def _times(n: int) -> str:
    return f"{n} episode{'' if n == 1 else 's'}"
