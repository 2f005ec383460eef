"""A written summary of facts by template, or by another writer whose text must pass the same verifier.

Sections: the data, performance with n and interval, samples, evidence, what it does not show, what to check next. A
sentence whose facts are not known is left out, so that nothing is filled in.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from explain.summary.facts import Facts
from explain.summary.verifier import Problem, verify

_FIELD = re.compile(r"\{([\w.]+)\}")
TEMPLATE: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("The data", (
        "{data.n_windows} windows of {data.n_subjects} subjects at {data.n_sites} sites were evaluated.",
        "Windows of {data.window_s} s in {data.file}: {data.n_windows}.",
        "The share of positive windows is {data.prevalence}.",
    )),
    ("Performance", (
        "Accuracy is {performance.accuracy} on {performance.n} windows, with a {performance.level} interval from "
        "{performance.low} to {performance.high}.",
        "Accuracy is {performance.accuracy} on {performance.n} windows; it has no interval: {performance.no_interval}.",
        "The model was not evaluated on this file; its labels are not known here ({performance.unknown}).",
    )),
    ("Samples", (
        "The explained window begins at {sample.start_s} s; the predicted class is {sample.predicted}, "
        "with probability {sample.probability}.",
        "Its label is {sample.label}.",
    )),
    ("Evidence", (
        "By {evidence.method} ({evidence.status}), the strongest evidence lies from {evidence.start_s} to "
        "{evidence.stop_s} s after the window's start, on {evidence.channels}.",
        "{evidence.none}",
        "The strongest band is {evidence.band}, with {evidence.band_share} of the positive evidence.",
        "A fraction {evidence.positive_share} of the evidence speaks for the class.",
    )),
    ("What it does not show", (
        "The map shows what the answer of this model depends on; whether that is a finding is for an expert.",
        "{limits.background}",
        "{limits.spread}",
        "{limits.status}",
    )),
    ("What to check next", (
        "Look at the raw traces of that stretch, and at the same stretch in another reference.",
        "Compare with the label {sample.label} and with neighbouring windows of this recording.",
    )),
)  # fmt: skip
"""Sections, and their sentences with facts in braces."""


class Writer(Protocol):
    """Something that writes a summary: a language model, for one. Off by default."""

    def write(self, facts: Facts) -> str:
        """Return a text in Markdown from facts alone."""


@dataclass(frozen=True, kw_only=True)
class Summary:
    """A text that the verifier passed."""

    text: str
    """Markdown."""
    fields: Sequence[str]
    """Facts that it uses, in order; of a writer's text, all that were given to it."""
    rejected: tuple[Problem, ...] = ()
    """Why a writer's text was not used; empty where it was, or where there was none."""


def summarise(facts: Facts, *, writer: Writer | None = None) -> Summary:
    """Return a writer's text where it passes the verifier, else the template's."""
    problems: tuple[Problem, ...] = ()
    if writer is not None:
        text = writer.write(facts)
        problems = tuple(verify(text, facts))
        if not problems:
            return Summary(text=text, fields=tuple(facts.values))
    text, fields = from_template(facts)
    wrong = verify(text, facts)
    if wrong:
        raise ValueError(f"facts give a summary that cannot be shown: {wrong[0].what}")
    return Summary(text=text, fields=fields, rejected=problems)


def from_template(facts: Facts) -> tuple[str, tuple[str, ...]]:
    """Return the template's text in Markdown, and the names of the facts that it uses."""
    parts: list[str] = []
    used: list[str] = []
    for heading, sentences in TEMPLATE:
        kept = [sentence for sentence in sentences if all(name in facts for name in _FIELD.findall(sentence))]
        if not kept:
            continue
        used += [name for sentence in kept for name in _FIELD.findall(sentence)]
        filled = [_FIELD.sub(lambda match: facts.text(match.group(1)), sentence) for sentence in kept]
        parts.append(f"## {heading}\n\n" + " ".join(filled))
    return "\n\n".join([*parts, "Research use only. Not a medical device."]) + "\n", tuple(dict.fromkeys(used))
