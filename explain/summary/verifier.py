"""The gate in front of every summary: no number that is not a fact, no word that claims what a map cannot show."""

import re
from dataclasses import dataclass

from explain.summary.facts import Facts, written

FORBIDDEN = (
    "cause", "caused", "causes", "causing", "because of", "diagnosis", "diagnoses", "diagnosed", "diagnostic",
    "urgent", "urgently", "emergency", "immediately", "immediate", "intervention", "treat", "treatment", "treated",
    "prescribe", "therapy", "medication", "proves", "proven", "certainly", "definitely", "guarantees", "guaranteed",
    "perfect", "flawless", "harmless", "benign", "healthy", "safe",
)  # fmt: skip
"""Words that turn a map into a claim on a patient; matched whole, whatever their case."""
_NUMBER = re.compile(r"(?<![\w.])[-−+]?\d[\d,]*(?:\.\d+)?(?:[eE][-+]?\d+)?\s?%?")
_WORDED = re.compile(
    r"\b(one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|twenty|thirty|fifty|hundred|thousand|half|third|"
    r"quarter|dozen|double|twice|percent|million)\b",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Problem:
    """What is wrong with a text."""

    what: str


def verify(text: str, facts: Facts) -> list[Problem]:
    """Return what a text may not hold: numbers that are no fact, in digits or in words, and `FORBIDDEN` words.

    A number counts as a fact if it reads as the fact is written, or equals it; a percentage, if the fact is that share.
    Numbers within the words of a fact count too. Headings and marks of lists are read like the rest.
    """
    known = _known(facts)
    problems = [
        Problem(f"the number {match.group().strip()} is in no fact")
        for match in _NUMBER.finditer(text)
        if not _is_known(match.group(), known)
    ]
    words = " ".join(str(value) for value in facts.values.values() if isinstance(value, str)).lower()
    for match in _WORDED.finditer(text):
        if not re.search(rf"\b{match.group().lower()}\b", words):
            problems.append(Problem(f"the number {match.group()!r} is in no fact"))
    lowered = _without_names(text, facts).lower()
    problems += [
        Problem(f"the word {word!r} claims what evidence cannot show")
        for word in FORBIDDEN
        if re.search(rf"\b{re.escape(word)}\b", lowered)
    ]
    return problems


def _without_names(text: str, facts: Facts) -> str:
    """Return the text without the words of facts: a file may have any name."""
    names = sorted((v for v in facts.values.values() if isinstance(v, str) and v.strip()), key=len, reverse=True)
    for name in names:
        text = text.replace(name, " ")
    return text


def _known(facts: Facts) -> set[str]:
    """Return every number of the facts as it may be written, without commas."""
    known: set[str] = set()
    for value in facts.values.values():
        text = written(value)
        known |= {_plain(match.group()) for match in _NUMBER.finditer(text)}
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            known |= {_plain(text), _plain(repr(value))}
    return known


def _is_known(number: str, known: set[str]) -> bool:
    plain = _plain(number)
    if not plain.endswith("%"):
        return plain in known
    try:
        share = float(plain[:-1]) / 100
    except ValueError:
        return False
    digits = len(plain[:-1].partition(".")[2]) + 2
    return plain in known or any(_rounds_to(each, share, digits) for each in known)


def _rounds_to(text: str, share: float, digits: int) -> bool:
    try:
        return abs(round(float(text), digits) - share) < 1e-9
    except ValueError:
        return False


def _plain(number: str) -> str:
    return number.replace(",", "").replace("−", "-").replace(" ", "").lstrip("+").rstrip(".")
