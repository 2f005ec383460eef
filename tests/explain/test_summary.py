import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from explain.summary.facts import Facts, flattened, written
from explain.summary.verifier import FORBIDDEN, verify
from explain.summary.writing import TEMPLATE, summarise

FACTS = Facts(
    flattened(
        {
            "data": {"file": "seizure caused by 7.edf",
                     "n_windows": 1200, "window_s": 50.0, "n_subjects": 3, "n_sites": 2},
            "performance": {"accuracy": 0.912, "n": 1200, "level": "95%", "low": 0.871, "high": 0.94},
            "sample": {"start_s": 12.5, "predicted": "LPD", "probability": 0.8731, "label": "GPD"},
            "evidence": {"method": "occlusion", "status": "not validated", "start_s": 3.25, "stop_s": 5.0,
                         "channels": "F7, T3", "band": "4 to 8 Hz", "band_share": 0.61},
            "limits": {"background": "Parts were replaced with windows of this recording."},
        }
    )
)  # fmt: skip


def test_a_template_states_facts_and_passes_its_own_verifier():
    summary = summarise(FACTS)
    assert verify(summary.text, FACTS) == []
    for wanted in ("1,200 windows", "0.91", "95%", "F7, T3", "not validated", "Research use only"):
        assert wanted in summary.text
    assert [name for name, _ in TEMPLATE] == re.findall(r"^## (.+)$", summary.text, flags=re.MULTILINE)
    assert set(summary.fields) <= set(FACTS.values)


def test_a_sentence_without_its_facts_is_left_out():
    values = {name: value for name, value in FACTS.values.items() if name != "performance.low"}
    text = summarise(Facts(values)).text
    assert "interval" not in text
    assert "{" not in text


@pytest.mark.parametrize(
    "text",
    [
        "Sensitivity is 0.99.",
        "Accuracy is 92%.", "Accuracy was 0.913.", "There were 1,201 windows.", "3 of 11 subjects.",
        "Half of the windows.", "Twice as many.", "It rose by -0.91.", "It was 1e-3.", "Eleven windows.",
    ],
)  # fmt: skip
def test_a_number_that_is_no_fact_is_found(text):
    assert verify(text, FACTS) != []


@pytest.mark.parametrize("text", ["Accuracy is 0.91 (91%).", "Accuracy 0.912.", "1,200 or 1200 windows.", "4 to 8 Hz"])
def test_a_fact_may_be_written_in_several_ways(text):
    assert verify(text, FACTS) == []


@pytest.mark.parametrize("word", FORBIDDEN)
def test_no_word_claims_what_a_map_cannot_show(word):
    assert verify(f"This is {word.upper()} here.", FACTS) != []


def test_a_files_name_may_hold_any_word_but_the_text_around_it_may_not():
    assert verify("The file seizure caused by 7.edf was read.", FACTS) == []
    assert verify("It was caused by 7.", FACTS) != []


class Says:
    def __init__(self, text):
        self.text = text

    def write(self, facts):
        return self.text


def test_a_writers_text_is_used_only_if_it_passes():
    good = summarise(FACTS, writer=Says("Accuracy is 0.91 on 1,200 windows."))
    assert good.text == "Accuracy is 0.91 on 1,200 windows."
    bad = summarise(FACTS, writer=Says("Accuracy is 100%. Urgent treatment is needed."))
    assert bad.text == summarise(FACTS).text
    assert {"100%", "urgent", "treatment"} <= {w for p in bad.rejected for w in re.findall(r"[\w%]+", p.what)}


@given(st.dictionaries(
    st.sampled_from(["data.n_windows", "performance.accuracy", "performance.n", "performance.low", "performance.high",
                     "evidence.start_s", "evidence.stop_s", "sample.probability", "sample.start_s"]),
    st.one_of(st.integers(-10**6, 10**6), st.floats(-1e4, 1e4)),
))  # fmt: skip
def test_whatever_the_facts_every_number_of_the_text_is_one_of_them(values):
    facts = Facts({**FACTS.values, **values})
    assert verify(summarise(facts).text, facts) == []


def test_facts_survive_a_file_and_damage_is_one_line(tmp_path):
    FACTS.save(tmp_path / "facts.json")
    assert Facts.load(tmp_path / "facts.json") == FACTS
    (tmp_path / "facts.json").write_text("[1")
    with pytest.raises(ValueError, match="holds no facts"):
        Facts.load(tmp_path / "facts.json")
    assert written(float("nan")) == "undefined"
    assert written(0.00123) == "0.0012"
