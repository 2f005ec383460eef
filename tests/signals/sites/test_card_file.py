"""Cards as text: what they amount to, and faults that name their line and key."""

import contextlib
import pickle
import subprocess
import sys
import textwrap
from dataclasses import asdict
from json import dumps, loads
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from signals.readers.declaration import Declaration, declaration_of
from signals.readers.layouts.layout import layout_of
from signals.sites.card import CardError, Known, SiteCard, card_of, check_distinct
from signals.sites.card_file import read_card
from signals.windows.labels import Label

CARD = r"""
name: ulm-ward
files: ["ulm/*.mat", "*.npz"]
mains: 50
reference: A1/A2
subject: {pattern: '^p(\d+)_', wording: "ulm-{:0>3}"}
label:
  pattern: '_([ab])\.'
  values: {a: rest, b: task}
channels: {ch1: Fp1, ch2: Fp2}
sensors: {ch3: eog}
layout:
  formats: mat
  axis: 0
  channels: [Fp1, Fp2]
  rate: 250
"""


def card(tmp_path, text, name="card.yaml", **how):
    path = tmp_path / name
    path.write_text(textwrap.dedent(text), encoding="utf-8")
    return read_card(str(path), **how)


def refusal(tmp_path, text, name="card.yaml"):
    with pytest.raises(CardError) as caught:
        card(tmp_path, text, name)
    assert "\n" not in str(caught.value)
    return str(caught.value).replace(str(tmp_path) + "/", "")


def test_a_card_becomes_plain_data(tmp_path):
    read = card(tmp_path, CARD)
    assert (read.site_id, read.files, read.mains_hz) == ("ulm-ward", ("ulm/*.mat", "*.npz"), 50.0)
    assert read.declared.reference == "A1/A2"
    assert read.declared.channel_map.labels == (("ch1", "Fp1"), ("ch2", "Fp2"))
    assert read.declared.sensors == (("ch3", "eog"),)
    (layout,) = read.declared.layouts
    assert (layout.name, layout.time_axis, layout.ch_names, layout.sfreq) == ("ulm-ward", 0, ("Fp1", "Fp2"), 250.0)
    assert read.known("/d/ulm/p7_b.mat") == Known(subject="ulm-007", labels=(Label(onset_s=None, label="task"),))
    assert read.known("/d/ulm/7_c.mat") == Known()
    assert pickle.loads(pickle.dumps(read.declared)) == read.declared
    assert declaration_of(loads(dumps(asdict(read.declared)))) == read.declared
    assert declaration_of(None) == Declaration()


def test_toml_amounts_to_the_same(tmp_path):
    text = r"""
        name = "ulm-ward"
        files = ["ulm/*.mat", "*.npz"]
        mains = 50
        reference = "A1/A2"
        subject = {pattern = '^p(\d+)_', wording = "ulm-{:0>3}"}
        [label]
        pattern = '_([ab])\.'
        values = {a = "rest", b = "task"}
        [channels]
        ch1 = "Fp1"
        ch2 = "Fp2"
        [sensors]
        ch3 = "eog"
        [layout]
        formats = "mat"
        axis = 0
        channels = ["Fp1", "Fp2"]
        rate = 250
    """
    one, other = card(tmp_path, CARD), card(tmp_path, text, "card.toml")
    assert one == other
    assert one.known("/d/p7_a.mat") == other.known("/d/p7_a.mat")
    faults = (("rate = 250", "rate = -1", "line 15, layout"), ("mains = 50", "mains = 5", "line 4, mains:"))
    for good, bad, where in faults:
        assert refusal(tmp_path, text.replace(good, bad), "card.toml").startswith(f"card.toml {where}")


