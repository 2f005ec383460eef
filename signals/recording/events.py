"""Event words: the only text of an annotation that leaves a reader.

Annotations are free text, and free text holds names, dates and record numbers. `event_word` maps a description to a
word of a closed list, never to a part of itself; what it does not know becomes "other".
"""

import re

OTHER = "other"
"""What every description that is not on the list becomes: its time stays, its text does not."""

# (word, pattern of the whole description in lower case). A pattern that matched inside of longer text would call
# "no seizure" a seizure.
_EDGE = r"( ?(onset|start|begin|end|offset|stop))?"
_WORDS: tuple[tuple[str, str], ...] = (
    ("seizure", rf"(electro(graphic|clinical) |clinical |focal |generali[sz]ed )?(seizure|sz|seiz)s?{_EDGE}"),
    ("spike", r"(epileptiform )?(spikes?|sharp waves?|spike(s| ?and ?|-| )waves?|polyspikes?|spsw|ied|spk)"),
    ("lpd", r"lpds?|pleds?"),
    ("gpd", r"gpds?|gpeds?"),
    ("lrda", r"lrda"),
    ("grda", r"grda|firda"),
    ("eyes open", r"eyes? ?(are )?opene?d?(ing)?|eo"),
    ("eyes closed", r"eyes? ?(are )?close?d?(ing)?|ec"),
    ("hyperventilation", rf"(hyperventilation|hypervent|hv){_EDGE}|post ?-?(hyperventilation|hv)"),
    ("photic",
     rf"(photic( stim(ulation)?)?|ips|intermittent photic stimulation|flash(es)?)( \d{{1,2}}(\.\d)? ?(hz)?)?{_EDGE}"),
    ("sleep W", r"(sleep )?(stage )?(w|wake|awake)"),
    ("sleep N1", r"(sleep )?stage (n ?)?1|n1"),
    ("sleep N2", r"(sleep )?stage (n ?)?2|n2"),
    ("sleep N3", r"(sleep )?stage (n ?)?[34]|n3|n4"),
    ("sleep REM", r"(sleep )?stage (r|rem)|rem"),
    ("sleep unscored", r"sleep stage \?"),
    ("movement", rf"movement( time)?|patient moves?|body movement|chewing|talking|swallow(ing)?|cough(ing)?{_EDGE}"),
    ("blink", r"(eye )?blinks?(ing)?"),
    ("artifact", r"(bad|artifact|artefact)s?([ _](segment|span|muscle|movement|emg|eog|ecg|blink|flat|pop|line))?"),
    ("arousal", r"(eeg )?arousal"),
    ("drowsy", r"drows(y|iness)|asleep|sleep"),
    ("resting", r"rest(ing)?( state)?|baseline"),
    ("boundary",
     r"(edge |bad )?boundary|(new )?segment|bad acq skip|rec(ording)? (start|stop|end)s?|(start|end) of recording"),
    ("beat", r"beat"),
    ("atrial beat", r"atrial beat|pac"),
    ("ventricular beat", r"ventricular beat|pvc"),
    ("atrial fibrillation", r"atrial fibrillation|afib"),
    ("atrial flutter", r"atrial flutter"),
    ("sinus rhythm", r"sinus rhythm"),
    ("calibration", r"calibration|impedance( check)?|cal"),
)  # fmt: skip
_COMPILED = tuple((word, re.compile(pattern)) for word, pattern in _WORDS)
# Codes of stimulus programs. Three digits at most: longer numbers can be of persons.
_CODE = re.compile(r"t(?P<t>[0-2])|(?:stimulus/)?s ?(?P<s>\d{1,3})|(?:response/)?r ?(?P<r>\d{1,3})|(?P<n>\d{1,3})")
_STIMULI = {"stimulus": "stimulus", "square": "stimulus", "rt": "response", "response": "response"}

EVENT_WORDS = frozenset({*(word for word, _ in _WORDS), *_STIMULI.values(), OTHER})
"""All words that can come out, codes such as "T1", "S12" or "R3" aside."""


def event_word(description: str) -> str:
    """Return the event word that a whole description means, or `OTHER`.

    "Sz onset" -> "seizure", "Eyes_Closed" -> "eyes closed", "Sleep stage 2" -> "sleep N2", "T1" -> "T1",
    "Stimulus/S  1" -> "S1", "no seizure seen, Dr. Doe" -> "other".
    """
    text = re.sub(r"[\s_]+", " ", description).strip(" .,;:!").lower()
    text = text.removeprefix("comment/")
    if code := _CODE.fullmatch(text):
        ((kind, number),) = ((name, digits) for name, digits in code.groupdict().items() if digits is not None)
        return f"{'' if kind == 'n' else kind.upper()}{int(number)}"
    if text in _STIMULI:
        return _STIMULI[text]
    return next((word for word, pattern in _COMPILED if pattern.fullmatch(text)), OTHER)


def is_event_word(text: str) -> bool:
    """Return whether a text is one that `event_word` gives."""
    return text in EVENT_WORDS or re.fullmatch(r"T[0-2]|[SR]?\d{1,3}", text) is not None
