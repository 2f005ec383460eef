"""What kind of sensor a channel label speaks of."""

import re

# First match wins. Labels are lower-cased; a rule matches anywhere in the label unless it is anchored.
_RULES: tuple[tuple[str, str], ...] = (
    ("stim", r"^sti\b|\bsti ?\d|status|trig|stim|marker|\bevent|photic|^mk$"),
    ("ecg", r"ecg|ekg|^-?(i{1,3}|av[rlf]|v[1-6])$|^ml(i{1,3})$|^lead[ _](i{1,3}|av[rlf]|v[1-6])$"),
    # E1 and E2 are eyes only against the other side's ear: a dense net numbers its electrodes so.
    ("eog", r"eog|\b(loc|roc)\b|\b[lr]? ?eyes?\b|\b[hv]eo[lrud]?\b|\b(lo|io|so)[12]\b|^e[12] ?[-:/] ?([am][12]|fpz)\b"),
    ("emg", r"emg|\b[lrc]? ?chin|submental|mentalis|\btib|masset|\b[lr]? ?legs?\d?\b|\b[lr]at\d?\b|\bplm|deltoid"),
    ("resp", r"\bresp|airflow|\bflow|thor|\babd|\bchest|nasal|breath|effort"),
    (
        "misc",
        r"sp ?o2|sao2|co2|\bpleth?|\bhr\b|puls|\bacc|\bgyr|\bmag[xyz]\b|\btemp\b|\btemp |temperature|\bpos(ition)?\b"
        r"|\blights?\b|\bgsr|\beda\b|snor|\bmic\b|sound|audio|\bdc ?\d|^exg ?\d|^erg ?\d|batt|^counter$|^cq |impedance",
    ),
)
_COMPILED = tuple((sensor_type, re.compile(pattern)) for sensor_type, pattern in _RULES)


def sensor_type_of(label: str) -> str:
    """Return the kind of sensor a label speaks of, one of `signals.recording.recording.SENSOR_TYPES`; "eeg" if no
    other.

    "EKG" -> "ecg", "HEOG" -> "eog", "Chin EMG" -> "emg", "Resp oro-nasal" -> "resp", "SpO2" -> "misc",
    "STI 014" -> "stim", "FP1-F7" -> "eeg".
    """
    lowered = label.strip().lower().replace("_", " ")
    for sensor_type, pattern in _COMPILED:
        if pattern.search(lowered):
            return sensor_type
    return "eeg"