@pytest.mark.parametrize(
    ("replaced", "by", "message"),
    [
        ("mains: 50", "mains: 55", "line 4, mains: Input should be 50, 60 or 'detect'"),
        ("mains: 50", "main: 50", "line 4, main: unknown key; is 'mains' meant?"),
        ("name: ulm-ward", "name: Ulm Ward", "line 2, name: 'Ulm Ward' must be lower case letters"),
        ("name: ulm-ward", "about: x", "name: is required"),
        ("reference: A1/A2", "reference: Dr. Who's ear", "line 5, reference:"),
        (r"'^p(\d+)_'", "'('", "line 6, subject.pattern: '(' is no regular expression"),
        ("ulm-{:0>3}", "ulm-{0.__class__}", "line 6, subject.wording:"),
        ("ulm-{:0>3}", "ulm-{:0>999999999}", "line 6, subject.wording:"),
        ("a: rest", "a: no", "line 9, label.values.a: Input should be a valid string, got False; put text in quotes"),
        ("patern: x", "", None),
        ("  values: {a", "  valeus: {a", "line 9, label.valeus: unknown key; is 'values' meant?"),
        ("{ch1: Fp1, ch2: Fp2}", "biosemi20", "line 10, channels: 'biosemi20' is none of biosemi16"),
        ("ch3: eog", "ch3: eye", "line 11, sensors.ch3: 'eye' is none of eeg, eog"),
        ("axis: 0", "axis: 3", "line 12, layout: time_axis=3"),
        ("rate: 250", "rat: 250", "line 16, layout.rat: unknown key 'rat'; is 'rate' meant?"),
        ("rate: 250", "rate: fast(", "line 16, layout.rate: rate='fast(' is no regular expression"),
        ("mains: 50", "name: x", "line 4: 'name' stands on line 2 too"),
        ("mains: 50", "mains: *x", "aliases (*name) are not read"),
        ("mains: 50", "mains: [", "no readable YAML"),
        ("mains: 50", "mains: !!python/object/apply:os.getcwd []", "no readable YAML"),
    ],
)
def test_faults_name_line_and_key(tmp_path, replaced, by, message):
    if message is None:
        assert card(tmp_path, CARD.replace(replaced, by)).site_id == "ulm-ward"
        return
    text = CARD.replace(replaced, by)
    assert text != CARD
    if "*x" in by:
        text = text.replace("name: ulm-ward", "name: &x ulm-ward")
    refused = refusal(tmp_path, text)
    assert refused.startswith("card.yaml")
    assert message in refused


def test_what_is_no_card_is_one_line(tmp_path):
    assert "a card is a list of 'key: value'" in refusal(tmp_path, "- a\n- b\n")
    assert "a card is a list of 'key: value'" in refusal(tmp_path, "")
    assert "longer than" in refusal(tmp_path, "x" * 1_000_001)
    with pytest.raises(CardError, match="does not exist"):
        read_card(str(tmp_path / "none.yaml"))
    (tmp_path / "latin.yaml").write_bytes(b"name: \xe4")
    with pytest.raises(CardError, match="UTF-8"):
        read_card(str(tmp_path / "latin.yaml"))


@settings(max_examples=150, deadline=None)
@given(st.binary(max_size=12), st.integers(0, len(CARD)), st.integers(0, 40))
def test_a_damaged_card_is_a_card_or_one_line(tmp_path_factory, octets, at, cut):
    path = tmp_path_factory.getbasetemp() / "damaged.yaml"
    content = CARD.encode()
    path.write_bytes(content[:at] + octets + content[at + cut :])
    with contextlib.suppress(CardError):
        assert isinstance(read_card(str(path)), SiteCard)


TABLE = """
    name: ulm
    table: {file: people.csv, key: file, subject: who, label: class, onset: t, duration: d, pattern: '^[^.]*'}
    label: {values: {K: rest, L: task}}
"""


def test_a_table_gives_subjects_labels_and_onsets(tmp_path):
    (tmp_path / "people.csv").write_text(
        "\ufefffile;who;class;t;d\na;eva;K;;\nb;udo;L;10;20\nb;udo;K;40.5;\nb;udo;?;50;\n"
    )
    known = card(tmp_path, TABLE).known
    assert known("/x/a.edf") == Known(subject="eva", labels=(Label(onset_s=None, label="rest"),))
    assert known("/x/b.edf").labels == (
        Label(onset_s=10.0, label="task", duration_s=20.0),
        Label(onset_s=40.5, label="rest"),
    )
    assert known("/x/c.edf") == Known()
    assert "people.csv" in card(tmp_path, TABLE).side_files


