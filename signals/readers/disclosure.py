"""What may leave a reader: event words instead of free text, known references, messages without file names.

Names, birth dates, record numbers, device serials and dates are not read at all, but for the patient field, which is
kept for hashing only (`Recording.patient`). What is left is text that people type in: annotations, references, and
file names that libraries put into their messages.
"""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from signals.electrodes import canonical_electrode
from signals.recording.events import event_word
from signals.recording.recording import Annotation, Recording, UnreadableError
from signals.statements import SEPARATOR, label_of

_REFERENCES = {"common", "average", "averef", "avg", "car", "rest", "linked", "linked ears", "linked mastoids",
               "mastoids", "earlobes", "nose", "ref", "cms", "cms/drl", "le", "lm"}  # fmt: skip
_SHORTEST_NAME = 3
"""A stem shorter than this ("x", "a1") names nobody, and taking it out would maul the message."""


def disclose(recording: Recording, keep: Sequence[str] = ()) -> Recording:
    """Return the recording with event words for descriptions, the reference only if known, the details of `keep`."""
    return replace(
        recording,
        annotations=tuple(
            Annotation(a.onset_s, a.duration_s, event_word(a.description)) for a in recording.annotations
        ),
        reference=known_reference(recording.reference),
        label=label_of(recording.label.split(SEPARATOR)),
        details=recording.details.kept(keep),
    )


def known_reference(text: str) -> str:
    """Return the reference as written if it is an electrode, several, or a usual word; "other" for other text."""
    words = text.strip().lower().replace("-", " ").replace("_", " ")
    electrodes = words.replace(",", " ").replace("/", " ").replace("+", " ").replace(" and ", " ").split()
    if words in _REFERENCES or all(canonical_electrode(word) for word in electrodes):
        return text.strip()
    return "other"


def event_counts(recording: Recording) -> dict[str, int]:
    """Return how often each event word stands in a recording, in alphabetical order."""
    return dict(sorted(Counter(annotation.description for annotation in recording.annotations).items()))


def hide_names(error: UnreadableError, uri: str) -> UnreadableError:
    """Return the error with the file's path, name and stem taken out of its detail."""
    path = Path(uri)
    detail = error.detail
    for name in (uri, str(path.resolve()), str(path), path.name, path.stem):
        if len(name) >= _SHORTEST_NAME:
            detail = re.sub(rf"(?<!\w){re.escape(name)}(?!\w)", "(the file)", detail)
    return error if detail == error.detail else UnreadableError(error.reason, detail)
