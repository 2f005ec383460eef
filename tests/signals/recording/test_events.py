import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from signals.recording.events import EVENT_WORDS, OTHER, event_word, is_event_word

KNOWN = {
    "beat": "beat",
    "atrial beat": "atrial beat|PAC",
    "ventricular beat": "PVC|Ventricular beat",
    "atrial fibrillation": "AFIB|atrial fibrillation",
    "atrial flutter": "atrial flutter",
    "sinus rhythm": "Sinus rhythm",
    "seizure": "seizure|comment/Seizure|  sz. |Sz|SZ onset|Seizure end|focal seizure|electrographic seizure",
    "spike": "spike|Sharp wave|spike-wave|spike and wave|polyspikes",
    "lpd": "LPD|LPDs|PLED|pleds",
    "gpd": "GPD|gpds|GPED|GPEDs",
    "lrda": "LRDA",
    "grda": "GRDA|FIRDA",
    "eyes open": "eyes open|Eyes_Open|EYES OPENED|EO",
    "eyes closed": "Eyes closed|eye close|EC",
    "hyperventilation": "Hyperventilation|HV start|post HV",
    "photic": "photic|Photic 10 Hz|photic stimulation|IPS 18Hz",
    "sleep W": "Sleep stage W|wake",
    "sleep N1": "Sleep stage 1|Stage N1|Stage n 1|N1",
    "sleep N2": "Sleep stage 2|Sleep stage N2|N2",
    "sleep N3": "Sleep stage 3|Sleep stage 4",
    "sleep REM": "Sleep stage R|REM",
    "sleep unscored": "Sleep stage ?",
    "movement": "Movement time|movement|cough|Patient moves|swallowing|coughing onset",
    "boundary": "boundary|New Segment|BAD_ACQ_SKIP|Recording starts",
    "artifact": "artifact|BAD_muscle|artefact",
    "blink": "Blink|eye blinks|blinking",
    "arousal": "arousal|EEG arousal",
    "drowsy": "drowsy|Drowsiness|asleep",
    "resting": "rest|Resting state|baseline",
    "calibration": "Calibration|impedance check|cal",
    "stimulus": "stimulus|Square",
    "response": "rt|Response",
    "T0": "T0",
    "T2": "T2",
    "S1": "Stimulus/S  1|S1|s 001",
    "R12": "Response/R12|r12",
    "7": "7|007",
}
PRIVATE = [
    "seizure reported by nurse Smith",
    "no seizure",
    "Erika Mustermann",
    "MRN 4711829",
    "4711829",
    "S 4711829",
    "eyes open 12.03.1961",
    "photic 1961",
    "Patient: Doe, John",
    "T3",
    "S1234",
    "1961",
    "",
]


@pytest.mark.parametrize(("word", "texts"), KNOWN.items())
def test_known_events_keep_their_word(word, texts):
    assert {text: event_word(text) for text in texts.split("|")} == dict.fromkeys(texts.split("|"), word)


@pytest.mark.parametrize("text", PRIVATE)
def test_free_text_does_not_pass(text):
    assert event_word(text) == OTHER
    assert not is_event_word(text)


def test_every_word_is_known_by_some_text():
    assert set(KNOWN) >= EVENT_WORDS - {OTHER}
    assert all(is_event_word(word) for word in KNOWN)


@given(st.text(max_size=40))
def test_nothing_but_the_closed_list_comes_out(text):
    word = event_word(text)
    assert word in EVENT_WORDS or re.fullmatch(r"[TSR]?\d{1,3}", word)
    assert is_event_word(word)


@given(st.sampled_from(sorted(EVENT_WORDS - {OTHER})), st.text(alphabet="abcdefghij ", min_size=1, max_size=12))
def test_a_word_with_something_before_it_is_other(word, prefix):
    # None of the letters a to j alone begins a longer known phrase with a dash.
    assert event_word(f"{prefix}-x-{word}") == OTHER