def test_a_table_may_lie_beside_the_recordings(tmp_path, caplog):
    (tmp_path / "cards").mkdir()
    (tmp_path / "data").mkdir()
    known = card(tmp_path / "cards", TABLE).known
    assert known(str(tmp_path / "data" / "a.edf")) == Known()
    assert "no people.csv" in caplog.text
    (tmp_path / "data" / "people.csv").write_text("file,who,class,t,d\na,eva,K,,\n")
    assert card(tmp_path / "cards", TABLE).known(str(tmp_path / "data" / "a.edf")).subject == "eva"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("file,who,kind,t,d\n", "people.csv has no column 'class', only 'file', 'who', 'kind', 't', 'd'"),
        ("file,who,class,t,d\na,eva\n", "people.csv line 2: not as many cells"),
        (b"file,who,class,t,d\na,\xff,x,,\n", "UTF-8"),
    ],
)
def test_a_table_of_no_use_is_refused_with_the_cards_line(tmp_path, content, message):
    (tmp_path / "people.csv").write_bytes(content if isinstance(content, bytes) else content.encode())
    refused = refusal(tmp_path, TABLE)
    assert refused.startswith("card.yaml line 3, table")
    assert message in refused


@pytest.mark.parametrize(
    ("rows", "message"),
    [("a,eva,K,soon,\n", "t='soon' is no number"), ("a,eva,K,nan,\n", "no number"),
     ("a,eva,K,,\na,udo,K,,\n", "one recording is of 2 subjects")],
)  # fmt: skip
def test_cells_of_no_use_are_refused(tmp_path, rows, message):
    (tmp_path / "people.csv").write_text("file,who,class,t,d\n" + rows)
    with pytest.raises(CardError, match=message):
        card(tmp_path, TABLE).known("/x/a.edf")


def test_the_closest_card_speaks(tmp_path):
    wide, narrow = SiteCard(site_id="a", files=("a/*",)), SiteCard(site_id="b", files=("a/b/*",))
    here = card(tmp_path, "name: here\n", is_beside=True)
    (tmp_path / "deep").mkdir()
    deep = card(tmp_path / "deep", "name: deep\n", is_beside=True)
    cards = (deep, wide, here, narrow)
    for order in (cards, cards[::-1]):
        assert card_of("/x/a/b/1.edf", order) is narrow
        assert card_of("/x/a/1.edf", order) is wide
        assert card_of(f"{tmp_path}/1.edf", order) is here
        assert card_of(f"{tmp_path}/deep/er/1.edf", order) is deep
        assert card_of(f"{tmp_path}/deep/a/1.edf", order) is wide  # a given card goes before one beside the data
        assert card_of("/x/xa/1.edf", order) is None  # names are whole
    with pytest.raises(CardError, match=r"the cards of a and c both speak of 'a/\*'"):
        check_distinct([wide, SiteCard(site_id="c", files=("b/*", "a/*"))])


@pytest.mark.parametrize(("site_id", "mains_hz"), [("A", 50.0), ("", 50.0), ("a/b", 50.0), ("a", 55.0)])
def test_a_site_that_cannot_be_is_refused(site_id, mains_hz):
    with pytest.raises(ValueError):
        SiteCard(site_id=site_id, mains_hz=mains_hz)


def test_a_worker_needs_neither_pydantic_nor_yaml(tmp_path):
    """What travels to workers is planned, pickled and read without either."""
    layout = layout_of({"formats": "npy", "channels": ["Fp1", "O2"], "rate": 200, "unit": "µV"}, name="lab")
    (tmp_path / "declared.pickle").write_bytes(pickle.dumps(Declaration(layouts=(layout,))))
    code = (
        "import sys, pickle\n"
        "from pathlib import Path\n"
        "import pipelines.stages.plan_files, pipelines.stages.write_shards\n"
        f"declared = pickle.loads(Path({str(tmp_path / 'declared.pickle')!r}).read_bytes())\n"
        "assert declared.layouts[0].name == 'lab'\n"
        "print(sorted({'pydantic', 'yaml'} & set(sys.modules)))\n"
    )
    root = Path(__file__).parents[3]
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=root, timeout=60)
    assert done.stdout.strip() == "[]", done.stderr
