"""What WFDB records hold beside samples: diagnoses and ages in comments, beats and rhythms in annotation files."""

import math
from collections.abc import Iterable, Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np

from signals.recording.details import Details, person_details
from signals.recording.recording import Annotation, UnreadableError
from signals.statements import label_of

ANNOTATORS = ("atr", "qrs")
"""Extensions of annotation files that are read, the first that is there: reference annotations, detected beats."""
_BEATS = {
    **dict.fromkeys("NLRBejnfQ/", "beat"), **dict.fromkeys("AaJS", "atrial beat"),
    **dict.fromkeys("VErF", "ventricular beat"),
}  # fmt: skip
"""Event word of a beat's symbol (PhysioNet's annotation codes)."""
_RHYTHMS = {"(AFIB": "atrial fibrillation", "(AFL": "atrial flutter", "(N": "sinus rhythm", "(VT": "ventricular beat"}


def header_label(comments: Iterable[str]) -> str:
    """Return the statements of a header's comments as a label: codes behind "Dx:", and wordings of the table alone.

    Free text of any other kind leaves nothing behind (`signals.statements`).
    """
    texts: list[str] = []
    for comment in comments:
        name, colon, rest = comment.strip().partition(":")
        if colon and name.strip().lower() == "dx":
            texts += rest.split(",")
        else:
            texts.append(comment)
    return label_of(texts)


def header_details(comments: Iterable[str]) -> Details:
    """Return age, sex, height and weight as a header's comments give them; nothing else of them is kept."""
    texts: dict[str, str] = {}
    for comment in comments:
        name, _, rest = comment.strip().lower().partition(":")
        texts.setdefault(name.strip(" <>"), rest.strip())
    return person_details(
        age=_number(texts.get("age", "")), sex=texts.get("sex", ""), height_cm=_number(texts.get("height", "")),
        weight_kg=_number(texts.get("weight", "")),
    )  # fmt: skip


def _number(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def record_annotations(path: Path, sfreq: float) -> tuple[Annotation, ...]:
    """Return the beats and rhythms of the annotation file beside a header, seconds; nothing where there is none.

    A rhythm lasts until the next one. Marks of other kinds are left out.
    """
    import wfdb

    extension = next((ext for ext in ANNOTATORS if path.with_suffix(f".{ext}").is_file()), None)
    if extension is None:
        return ()
    marks = wfdb.rdann(str(path.with_suffix("")), extension)
    times = np.asarray(marks.sample) / sfreq
    found = [
        Annotation(float(at), 0.0, _BEATS[symbol])
        for at, symbol in zip(times, marks.symbol, strict=True)
        if symbol in _BEATS
    ]
    rhythms = [
        (float(at), _RHYTHMS.get(note.rstrip("\x00").strip(), ""))
        for at, symbol, note in zip(times, marks.symbol, marks.aux_note, strict=True)
        if symbol == "+" and note.startswith("(")
    ]
    last = float(times[-1]) if len(times) else 0.0
    for (at, word), (until, _) in pairwise([*rhythms, (last, "")]):
        if word:
            found.append(Annotation(at, max(until - at, 0.0), word))
    return tuple(sorted(found, key=lambda note: note.onset_s))


def check_length(path: Path, parts: Sequence[tuple[str, int, int, int]]) -> tuple[str, ...]:
    """Return notes on sample files beside a header; raises UnreadableError "corrupt_header" for one that is too short.

    `parts` are (file, bits a frame, frames, offset in bytes) of each sample file.
    """
    notes: list[str] = []
    for name, n_bits, n_frames, offset in parts:
        n_bytes, promised = path.with_name(name).stat().st_size, offset + -(-n_bits * n_frames // 8)
        if n_bytes < promised:
            raise UnreadableError(
                "corrupt_header",
                f"the header promises {n_frames} samples a signal, {promised} bytes; there are {n_bytes}",
            )
        if n_bytes > promised + 1:
            notes.append("trailing_bytes")
    return tuple(dict.fromkeys(notes))
