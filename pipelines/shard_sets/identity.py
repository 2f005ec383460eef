"""Prove that a shard set names nobody: every text of every file is held to a form and searched for identities.

After the Safe Harbor list of direct identifiers (45 CFR 164.514(b)(2)): names, dates, numbers of records and devices,
addresses of people and machines, and whatever else is given or stands in the recordings' own headers. Findings are
masked: the output of a check must not become the next place where a name stands.
"""

import json
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pipelines.shard_sets.identifiers import contained, listed_identifiers, source_identifiers
from pipelines.shard_sets.problem import Problem
from pipelines.shard_sets.texts import UNKNOWN_FIELD, Text, texts_of
from pipelines.shard_sets.verify import KNOWN_FILES
from signals.recording.details import AGE_GROUPS, DEVICES, SEXES
from signals.recording.events import is_event_word
from signals.shards.manifest import MANIFEST, RUN

_MONTH = r"(?:jan|feb|mar|apr|may|mai|jun|jul|aug|sep|oct|okt|nov|dec|dez)[a-z]*"
PATTERNS = {
    "a date": re.compile(
        rf"\b(?:19|20)\d\d[-/.](?:0?[1-9]|1[0-2])[-/.](?:0?[1-9]|[12]\d|3[01])\b"
        rf"|\b\d{{1,2}}[-/.]\d{{1,2}}[-/.](?:19|20)\d\d\b|\b\d\d[./-]\d\d[./-]\d\d\b"
        rf"|\b\d{{1,2}}\.?[- ]?{_MONTH}\.?[-, ]+(?:19|20)?\d\d\b"
        rf"|\b{_MONTH}\.? \d{{1,2}}(?:st|nd|rd|th)?,? (?:19|20)\d\d\b"
        rf"|\b(?:19|20)\d\d(?:0[1-9]|1[0-2])(?:0[1-9]|[12]\d|3[01])(?:T?\d{{4,6}})?\b",
        re.IGNORECASE,
    ),
    "a time of day": re.compile(r"\b(?:[01]?\d|2[0-3]):[0-5]\d(?::[0-5]\d)?\b"),
    "an absolute path": re.compile(
        r"(?<![\w./*<])/(?:[\w.@+-]+/)+[\w.@+-]*|\b[A-Za-z]:[\\/]\w|\\\\\w+\\|\b(?:gs|s3|file|hdfs)://"
    ),
    "an e-mail address": re.compile(r"[\w.+-]+@[\w-]+\.[\w.]+"),
    "a web address": re.compile(r"\bhttps?://", re.IGNORECASE),
}
FORMS = {
    "subject_id": re.compile(r"(?:unknown-)?[0-9a-f]{16}"),
    "recording_id": re.compile(r"[0-9a-f]{16}"),
    "recording_ids": re.compile(r"[0-9a-f]{16}"),
    "file_id": re.compile(r"[0-9a-f]{16}"),
    "key": None,
    "site_id": re.compile(r"[a-z0-9]+(?:-[a-z0-9]+)*"),
    "source_sha256": re.compile(r"[0-9a-f]{64}"),
    "config_hash": re.compile(r"[0-9a-f]{16}"),
    "reader": re.compile(r"[a-z0-9]+(?:[/-][a-z0-9]+)*"),
    # Words, or several statements of an electrocardiogram by code.
    "label": re.compile(r"(?:[\w+/.-]+(?: [\w+/.-]+){0,3})?|\d{6,18}(?:;\d{6,18})+"),
    "notes": re.compile(r"[a-z0-9_]+(?::[\w.+-]+)?"),
    "reason": re.compile(r"[a-z_]+"),
    "label_source": re.compile(r"[a-z]*"),
    "device": re.compile("|".join(map(re.escape, DEVICES))),
    "age_group": re.compile("|".join(map(re.escape, AGE_GROUPS))),
    "sex": re.compile("|".join(SEXES)),
}
"""How the values of a field must look; None where anything goes that the other rules let pass."""


@dataclass(frozen=True)
class Checked:
    """What a check found."""

    findings: tuple[str, ...]
    """A line each: where, what rule, masked."""
    summary: str


def check_identity(shards_dir: Path, *, identifiers: Path | None = None, sources: Path | None = None) -> Checked:
    """Return every breach of a rule; raises Problem for a folder that is no shard set or no failed run."""
    if not any((shards_dir / name).is_file() for name in (MANIFEST, RUN)):
        raise Problem(f"{shards_dir} is no shard set: it has neither {MANIFEST} nor {RUN}")
    identifying = listed_identifiers(identifiers) if identifiers else frozenset()
    if sources:
        sites = [path.name.removeprefix("site=") for path in shards_dir.glob("site=*")]
        identifying |= source_identifiers(
            sources, sites, named_sites=_named_sites(shards_dir, sites), kept_device=_keeps_device(shards_dir)
        )
    seen: set[tuple[str, str]] = set()
    findings: list[str] = []
    n_texts = 0
    for text in texts_of(shards_dir):
        n_texts += 1
        if (text.field, text.text) in seen:
            continue
        seen.add((text.field, text.text))
        findings += [f"{text.where}: {text.field} {what}" for what in breaches(text, identifying)]
    outcome = f"{len(findings)} findings" if findings else "nobody is named"
    looked = "dates, times, paths, addresses, ids out of form"
    looked += f" and {len(identifying)} identifiers" if identifying else ""
    counted = Counter(findings).items()
    lines = tuple(line if n == 1 else f"{line} ({n} times)" for line, n in counted)
    return Checked(lines, f"{shards_dir}: {outcome} in {n_texts} texts; looked for {looked}")


def _named_sites(shards_dir: Path, sites: Sequence[str]) -> Sequence[str]:
    """Return the sites whose names somebody declared, by a rule or a card; older runs took the folder without one."""
    path = shards_dir / RUN
    options = json.loads(path.read_text(encoding="utf-8"))["options"] if path.is_file() else {}
    return sites if options.get("site_from") not in (None, "hash") else options.get("carded_sites", ())


def _keeps_device(shards_dir: Path) -> bool:
    """Return whether the run that wrote a set was requested to keep the makers of devices."""
    path = shards_dir / MANIFEST
    return path.is_file() and "device" in json.loads(path.read_text(encoding="utf-8")).get("kept_details", ())


def breaches(text: Text, identifiers: frozenset[str]) -> list[str]:
    """Return what is wrong with one text, masked."""
    rules = []
    if text.field == "file" and not _is_known_file(text.text):
        rules.append("does not belong to a shard set")
    if text.field == UNKNOWN_FIELD:
        rules.append(f"in a record, named {masked(text.text)}")
    form = FORMS.get(text.field)
    if form is not None and not form.fullmatch(text.text):
        rules.append(f"is not of its form: {masked(text.text)}")
    if text.field == "event" and not is_event_word(text.text):
        rules.append(f"is no event word: {masked(text.text)}")
    if text.is_prose:
        for name, pattern in PATTERNS.items():
            if hit := pattern.search(text.text):
                rules.append(f"holds {name}: {masked(hit.group())}")
    if (identifier := contained(text.text, identifiers)) is not None:
        rules.append(f"holds an identifier: {masked(identifier)}")
    return rules


def masked(text: str) -> str:
    """Return the first letter of a text and its length."""
    return f"{text[:1]}… of {len(text)} characters"


def _is_known_file(name: str) -> bool:
    return (
        name in KNOWN_FILES
        or re.fullmatch(r"site=[a-z0-9-]+/windows-\d{5}-of-\d{5}\.(?:tfrecord\.snappy|index\.parquet)", name)
        is not None
    )
