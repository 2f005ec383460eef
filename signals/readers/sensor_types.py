"""What kind of sensor a channel label speaks of."""

import re

# First match wins. Labels are lower-cased; a rule matches anywhere in the label unless it is anchored.
_RULES: tuple[tuple[str, str], ...] = (
    ("stim", r"^sti\b|\bsti ?\d|status|trig|stim|marker|\bevent|photic|^mk$"),
    ("ecg", r"ecg|ekg"),
    ("eog", r"eog|\b(loc|roc)\b|\beyes?\b"),
    ("emg", r"emg|\bchin|submental|\btib|masset|\blegs?\b|deltoid"),
    ("resp", r"\bresp|airflow|\bflow|thora|abdo|\bchest|nasal|breath|effort"),
    (
        "misc",
        r"sp ?o2|sao2|co2|\bpleth?|\bhr\b|puls|\bacc|\bgyr|\bmag[xyz]\b|\btemp\b|\btemp |temperature|\bpos(ition)?\b"
        r"|\blights?\b|\bgsr|\beda\b|snor|\bmic\b|sound|audio|\bdc ?\d|^exg ?\d|^erg ?\d|batt|^counter$|^cq |impedance",
    ),
)
_COMPILED = tuple((sensor_type, re.compile(pattern)) for sensor_type, pattern in _RULES)


def sensor_type_of(label: str) -> str:
    """Return the kind of sensor a label speaks of, one of `signals.recording.SENSOR_TYPES`; "eeg" if no other.

    "EKG" -> "ecg", "HEOG" -> "eog", "Chin EMG" -> "emg", "Resp oro-nasal" -> "resp", "SpO2" -> "misc",
    "STI 014" -> "stim", "FP1-F7" -> "eeg".
    """
    lowered = label.strip().lower().replace("_", " ")
    for sensor_type, pattern in _COMPILED:
        if pattern.search(lowered):
            return sensor_type
    return "eeg"
