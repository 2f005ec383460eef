"""Stored explanations over the traces: found by the recording's content, with their method's worth, and drawn."""

from dataclasses import replace
from xml.etree import ElementTree

import numpy as np
import pytest

from explain.explanation import Explanation
from explain.gates.card import NOT_VALIDATED
from explain.store import Explained, write_explanations
from service.viewer.evidence import FILE, Explanations, fields_of
from signals.electrodes import TEN_TWENTY
from signals.modality import EEG_1020
from signals.readers.digests import source_sha256
from tests.service.viewer.conftest import HOSTILE, opened, settings_for, start, write_recording

NAMES, N_STEPS = EEG_1020.ch_names, 40


def explained(source, *, method="occlusion", **facts):
    values = np.zeros((19, N_STEPS, 2))
    values[NAMES.index("T3"), 8:12, 0] = 2.0  # seconds 2 to 3 of the window
    values[NAMES.index("F7"), 8:12, 1] = 1.0
    values[NAMES.index("O2"), 20:30, 0] = -5.0
    one = Explanation(
        method=method, target=0, values=values, score=1.0, base=0.0, bands=((0.5, 4.0), (4.0, 8.0)), sums=False
    )
    known = {"source_sha256": source, "start_s": 5.0, "explained_class": "Seizure", "explained_probability": 0.9}
    return Explained(explanation=one, window="w", facts=known | facts)


def store(folder, name, *rows):
    (folder / name).mkdir(parents=True)
    write_explanations(folder / name / FILE, rows, ch_names=NAMES)


def test_shares_are_of_what_speaks_for_the_class():
    fields = fields_of(NAMES, explained("s", missed="seeds"))
    # Four steps of 2 at T3, four of 1 at F7: two and one thirds; what speaks against is not drawn.
    assert fields["channels"][:2] == [("T3", 0.6667), ("F7", 0.3333)]
    assert fields["regions"][:2] == [("left side", 0.6667), ("left front", 0.3333)]
    # 0.5-4 Hz: 4 x 2 less 10 x 5, which is nothing for it; 4-8 Hz: 4 x 1.
    assert fields["bands"] == [("4–8 Hz", 1.0), ("0.5–4 Hz", 0.0)]
    assert (fields["values"][NAMES.index("T3")][8], fields["values"][NAMES.index("F7")][8]) == (100, 50)
    assert min(min(row) for row in fields["values"]) == 0
    assert (fields["status"], fields["missed"]) == (NOT_VALIDATED, "seeds")  # without a card nothing is validated
    image = ElementTree.fromstring(fields["scalp"])
    titles = [title.text for title in image.iter("{http://www.w3.org/2000/svg}title")]
    assert "T3: 8" in titles  # four steps of 2; signed, unlike the shares
    assert "O2: -50" in titles


def test_no_map_of_the_scalp_without_places_or_channels():
    row = explained("s")
    assert fields_of([f"<b>{i}" for i in range(19)], row)["scalp"] == ""
    assert fields_of(NAMES, replace(row, explanation=replace(row.explanation, has_channels=False)))["scalp"] == ""


def test_nothing_is_stored_nothing_is_read_and_damage_is_passed_over(tmp_path):
    class Never:
        digest = "d"

    assert Explanations(None).of(Never(), tmp_path / "missing.edf") == []
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / FILE).write_bytes(b"no archive")
    assert Explanations(tmp_path).of(Never(), tmp_path / "missing.edf") == []


@pytest.fixture(scope="module")
def explained_server(things, tmp_path_factory):
    folder = tmp_path_factory.mktemp("evidence")
    recordings, stored = folder / "recordings", folder / "stored"
    recordings.mkdir()
    for name in ("one.edf", "two.edf"):
        write_recording(recordings / name, TEN_TWENTY, 60 if name == "one.edf" else 30, 128)
    source = source_sha256(recordings / "one.edf")
    (recordings / "one.edf").rename(recordings / "renamed.edf")  # found by what is in it, not by its name
    store(stored, "run", explained(source, missed="seeds, deletion"), explained(source, method=HOSTILE),
          explained("0" * 64))  # fmt: skip
    more = f"dataset.explanations={stored}"
    url, _, end = start(settings_for(things.bundle, recordings, folder / "var", more))
    yield url
    end()


def test_the_overlay_names_method_and_gates_and_draws_where_it_is(browser, explained_server):
    page = opened(browser, f"{explained_server}/app#recording=renamed.edf&t=0")
    page.keyboard.press("1")
    page.locator("#tab-evidence").click()
    page.locator("#evidence tbody tr").first.wait_for()
    assert page.locator("#evidence tbody tr").count() == 2  # the third is of another recording
    page.locator("#evidence tbody tr", has_text="occlusion").locator("button").click()
    text = page.locator("#evidence .now").inner_text()
    assert "What speaks for Seizure, by occlusion" in text
    assert "not validated; misses seeds, deletion" in text
    assert "T3 67%" in text
    page.wait_for_function("() => document.querySelector('#evidence img.scalp')?.naturalWidth > 0")
    page.evaluate("cerebeam.actions.home()")
    page.wait_for_function("() => cerebeam.figures.start === 0")
    page.wait_for_timeout(200)
    tinted = page.evaluate("""() => {
        const {traces} = cerebeam, context = traces.over.getContext("2d");
        const at = (label, second) => {
            const {y} = traces.places.find(({row}) => row.label.includes(label));
            const [left, top] = [traces.x(second), y].map((place) => Math.round(place * traces.ratio));
            return context.getImageData(left, top, 1, 1).data;
        };
        return [at("T3", 7.5), at("F7", 7.5), at("T3", 6.5), at("O2", 11)].map((pixel) => pixel[3]);
    }""")  # fmt: skip
    assert tinted[0] > tinted[1] > 0  # stronger where there is more evidence
    assert tinted[2:] == [0, 0]  # outside of it, and where it speaks against
    assert page.evaluate("window.hit === undefined")
    page.locator("#tab-findings").click()
    page.wait_for_timeout(200)
    gone = page.evaluate("""() => {
        const {traces} = cerebeam, {y} = traces.places.find(({row}) => row.label.includes("T3"));
        return traces.over.getContext("2d").getImageData(Math.round(traces.x(7.5)), Math.round(y), 1, 1).data[3];
    }""")  # fmt: skip
    assert gone == 0  # only while the tab is open
    page.goto("about:blank")
    page.goto(f"{explained_server}/app#recording=two.edf")
    page.wait_for_function("() => /No evidence is stored/.test(document.querySelector('#evidence').textContent)")
    assert page.errors == []
    page.context.close()
