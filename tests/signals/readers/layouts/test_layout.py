import pytest

from signals.readers.layouts.known import LAYOUTS
from signals.readers.layouts.layout import Layout, layout_of, layouts_of

CARD = {
    "formats": "mat",
    "variable": "eeg|EEG",
    "axis": 0,
    "channels": ["Fp1", "Fp2", ""],
    "rate": 250,
    "unit": "mV",
    "offset": 1.5,
    "notes": ["dc_offset"],
}


def test_a_plain_mapping_becomes_a_layout():
    assert layout_of(CARD, name="ulm") == Layout(
        name="ulm", formats=("mat",), variable="eeg|EEG", time_axis=0, ch_names=("Fp1", "Fp2", ""),
        sfreq=250.0, unit="mV", offset=1.5, notes=("dc_offset",),
    )  # fmt: skip
    table = {"formats": ["csv"], "channels": {"ch1": "Fp1", "ch2": "Fp2"}, "rate": 128.0, "counter": ["n", 256]}
    assert layout_of(table, name="x") == Layout(
        name="x", formats=("csv",), columns=("ch1", "ch2"), ch_names=("Fp1", "Fp2"), sfreq=128.0, counter=("n", 256)
    )
    named = layout_of({"formats": "h5", "channels_from": "names", "rate": "meta/fs"}, name="y")
    assert (named.sfreq, named.sfreq_from, named.ch_names_from) == (None, "meta/fs", "names")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"chanels": ["Fp1"]}, "unknown key 'chanels'; is 'channels' meant?"),
        ({"name": "other"}, "unknown key 'name'"),
        ({"rate": True}, "rate=True is no number"),
        ({"rate": None}, "rate=None is no number"),
        ({"rate": -1}, "needs a sampling rate above 0, got -1"),
        ({"rate": float("nan")}, "needs a sampling rate above 0"),
        ({"formats": ["edf"]}, "formats="),
        ({"formats": ["mat", "csv"]}, "formats="),
        ({"formats": 3}, "formats is no list of text"),
        ({"channels": 19}, "channels is neither a list of labels nor a mapping"),
        ({"channels": ["", ""]}, "needs channels"),
        ({"axis": 2}, "time_axis=2"),
        ({"axis": "0"}, "axis='0' is not of type int"),
        ({"variable": "("}, "variable='(' is no regular expression"),
        ({"counter": "n"}, "counter is not [column, period]"),
        ({"offset": "high"}, "offset='high' is no number"),
        ({"columns": ["a"]}, "1 columns for 3 channels"),
    ],
)
def test_faults_name_the_layout_the_key_and_the_rule(changes, message):
    with pytest.raises(ValueError) as caught:
        layout_of(CARD | changes, name="ulm")
    assert "ulm" in str(caught.value)
    assert message in str(caught.value)


def test_names_are_unique():
    assert len({layout.name for layout in LAYOUTS}) == len(LAYOUTS)


def test_declared_layouts_are_tried_before_the_known_ones():
    mine = layout_of(CARD, name="ulm")
    assert layouts_of("mat", (mine,))[0] is mine
    assert mine not in layouts_of("csv", (mine,))
    assert {layout.name for layout in layouts_of("csv", ())} == {k.name for k in LAYOUTS if "csv" in k.formats}
