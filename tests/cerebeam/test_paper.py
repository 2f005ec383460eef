import json

import numpy as np
import pytest
from PIL import Image

from cerebeam.paper import main, read_picture, write_leads
from evaluation.measures.snr import snr_db
from signals.modality import ECG_12
from signals.paper.ink import UnreadablePageError
from synthetic.heart.leads import NoiseLevels, generate


@pytest.fixture(scope="module")
def x_mv():
    return generate(np.random.default_rng(1), "normal", noise=NoiseLevels(muscle=0.002)).x_mv


@pytest.fixture(scope="module")
def record(tmp_path_factory, x_mv):
    pytest.importorskip("wfdb")
    path = tmp_path_factory.mktemp("records") / "heart.hea"
    write_leads(path, x_mv, 500.0, ())
    return path


@pytest.fixture(scope="module")
def scan(tmp_path_factory, record):
    path = tmp_path_factory.mktemp("scans") / "page.png"
    assert main(["render", str(record), "--output", str(path), "--dpi", "150"]) == 0
    return path


def test_a_record_goes_to_paper_and_back(tmp_path, scan, x_mv, capsys):
    import wfdb

    assert main(["digitise", str(scan), "--output", str(tmp_path / "out"), "--overlay"]) == 0
    assert "3x4, 25 mm/s, 10 mm/mV, 5.9" in capsys.readouterr().out
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["page.dat", "page.hea", "page.overlay.webp"]
    drawn = read_picture(tmp_path / "out" / "page.overlay.webp")
    assert (drawn[..., 0] > drawn[..., 2] + 50).sum() > 1000  # a trace in red
    back = wfdb.rdrecord(str(tmp_path / "out" / "page"))
    assert back.sig_name == list(ECG_12.ch_names)
    assert back.units == ["mV"] * 12
    there = np.isfinite(back.p_signal.T)
    assert there.sum(axis=1).tolist() == [1250, 5000] + [1250] * 10
    strip = back.sig_name.index("II")
    assert snr_db(x_mv[strip, :5000], back.p_signal[:, strip], 500.0) > 15


def test_a_scan_that_cannot_be_read_is_named_and_the_others_are_written(tmp_path, scan, capsys):
    torn, bare = tmp_path / "torn.png", tmp_path / "bare.png"
    torn.write_bytes(scan.read_bytes()[:5000])
    Image.new("RGB", (800, 600), "white").save(bare)
    (tmp_path / "text.png").write_text("no picture")
    scans = [str(torn), str(bare), str(tmp_path / "text.png"), str(scan)]
    assert (
        main(["digitise", *scans, "--output", str(tmp_path / "out"), "--format", "csv", "--sfreq", "250", "--json"])
        == 1
    )
    out, err = capsys.readouterr()
    lines = err.splitlines()
    assert len(lines) == 3
    assert "torn.png: damaged: " in lines[0]
    assert "bare.png: no trace found" in lines[1]
    assert "text.png: no picture in a known format" in lines[2]
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["page.csv"]
    printed = json.loads(out)
    assert [row["record"] for row in printed["records"]] == [str(tmp_path / "out" / "page.csv")]
    assert [row["scan"] for row in printed["refused"]] == scans[:3]
    text = (tmp_path / "out" / "page.csv").read_text().splitlines()
    assert text[0] == "time_s,I,II,III,aVR,aVL,aVF,V1,V2,V3,V4,V5,V6"
    assert len(text) == 2501
    assert text[2000].split(",")[1] == "nan"


def test_an_array_keeps_its_gaps(tmp_path, x_mv):
    gaps = x_mv.copy()
    gaps[0, :100] = np.nan
    write_leads(tmp_path / "a.npz", gaps, 500.0, ())
    with np.load(tmp_path / "a.npz") as stored:
        np.testing.assert_allclose(stored["x_mv"], gaps, atol=1e-6)
        assert (float(stored["sfreq"]), stored["ch_names"].tolist()) == (500.0, list(ECG_12.ch_names))


def test_scans_of_one_name_are_refused_before_anything_is_written(tmp_path, scan, capsys):
    again = tmp_path / "other" / scan.name
    again.parent.mkdir()
    again.write_bytes(scan.read_bytes())
    assert main(["digitise", str(scan), str(again), "--output", str(tmp_path / "out")]) == 2
    assert capsys.readouterr().err == "cerebeam paper: two scans are named page: their records would have one name\n"
    assert not (tmp_path / "out").exists()


def test_a_record_that_fills_no_page_is_refused(tmp_path, record, capsys):
    page = tmp_path / "page.png"
    assert main(["render", str(record), "--output", str(page), "--start", "3"]) == 2
    assert capsys.readouterr().err.strip().endswith("7 s from second 3 on; a page shows 10 s")
    few = tmp_path / "few.csv"
    few.write_text("no record")
    assert main(["render", str(few), "--output", str(page)]) == 2
    assert not page.exists()
    with pytest.raises(SystemExit):
        main(["render", str(record), "--output", str(page), "--dpi", "5000"])
    with pytest.raises(SystemExit):
        main(["render", str(record), "--output", str(tmp_path / "page.gif")])
    assert "a page is one of .png, .jpg, .jpeg, .webp" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(["digitise", str(record), "--output", str(page), "--gain", "11"])


def test_a_picture_of_too_many_pixels_is_refused(tmp_path, monkeypatch):
    Image.new("L", (400, 400)).save(tmp_path / "large.png")
    monkeypatch.setattr("cerebeam.paper._MOST_PIXELS", 100_000)
    with pytest.raises(UnreadablePageError, match="400 x 400 pixels are more than 100,000"):
        read_picture(tmp_path / "large.png")
