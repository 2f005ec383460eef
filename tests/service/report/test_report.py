"""The patient report: facts against arithmetic by hand, the page against its facts, and hostile names."""

import re

import httpx
import pytest

from service.records import jobs
from service.refusals import Refusal
from service.report.facts import WINDOW_S, burdens, clearest, unsure_s
from service.report.figures import COLOURS
from service.report.page import summary
from service.report.pdf import BROWSERS, to_pdf
from service.viewer.pages import STATIC
from tests.service.viewer.conftest import HOSTILE, recordings, shown  # noqa: F401
from tests.service.viewer.test_routes import answer, findings


def planted():
    """80 s answered: 30 s LPD in two episodes, 10 s seizure, 40 s Other."""
    names = ["LPD", "LPD", "Other", "LPD", "Other", "Other", "Seizure", "Other"]
    return findings(*(answer(10.0 * i, name, 0.5 + 0.05 * i) for i, name in enumerate(names)))


def test_burden_by_hand():
    found = {one.name: one for one in burdens(planted())}
    assert (found["LPD"].seconds, found["LPD"].share, found["LPD"].n_episodes, found["LPD"].longest_s) == (
        30,
        0.375,
        2,
        20,
    )
    assert found["LPD"].most_in_5_min == 30 / WINDOW_S
    assert found["Seizure"].most_in_5_min == 10 / WINDOW_S
    assert found["GPD"].seconds == found["GPD"].most_in_5_min == 0
    assert "Other" not in found
    assert [one.predicted_class for one in clearest(planted())] == ["Seizure", "LPD"]
    assert clearest(planted())[1].start_s == 30.0


def test_what_the_model_is_unsure_of_is_no_burden():
    unsure = findings(answer(0, "Seizure", 0.3), answer(10, "LPD", 0.6), answer(20, "LPD", 0.4), answer(30, "LPD", 0.7))
    found = {one.name: one for one in burdens(unsure)}
    assert (found["Seizure"].seconds, found["LPD"].seconds, found["LPD"].n_episodes) == (0, 20, 2)
    assert found["LPD"].share == 0.5
    assert unsure_s(unsure) == 20
    assert [one.predicted_class for one in clearest(unsure)] == ["LPD"]


def test_a_burden_of_five_minutes_is_all_of_them():
    status = findings(*(answer(10.0 * i, "Seizure", 0.9) for i in range(40)))
    assert burdens(status)[0].most_in_5_min == 1.0


@pytest.fixture(scope="module")
def answered(shown):  # noqa: F811
    name = f"{HOSTILE}.edf"
    study = httpx.get(f"{shown.url}/api/viewer/recording", params={"recording": name}).json()["study_id"]
    job = jobs.new_job(owner="local", file=name, is_upload=False, model="small", hop_s=10.0, study_id=study)
    jobs.accept(shown.server.engine, job, most_waiting=100)
    jobs.finish(shown.server.engine, jobs.claim(shown.server.engine, "w"), findings(answer(0, "GPD", 0.9)))
    return shown, name


def test_the_page_holds_its_facts_and_no_markup_of_the_file(answered):
    one, name = answered
    reply = httpx.get(f"{one.url}/api/report", params={"recording": name}, timeout=60)
    assert reply.status_code == 200
    assert "<img" not in reply.text
    assert "&lt;img" in reply.text
    assert "Research use only" in reply.text
    assert "GPD in 100.0% (1 episode)" in reply.text
    assert "<script" not in reply.text
    assert "unsafe" not in reply.headers["content-security-policy"]
    assert not re.search(r"\bstyle=", reply.text)  # the policy would refuse it
    assert "urgent" not in reply.text.lower()


def test_without_answers_there_is_no_report(answered):
    one, _ = answered
    reply = httpx.get(f"{one.url}/api/report", params={"recording": "four.edf"})
    assert (reply.status_code, reply.json()["code"]) == (409, "not_answered")


def test_sentences_come_from_facts(answered):
    from dataclasses import replace

    from service.report.facts import Facts

    facts = Facts(
        recording="a", duration_s=7200, recorded_s=7200, answered_s=80, abstained_s=0, unsure_s=0, burdens=burdens(planted()),
        episodes=(), samples=(), bad=(), unanswered=(), n_reviews=0, model="m", model_digest="d",
    )  # fmt: skip
    assert summary(facts) == (
        "2.0 h of EEG; the model answers 1.3 min of it. It predicts Seizure in 12.5% (1 episode); LPD in 37.5% (2 episodes)."
    )
    assert "none of the five" in summary(replace(facts, burdens=()))


def test_pdf_where_there_is_a_browser_and_a_reason_where_not(monkeypatch):
    from shutil import which

    if any(which(name) for name in BROWSERS):
        assert to_pdf("<!doctype html><p>x</p>").startswith(b"%PDF-")
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(Refusal, match="no_browser"):
        to_pdf("x")


def test_colours_are_the_viewers():
    script = (STATIC / "style.js").read_text()
    assert dict(re.findall(r'(\w+): \{ colour: "(#\w{6})"', script)) == COLOURS
