"""What a screen needs to know of a recording before a sample is drawn."""

from collections import Counter
from dataclasses import asdict
from typing import Any

from service.notice import RESEARCH
from service.refusals import clean
from service.viewer.library import Opened
from signals.description.bad_channels import REASONS
from signals.viewing.filters import HIGH_PASS_HZ, LOW_PASS_HZ, NOTCH_HZ
from signals.viewing.montages import MONTAGES

_LONGEST_LABEL = 24
_NOTES = {
    "truncated_last_record": "The file ends within a data record; what is there is shown.",
    "gaps": "The recording has gaps.",
    "duplicate_labels": "Two channels have the same label.",
    "unit_guessed": "The file gives no unit; microvolts are assumed.",
    "name_disagrees": "The file's name promises another format than its content.",
    "dropped_channels": "Channels without a usable range are not shown.",
}


def header_of(opened: Opened) -> dict[str, Any]:
    """Return the recording's description; labels are cut to a length and hold printable characters alone."""
    recording, facts = opened.recording, opened.facts
    segments = [[one.onset_s, one.duration_s] for one in recording.segments]
    return {
        "name": opened.name,
        "digest": opened.digest[:16],
        "reader": recording.reader,
        "duration_s": max((onset + length for onset, length in segments), default=0.0),
        "sfreq": opened.sfreq,
        "segments": segments,
        "montages": [_montage(opened, name) for name in MONTAGES],
        "filters": {"l_freq": HIGH_PASS_HZ, "h_freq": LOW_PASS_HZ, "notch_hz": NOTCH_HZ},
        "annotations": [
            {"start_s": one.onset_s, "duration_s": one.duration_s, "text": clean(one.description, 80)}
            for one in recording.annotations
        ],
        "bad": [{"electrode": name, "why": _why(reasons)} for name, reasons in facts.bad],
        "mains_hz": facts.mains_hz,
        "no_answer": {"code": facts.code, "error": clean(facts.error)} if facts.code else None,
        "notes": _remarks(opened),
        "notice": RESEARCH,
    }


def _montage(opened: Opened, name: str) -> dict[str, Any]:
    montage = opened.montage(name)
    rows = [asdict(row) | {"label": clean(row.label, _LONGEST_LABEL)} for row in montage.rows]
    return {"name": name, "title": MONTAGES[name], "rows": rows, "reason": montage.reason}


def _why(reasons: str) -> str:
    return " ".join(REASONS.get(reason, reason) for reason in reasons.split("+"))


def _remarks(opened: Opened) -> list[str]:
    """Return what cannot be shown, and what else is worth knowing, in sentences."""
    recording = opened.recording
    remarks = [_NOTES[note] for note in recording.notes if note in _NOTES]
    hidden = [i for i, rate in enumerate(recording.sfreqs) if rate != opened.sfreq]
    if hidden:
        rates = Counter(f"{recording.sfreqs[i]:g} Hz" for i in hidden)
        remarks.append(
            f"{len(hidden)} of {len(recording.ch_names)} channels have another rate than {opened.sfreq:g} Hz and are "
            f"not shown: {', '.join(f'{n} at {rate}' for rate, n in rates.items())}."
        )
    return remarks
