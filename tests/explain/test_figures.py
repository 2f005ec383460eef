import struct
import zlib
from xml.etree import ElementTree

import numpy as np
import pytest

from explain.explanation import Explanation
from explain.figures.colours import coloured, png, signed_share
from explain.figures.drawings import by_frequency, flat, scalps, segments, spectrogram, traces, triptych
from explain.figures.pages import Figure, Sample, index_page, markdown, sample_page
from explain.gates.card import ExplanationCard, Measured, missing_card
from signals.modality import EEG_1020

NAMES, SFREQ = EEG_1020.ch_names, 128.0
X = np.random.default_rng(0).normal(size=(19, 768)).astype(np.float32)
BANDS = ((0.5, 8.0), (8.0, 45.0))


def explanation(**fields):
    values = np.random.default_rng(1).normal(size=(19, 24, 2))
    given = {"method": "occlusion", "target": 1, "values": values, "score": 1.0, "base": 0.0, "bands": BANDS} | fields
    return Explanation(**given)


def nothing():
    return explanation(values=np.zeros((19, 24, 1)), bands=())


def test_a_png_holds_its_pixels():
    pixels = np.random.default_rng(0).integers(0, 256, (3, 5, 3), dtype=np.uint8)
    raw = png(pixels)
    assert raw[:8] == b"\x89PNG\r\n\x1a\n"
    assert struct.unpack(">II", raw[16:24]) == (5, 3)
    size = struct.unpack(">I", raw[33:37])[0]
    rows = np.frombuffer(zlib.decompress(raw[41 : 41 + size]), np.uint8).reshape(3, 16)
    assert (rows[:, 0] == 0).all()
    np.testing.assert_array_equal(rows[:, 1:].reshape(3, 5, 3), pixels)


def test_red_speaks_for_the_class_blue_against_it_white_is_nothing():
    against, nothing, speaks = coloured(signed_share(np.array([-2.0, 0.0, 2.0]), 2.0), "signed").astype(int)
    assert against[2] > against[0] + 60
    assert speaks[0] > speaks[2] + 60
    assert (nothing == 255).all()
    assert (coloured(np.array([np.nan]), "viridis") == 224).all()


@pytest.mark.parametrize(
    "drawn",
    [
        lambda: traces(X, explanation(), ch_names=NAMES, sfreq=SFREQ, start_s=12.5),
        lambda: traces(np.zeros_like(X), nothing(), ch_names=NAMES, sfreq=SFREQ),
        lambda: triptych(X[0], explanation(), sfreq=SFREQ, title="a <b> & c"),
        lambda: triptych(X[0], nothing(), sfreq=SFREQ, title="t", palette="activation"),
        lambda: scalps(explanation(), np.asarray(EEG_1020.positions), ch_names=NAMES)[0],
    ],
)  # fmt: skip
def test_a_drawing_is_well_formed_and_without_nan(drawn):
    svg = drawn()
    ElementTree.fromstring(svg)
    assert "nan" not in svg.lower().replace("nano", "").split("base64")[0]


def test_the_nose_is_up_and_left_is_left():
    places = dict(zip(NAMES, flat(np.asarray(EEG_1020.positions)), strict=True))
    assert places["Fp1"][1] > 0.7 > -0.7 > places["O1"][1]
    assert places["T3"][0] < 0 < places["T4"][0]
    assert np.abs(places["Cz"]).max() < 0.1


def test_evidence_lies_in_its_band():
    freqs, log = spectrogram(X[0], SFREQ)
    values = np.zeros((19, 24, 2))
    values[3, 5, 1] = 2.0
    found = by_frequency(explanation(values=values), freqs)
    assert found.shape == (len(freqs), 24)
    assert (found[freqs < 8] == 0).all()
    assert (found[freqs >= 9, 5][:-1] > 0).all()
    assert log.shape[0] == len(freqs)
    assert segments(explanation()) == [(0.0, 2.0), (2.0, 4.0), (4.0, 6.0)]


def test_pages_label_what_is_not_validated_and_escape_what_they_are_given():
    sample = Sample(
        name="sample_0001", title="Explanation of <a>.edf, 0 to 50 s",
        facts={"start_s": 0.0, "label": "<script>alert(1)</script>", "predicted": "LPD"},
        figures=[Figure(file="a.svg", svg="<svg/>", caption="A & B")], methods=["occlusion", "m"],
        summary="## The data\n\n<b>bold</b>",
    )  # fmt: skip
    card = ExplanationCard(model="m", methods=(Measured(method="occlusion", values={"time_hit": 0.2}, n_cases=3),))
    for page in (
        sample_page(sample, card),
        index_page([sample], card, title="T"),
        index_page([sample], missing_card("m"), title="T"),
    ):
        assert "<script" not in page
        assert "not validated" in page or "no map here is validated" in page
    assert "<b>bold" not in sample_page(sample, card)
    assert "Explanation of &lt;a&gt;.edf, 0 to 50 s</h1>" in sample_page(sample, card)
    assert index_page([sample], missing_card("m"), title="T").count("o gate was measured for this model") == 1
    assert 'class="error">0.20' in index_page([sample], card, title="T")
    assert markdown("## A\n\nB\n") == "<h3>A</h3><p>B</p>"


def words(svg):
    return [element.text for element in ElementTree.fromstring(svg).iter() if element.tag.endswith("text")]


def test_drawings_state_their_scales():
    values = np.zeros((19, 24, 1))
    values[4, 8:12, 0] = 0.5
    values[4, 20, 0] = -0.25
    given = explanation(values=values, bands=())
    x = np.zeros((19, 768), dtype=np.float32)
    x[:, ::2] = 42.0  # more than 2% of samples: a row of 42 / 0.42 µV
    drawn = words(traces(x, given, ch_names=NAMES, sfreq=SFREQ, start_s=12.0))
    assert {"a row is 100 µV high", "against, −0.5", "for the class, +0.5", "logit, for each channel and 0.25 s"} <= {
        *drawn
    }
    assert [word for word in drawn if word.isdigit()] == [str(k) for k in range(12, 19)]  # seconds of the recording
    # 2.0 over seconds 2 to 3, less 0.25 at 5: 1.75 in six seconds; by thirds 0, 1 and -0.125 a second.
    whole, first, second, last = (words(svg) for svg in scalps(given, np.asarray(EEG_1020.positions), ch_names=NAMES))
    assert [each[-4] for each in (whole, first, second, last)] == ["0 to 6 s", "0 to 2 s", "2 to 4 s", "4 to 6 s"]
    assert all(each[-3:] == ["−1", "+1", "logit per s"] for each in (whole, first, second, last))
