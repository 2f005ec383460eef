"""The annotation signals of EDF+ and BDF+: the onset of each data record, and events.

Of a day's 86,400 records nearly all hold their onset and nothing else, padded with zeros: those are parsed at once, as
columns of bytes; the others one by one.
"""

from collections.abc import Sequence

import numpy as np

from signals.readers.edf.edf_header import decode
from signals.recording.recording import Annotation

_ONSET_CHARACTERS = np.isin(np.arange(256), list(b"+-.0123456789"))
_ONSET_END = b"\x14\x14"


def parse_records(signals: Sequence[np.ndarray]) -> tuple[np.ndarray, list[Annotation]]:
    """Return each record's onset, seconds, float64, shape (n_records,), NaN where it has none, and the annotations.

    `signals` holds the bytes of each annotation signal, uint8, shape (n_records, n_bytes); onsets stand in the first.
    Annotations are sorted by their onsets; all seconds are as in the file.
    """
    onsets = np.full(len(signals[0]), np.nan)
    annotations: list[Annotation] = []
    for number, octets in enumerate(signals):
        plain, plain_onsets = _plain_onsets(octets)
        if number == 0:
            onsets[plain] = plain_onsets
        for row in np.flatnonzero(~plain & octets.any(axis=1)).tolist():
            onset, events = parse_tals(octets[row].tobytes())
            annotations += events
            if number == 0 and onset is not None:
                onsets[row] = onset
    return onsets, sorted(annotations, key=lambda annotation: annotation.onset_s)


def parse_tals(octets: bytes) -> tuple[float | None, list[Annotation]]:
    """Return (onset of the data record or None, annotations) from one record's time-stamped annotation lists.

    The first list of a record has an empty first text and holds the record's onset (EDF+ specification, 2.2.4).
    Lists that cannot be parsed are skipped.
    """
    record_onset: float | None = None
    annotations = []
    for index, tal in enumerate(octets.rstrip(b"\x00").split(b"\x00")):
        stamp, *texts = tal.split(b"\x14")
        onset_text, _, duration_text = stamp.partition(b"\x15")
        onset = _seconds(onset_text) if texts else None
        if onset is None:
            continue
        if index == 0 and texts[0] == b"":
            record_onset = onset
        duration = _seconds(duration_text) or 0.0
        annotations += [Annotation(onset, max(duration, 0.0), decode(text)) for text in texts if text.strip()]
    return record_onset, annotations


def _plain_onsets(octets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return which records hold a plain onset and nothing else, bool, shape (n_records,), and those onsets.

    Plain is "+", digits and points, then two separators, then zeros to the end.
    """
    n_records, n_bytes = octets.shape
    none = np.zeros(n_records, dtype=bool), np.zeros(0)
    if n_bytes < len(_ONSET_END) + 1 or not n_records:
        return none
    is_separator = octets == _ONSET_END[0]
    n_text = is_separator.argmax(axis=1)  # where the first separator lies
    rows = np.arange(n_records)
    plain = is_separator[rows, n_text] & (n_text > 0) & (n_text <= n_bytes - 2)
    plain &= is_separator[rows, np.minimum(n_text + 1, n_bytes - 1)]
    plain &= np.count_nonzero(octets, axis=1) == n_text + 2  # with the check below: zeros behind, no zero before
    longest = int(n_text[plain].max(initial=0))
    within = np.arange(longest) < n_text[:, None]
    plain &= (_ONSET_CHARACTERS[octets[:, :longest]] | ~within).all(axis=1)
    text = np.where(within, octets[:, :longest], 0)[plain]
    if not len(text):
        return none
    try:
        seconds = np.ascontiguousarray(text).view(f"S{longest}")[:, 0].astype(np.float64)
    except ValueError:  # "+-1": the slower way finds out which
        return none
    if not np.isfinite(seconds).all():
        return none
    return plain, seconds


def _seconds(text: bytes) -> float | None:
    if not text:
        return None
    try:
        value = float(text)
    except ValueError:
        return None
    return value if np.isfinite(value) else None
