from dataclasses import replace
from xml.etree import ElementTree

import numpy as np

from pipelines.shard_sets.show import about, as_page, as_svg, as_text
from pipelines.shards import main
from signals.description.artifacts import BIT
from signals.shards.manifest import read_manifest
from signals.shards.records import decode_window
from signals.shards.tfrecord import read_shard
from signals.window import ABSENT, INTERPOLATED, MEASURED, Provenance, Window


def windows(folder):
    return [decode_window(r) for s in read_manifest(folder).shards for r in read_shard(folder / s.path)]


def test_a_window_by_its_key(finished, tmp_path, capsys):
    wanted = windows(finished[1])[17]
    drawn = [tmp_path / "w.svg", tmp_path / "w.html"]
    args = ["show", str(finished[1]), "--key", wanted.key, "--svg", str(drawn[0]), "--html", str(drawn[1])]
    assert main(args) == 0
    text = capsys.readouterr().out
    assert f"window     {wanted.key}" in text
    assert f"recording  {wanted.recording_id}" in text
    line = next(line for line in text.splitlines() if line.startswith("Pz"))
    assert line.split()[1:4] == ["measured", f"{wanted.data[10].std():.1f}", f"{wanted.quality[10]:.2f}"]
    svg = ElementTree.parse(drawn[0]).getroot()
    courses = svg.findall("{http://www.w3.org/2000/svg}path")
    assert len(courses) == 19
    assert wanted.key in drawn[1].read_text()


def test_the_first_without_a_key_and_none_of_an_unknown(finished, capsys):
    assert main(["show", str(finished[1])]) == 0
    assert windows(finished[1])[0].key in capsys.readouterr().out
    assert main(["show", str(finished[1]), "--key", "0" * 16]) == 1
    assert "no window 0000000000000000" in capsys.readouterr().err


def test_stats_by_site(finished, capsys):
    assert main(["stats", str(finished[1])]) == 0
    lines = capsys.readouterr().out.splitlines()
    north = next(line.split() for line in lines if line.startswith("north"))
    # files, persons, windows, hours: 2 files of 6 windows of 10 s.
    assert north[1:5] == ["2", "2", "12", "0.03"]
    assert "1 of 5 files left out, 0 of 24 windows rejected" in "\n".join(lines)


def test_bad_input_is_one_line(tmp_path, capsys):
    assert main(["stats", str(tmp_path)]) == 1
    assert len(capsys.readouterr().err.splitlines()) == 1


def marked():
    """A window with a state, a label and flags of every form."""
    rng = np.random.default_rng(0)
    state = np.full(19, MEASURED, np.uint8)
    state[1], state[2] = INTERPOLATED, ABSENT
    mask = np.zeros((19, 50), np.uint16)
    mask[0, [2, 3, 7]] = BIT["blink"]
    mask[0, 3:6] |= BIT["flat"]
    mask[3, 49] = BIT["muscle"]
    data = np.tile([[-10.0], [10.0]], (1, 6400)).T.reshape(1, -1).repeat(19, axis=0).astype(np.float32)
    data[2] = 0
    return Window(
        data=data, ch_state=state, artifact_mask=mask, quality=np.linspace(0, 1, 19).astype(np.float32),
        features=rng.normal(size=(19, 29)).astype(np.float32), modality="eeg_1020", sfreq=256.0, band=(0.5, 50.0),
        site_id="north", subject_id="5" * 16, recording_id="ab" * 8, start_s=12.5, label="LPD",
        votes=(0.0, 3.0, 0.0, 1.5, 0.0, 0.0), label_span_s=(20.0, 30.0), quality_verdict="artifacts+noise",
        provenance=Provenance(source_sha256="", segment=2, start_sample=2500, stop_sample=12500, reader="edf",
                              config_hash="c" * 16, code_version="0.1+abc"),
    )  # fmt: skip


def test_everything_that_is_known_of_a_window():
    window = marked()
    assert about(window) == {
        "window": window.key, "site": "north", "subject": "5" * 16, "recording": "ab" * 8,
        "onset": "12.5 s, 50 s long", "signal": "eeg_1020, 256 Hz, 0.5 to 50 Hz", "label": "LPD (seconds 20 to 30)",
        "quality": "artifacts, noise", "source": "segment 2, samples 2500 to 12500, read by edf",
        "code": "0.1+abc, config cccccccccccccccc", "votes": "0 3 0 1.5 0 0",
    }  # fmt: skip
    bare = about(replace(window, label="", votes=(), quality_verdict=""))
    assert (bare["label"], bare["quality"]) == ("none", "not stored")
    assert "votes" not in bare
    assert about(replace(window, label_span_s=None))["label"] == "LPD"


def test_a_line_per_channel():
    lines = as_text(marked()).splitlines()
    assert lines[0] == f"window     {marked().key}"
    assert lines[11:17] == [
        "",
        "channel state          SD, µV  quality  flagged seconds",
        "Fp1     measured         10.0     0.00  blink 2-3, 7; flat 3-5",
        "F3      interpolated     10.0     0.06",
        "C3      absent            0.0     0.11",
        "P3      measured         10.0     0.17  muscle 49",
    ]
    assert len(lines) == 11 + 2 + 19


def test_a_window_as_a_page_and_as_a_drawing():
    window = marked()
    svg = ElementTree.fromstring(as_svg(window))
    assert svg.get("width") == "1280"
    assert as_svg(window).endswith("</svg>\n")
    # An absent channel has no course; three kinds of flags on two channels shade seven seconds.
    assert len(svg.findall("{http://www.w3.org/2000/svg}path")) == 18
    assert len(svg.findall("{http://www.w3.org/2000/svg}rect")) == 6
    html = as_page(window)
    assert f"<h1>Window {window.key}</h1>" in html
    assert "<td>Fp1</td><td>measured</td><td>10.0</td><td>0.00</td><td class=words>blink 2-3, 7; flat 3-5</td>" in html
    assert "<th class=words>Flagged seconds<" in html
    assert html.count("<svg") == 1
    for value in about(window).values():
        assert value in html
