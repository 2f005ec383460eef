"""What counts as an identifier: words of headers, of names of files and folders, and what names nobody."""

import pytest

from pipelines.shard_sets.identifiers import collapsed, contained, listed_identifiers, source_identifiers


def edf(path, patient="", recording=""):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"0       " + patient.ljust(80).encode() + recording.ljust(80).encode() + b" " * 88)
    return path


@pytest.mark.parametrize(
    ("text", "expected"),
    [("Müller, Eva_M.", "mullerevam"), ("ŁÓDŹ-7", "łodz7"), ("STRASSE ß", "strassess"), ("_ .,", "")],
)
def test_collapsed(text, expected):
    assert collapsed(text) == expected


def test_lists(tmp_path):
    path = tmp_path / "names.txt"
    path.write_text("Müller\n\n  4711-0815 \n--\n")
    assert listed_identifiers(path) == {"muller", "47110815"}
    path.write_text("\n--\n")
    with pytest.raises(ValueError, match="holds no identifier"):
        listed_identifiers(path)


def test_words_of_a_header(tmp_path):
    edf(
        tmp_path / "in" / "xy.edf",
        "MRN-7 F 12-MAR-1961 Muster_Eva",
        "Startdate 01-JAN-2020 Ward7-081512 Dr^Ott ab 1234 12345",
    )
    found = source_identifiers(tmp_path / "in")
    # Whole fields, names in parts, numbers of five digits and more; fillers and words of two letters name nobody.
    assert {
        "mrn7",
        "12mar1961",
        "mustereva",
        "muster",
        "eva",
        "ward7081512",
        "081512",
        "drott",
        "ott",
        "12345",
    } <= found
    assert not {"f", "startdate", "ab", "1234", "7", "1961", "dr", "xy"} & found


@pytest.mark.parametrize("head", [b"0       ", b"\xffBIOSEMI"])
def test_headers_of_edf_and_bdf_are_read_as_they_lie(tmp_path, head):
    path = edf(tmp_path / "in" / "x.edf", "Quandt", "Ottilie")
    path.write_bytes(head + path.read_bytes()[8:])
    assert {"quandt", "ottilie"} <= source_identifiers(tmp_path / "in")
    path.write_bytes(path.read_bytes()[:255])  # no whole header: the reader decides, and finds none
    assert not {"quandt", "ottilie"} & source_identifiers(tmp_path / "in")


def test_a_hospital_may_be_called_as_its_site_a_patient_may_not(tmp_path):
    edf(tmp_path / "in" / "x.edf", "Ulmer", "Ulm Hollerbach")
    assert {"ulm", "hollerbach", "ulmer"} <= source_identifiers(tmp_path / "in")
    assert source_identifiers(tmp_path / "in", ["ulm", "ulmer"]) >= {"hollerbach", "ulmer"}
    assert "ulm" not in source_identifiers(tmp_path / "in", ["ulm"])


def test_names_of_files_from_four_letters_on(tmp_path):
    for name in ("Eva.edf", "Evas.edf", "Evas_Katze.tail.edf"):
        edf(tmp_path / "in" / name)
    found = source_identifiers(tmp_path / "in")
    assert {"evas", "evaskatze"} <= found
    assert not {"eva", "tail", "edf"} & found


def test_names_of_folders(tmp_path):
    edf(tmp_path / "Klinikum" / "Quandt_Eva" / "raw" / "ward" / "x.edf")
    found = source_identifiers(tmp_path / "Klinikum")
    # The folder itself and all below; parts of three letters and words for data name nobody.
    assert {"klinikum", "quandteva", "quandt", "ward"} <= found
    assert not {"eva", "raw"} & found
    named = source_identifiers(tmp_path / "Klinikum", ["quandt-eva"], named_sites=["quandt-eva"])
    assert not {"quandteva", "quandt"} & named
    assert "quandt" in source_identifiers(tmp_path / "Klinikum", ["quandt-eva"])


def test_a_site_that_a_card_declares_names_nobody(tmp_path):
    edf(tmp_path / "in" / "kyiv-eegmat" / "x.edf")
    assert "kyiveegmat" in source_identifiers(tmp_path / "in")
    assert "kyiveegmat" not in source_identifiers(tmp_path / "in", named_sites=["kyiv-eegmat"])


def test_a_folder_without_recordings_proves_nothing(tmp_path):
    (tmp_path / "notes.md").write_text("x")
    with pytest.raises(ValueError, match="holds no recording"):
        source_identifiers(tmp_path)


@pytest.mark.parametrize(
    ("text", "identifier", "is_held"),
    [
        ("a Eva b", "eva", True),
        ("Eva_Quandt", "evaquandt", True),
        ("Eva_Quandt", "eva", True),
        ("Eva, Quandt", "evaquandt", False),  # two characters apart
        ("E-v-a", "eva", True),
        ("Evas", "eva", False),
        ("éva", "eva", True),
        ("", "eva", False),
    ],
)
def test_identifiers_within_a_text(text, identifier, is_held):
    assert contained(text, frozenset({identifier, "nobody"})) == (identifier if is_held else None)


def test_six_words_are_one_name_seven_are_none():
    assert contained("a b c d e f", frozenset({"abcdef"})) == "abcdef"
    assert contained("a b c d e f g", frozenset({"abcdefg"})) is None
    assert contained("abc", frozenset()) is None


@pytest.mark.parametrize(
    "name",
    ["data", "dataset", "eegs", "recordings", "recording", "subjects", "patients", "session", "sessions", "files",
     "raw", "rawdata", "derivatives", "windows", "shards", "sites", "train", "export", "clinic", "hospital", "public",
     "unknown", "anonymous", "male", "female"],
)  # fmt: skip
def test_names_of_folders_that_name_nobody(tmp_path, name):
    edf(tmp_path / "in" / name / "x.edf")
    assert source_identifiers(tmp_path / "in") == frozenset()
    edf(tmp_path / "in" / f"{name}ew" / "x.edf")
    assert source_identifiers(tmp_path / "in") >= {f"{name}ew"}
