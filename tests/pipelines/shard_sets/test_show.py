from xml.etree import ElementTree

from pipelines.shards import main
from signals.shards.manifest import read_manifest
from signals.shards.records import decode_window
from signals.shards.tfrecord import read_shard


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
