"""The grammar of labels, on label sets as vendors and public corpora write them."""

import pytest

from signals.modality import EEG_1020
from signals.montage.labels import (
    REFERENCE_WORDS,
    Derivation,
    find_electrodes,
    parse_label,
    recorded_references,
    reference_groups,
    spelled,
)
from signals.readers.channels.sensor_types import sensor_type_of


def named(labels):
    """Return "anode-against" of each label that find_electrodes keeps, by label, sensor types as readers set them."""
    found = find_electrodes(labels, [sensor_type_of(label) for label in labels])
    return {labels[pick]: f"{d.anode}-{d.against}" for pick, d in zip(found.picks, found.derivations, strict=True)}


FP1 = [
    ("", "Fp1|FP1|fp1|Fp1.|EEG Fp1|EEG-Fp1|EEG(Fp1)|EEG_Fp1|EEG:FP1|EEGFp1|POL Fp1|SEEG FP1|Fp1-0| Fp1 |EEG 1 Fp1"),
    ("ref", "Fp1-REF|EEG FP1-Ref|EEG Fp1-Ref1|Fp1-Reference|Fp1 Ref|Fp1_Ref|EEG Fp1-Vref|Fp1-G2|Fp1-Org|Fp1 - Ref"),
    ("ref", "EEG Fp1-Ref-0|Fp1/REF|Fp1:Ref|EEG(Fp1-Ref)|FP1–REF"),
    ("avg", "Fp1-AVE|Fp1-Average|Fp1-CAR|EEG FP1-AvgRef|Fp1-Avg|Fp1_AV|Fp1-AR|Fp1-avr"),
    ("le", "EEG Fp1-LE|EEG FP1-A1A2|FP1-LER|EEG Fp1-CLE|Fp1-(A1+A2)|EEG Fp1-(A1+A2)/2|Fp1-A1+A2|Fp1 - A1 + A2"),
    ("le", "Fp1-Linked Ears|Fp1-A1/A2"),
    ("lm", "Fp1-M1M2|Fp1-M1+M2"),
    ("spine", "FP1-CS2"),
    ("laplacian", "Fp1-SD|Fp1-LAP|EEG Fp1-Laplacian"),
    ("A2", "FP1-A2|Fp1A2|EEG Fp1-A2|Fp1:A2|EEG1 Fp1-A2|FP1_A2"),
    ("M2", "Fp1-M2|Fp1/M2|Fp1M2"),
    ("ref", "Fp1-Ref2|Fp1-COM|Fp1-Common|Fp1-CMS"),
    ("avg", "Fp1-Aver|Fp1-AvRef|Fp1-AveRef"),
    ("le", "Fp1-A12|Fp1-A2A1"),
    ("lm", "Fp1-M12|Fp1-M2M1|Fp1-(M1+M2)/2|Fp1-Linked Mastoids|Fp1-LM"),
    ("re", "EEG Fp1-RE"),
    ("nose", "Fp1-Nose"),
    ("laplacian", "Fp1-Laplace|Fp1-Hjorth|Fp1-CSD|Fp1-Source Derivation"),
]  # fmt: skip
"""One electrode in many spellings, by its reference."""


def test_every_word_of_the_table_has_a_label():
    labels = [label for _, labels in FP1 for label in labels.split("|")]
    tails = {spelled(label.lower().split("fp1", 1)[1]) for label in labels}
    assert {word for words in REFERENCE_WORDS.values() for word in words.split()} <= tails


@pytest.mark.parametrize(("reference", "labels"), FP1)
def test_one_electrode_in_many_spellings(reference, labels):
    wanted = Derivation("Fp1", None, reference)
    assert {label: parse_label(label) for label in labels.split("|")} == dict.fromkeys(labels.split("|"), wanted)


@pytest.mark.parametrize("label", ["FP1-F7", "Fp1-F7", "fp1-f7", "EEG FP1-F7", "EEG Fp1-F7-0", "FP1 - F7", "Fp1_F7"])
def test_pairs(label):
    assert parse_label(label) == Derivation("Fp1", "F7")


@pytest.mark.parametrize(
    ("label", "wanted"),
    [
        ("T8-P8-1", Derivation("T4", "T6")),
        ("EEG T1-REF", Derivation("FT9", None, "ref")),
        ("T3-Avg", Derivation("T3", None, "avg")),
        ("Fc5.", Derivation("FC5", None)),
        ("EEG A1-REF", Derivation("A1", None, "ref")),
        ("EEG A2-A1", Derivation("A2", "A1")),
        ("A1-T3", Derivation("A1", "T3")),
        ("F3-Cz", Derivation("F3", "Cz")),
    ],
)
def test_more_labels(label, wanted):
    assert parse_label(label) == wanted


_OTHERS = (
    "EKG|ECG|ECG EKG-REF|EMG-REF|Photic|PHOTIC-REF|Resp|EEG RESP1-REF|C|F|-|--||X1|EEG X1-REF|DC1|DC01-DC|EEG|EEG2"
    "|EEG 1|EEG 1-REF|EEG 20-LE"
    "|EEG(sec)|EEG Channel-1|Ref|REF_EEG REF_EEG|ReRef|VREF|A1A2|LOC-ROC|CZ2-A1|BTEleft SD|01|MK|HR"
    "|SPO2|IBI|BURSTS|SUPPR|Patient Event|Events/Markers|EEG Mark1|POL E|POL DC01|POL BN1|EEG C3P-REF|EEG SP1-REF|Sph1"
    "|EEG LUC-REF|PG1|OorLiTop|Fp1-ECG|Fp1-XX|Fp1-Fp1|Fp1-F7-T3|EEG LA1-Ref|E1|E128|EMG1-EMG2|SX1-SX2|STAT|PR|OSAT"
)
NO_ELECTRODES = _OTHERS.split("|")


def test_what_is_no_electrode():
    assert {label: find_electrodes([label], ["eeg"]).picks for label in NO_ELECTRODES} == dict.fromkeys(
        NO_ELECTRODES, ()
    )
    assert {label: parse_label(label) for label in NO_ELECTRODES if label != "A1A2"} == dict.fromkeys(
        [label for label in NO_ELECTRODES if label != "A1A2"]
    )


_NAMES = "FP1 FP2 F3 F4 C3 C4 P3 P4 O1 O2 F7 F8 T3 T4 T5 T6 FZ CZ PZ"
_TEN_TWENTY = _NAMES.split()
_HOSPITALS = {
    # TUH EEG corpus, montages 01_tcp_ar and 02_tcp_le as recorded, with its other channels
    "TUH ref": ([f"EEG {n}-REF" for n in _TEN_TWENTY], "<ref>", ["EEG EKG1-REF", "PHOTIC-REF", "IBI", "EEG 31-REF"]),
    "TUH le": ([f"EEG {n}-LE" for n in _TEN_TWENTY], "<le>", ["EEG 23-LE", "EEG LUC-LE", "DC8-DC"]),
    "Siena": ([f"EEG {n.capitalize()}" for n in _TEN_TWENTY], "<ref>", ["EKG EKG", "SPO2", "HR", "1", "2", "MK"]),
    "Nihon Kohden": ([f"EEG {n.capitalize()}-Ref" for n in _TEN_TWENTY], "<ref>", ["POL E", "POL DC01", "EEG X1-Ref"]),
    "Nihon Kohden, POL": ([f"POL {n.capitalize()}" for n in _TEN_TWENTY], "<ref>", ["POL BN1", "POL Mark1"]),
    "Natus": ([n.capitalize() for n in _TEN_TWENTY], "<ref>",
              [*(f"X{i}" for i in range(1, 11)), "E1", "E2", "DC1", "PR"]),
    "Micromed": ([f"{n}-G2" for n in _TEN_TWENTY], "<ref>", ["ECG1+ECG1-", "MKR+MKR-"]),
    "Nicolet": ([f"{n.capitalize()} - Ref" for n in _TEN_TWENTY], "<ref>", ["Photic - Ref", "EKG - Ref"]),
    "Persyst average": ([f"{n.capitalize()}-Avg" for n in _TEN_TWENTY], "<avg>", ["Annotations"]),
    "MASS": ([f"EEG {n.capitalize()}-CLE" for n in _TEN_TWENTY], "<le>", ["EOG Left Horiz", "Resp Belt"]),
    "Helsinki": ([f"EEG {n.capitalize()}-Ref" for n in _TEN_TWENTY], "<ref>", ["ECG EKG-REF", "Resp Effort-REF"]),
    "EEGMMIDB": ([f"{n.capitalize()}.." for n in _TEN_TWENTY], "<ref>", ["Status"]),
    "TDBRAIN, newer names": ([{"T3": "T7", "T4": "T8", "T5": "P7", "T6": "P8"}.get(n, n) for n in _TEN_TWENTY], "<ref>",
                             ["VPVA", "VNVB", "HPHL", "HNHR", "Erbs", "OrbOcc", "Mass"]),
}  # fmt: skip


@pytest.mark.parametrize("system", _HOSPITALS)
def test_label_sets_of_referential_systems(system):
    labels, against, others = _HOSPITALS[system]
    found = named([*labels, *others])
    names = {name.upper(): name for name in EEG_1020.ch_names}
    assert list(found) == labels
    assert list(found.values()) == [f"{names[name]}-{against}" for name in _TEN_TWENTY]


@pytest.mark.parametrize(
    ("labels", "wanted"),
    [
        # PhysioNet Sleep-EDF, HMC, ISRUC, CAP (both spellings), UCDDB, DREAMS
        ("EEG Fpz-Cz|EEG Pz-Oz|EOG horizontal|Resp oro-nasal|EMG submental|Temp rectal|Event marker", "Fpz-Cz Pz-Oz"),
        ("EEG F4-M1|EEG C4-M1|EEG O2-M1|EEG C3-M2|EMG chin|EOG E1-M2|EOG E2-M2|ECG", "F4-M1 C4-M1 O2-M1 C3-M2"),
        ("LOC-A2|ROC-A1|F3-A2|C3-A2|O1-A2|F4-A1|C4-A1|O2-A1|X1|X2|SaO2|DC3", "F3-A2 C3-A2 O1-A2 F4-A1 C4-A1 O2-A1"),
        ("Fp2-F4|F4-C4|C4-P4|P4-O2|C4-A1|ROC-LOC|EMG1-EMG2|ECG1-ECG2|DX1-DX2|SX1-SX2|STAT|MIC",
         "Fp2-F4 F4-C4 C4-P4 P4-O2 C4-A1"),
        ("C4A1|O2A1|EOG dx|CHIN-0|ECG", "C4-A1 O2-A1"),
        ("Lefteye|RightEye|EMG|C3A2|C4A1|ECG|SpO2|Flow", "C3-A2 C4-A1"),
        ("ECG|FP1-A2|CZ-A1|EMG1|EOG1|FP2-A1|O1-A2|VTH|CZ2-A1", "Fp1-A2 Cz-A1 Fp2-A1 O1-A2"),
        # CHB-MIT's placeholders, one of its repeated pairs, a pair and its reverse
        ("FP1-F7|F7-T7|-|T8-P8-0|-|T8-P8-1|ECG|VNS|P7-T7|T7-P7", "Fp1-F7 F7-T3 T4-T6 T5-T3"),
        # one ear against the other counts only where channels hang on both
        ("EEG Fp1|EEG F3|EEG A2-A1|ECG ECG", "Fp1-<ref> F3-<ref>"),
        ("F3-A2|F4-A1|A2-A1", "F3-A2 F4-A1 A2-A1"),
        ("F3-A2|F4-A2|A2-A1", "F3-A2 F4-A2"),
        # a bare label and one against the amplifier's reference are the same electrode
        ("Fp1|EEG Fp1-REF|F3-Ref", "Fp1-<ref> F3-<ref>"),
        ("A1|A2", ""),
        ("", ""),
    ],
)  # fmt: skip
def test_label_sets_of_sleep_and_pairs(labels, wanted):
    assert " ".join(named(labels.split("|") if labels else []).values()) == wanted


def test_contacts_of_grids_are_no_electrodes():
    biosemi = [f"{letter}{i}" for letter in "ABCD" for i in range(1, 33)]
    assert find_electrodes([*biosemi, "EXG1", "Status"], ["eeg"] * 130).picks == ()
    depth = [f"POL {letter}{i}" for letter in ("A", "B'", "C", "O") for i in range(1, 11)]
    assert find_electrodes(depth, ["eeg"] * 40).picks == ()
    # One numbered letter takes nothing away from the others: Natus numbers unnamed inputs C1 to C64.
    natus = [*EEG_1020.ch_names, *(f"C{i}" for i in range(7, 65))]
    kept = [natus[pick] for pick in find_electrodes(natus, ["eeg"] * len(natus)).picks]
    assert kept == [name for name in EEG_1020.ch_names if name not in ("C3", "C4")]
    # Four unknown numbers are no grid: cables C7 to C10 beside C3 and C4.
    few = ["C3", "C4", "C7", "C8", "C9", "C10"]
    assert find_electrodes(few, ["eeg"] * 6).picks == (0, 1)


def test_other_sensors_are_left_out():
    found = find_electrodes(["Fp1", "F7", "C3"], ["eeg", "eog", "eeg"])
    assert found.picks == (0, 2)
    with pytest.raises(ValueError, match="zip"):
        find_electrodes(["Fp1"], [])


@pytest.mark.parametrize(
    ("labels", "wanted", "is_bipolar"),
    [
        ("F3-Cz C3-Cz P3-Cz", [None] * 3, False),
        ("F3-Cz C3-Cz", ["Cz"] * 2, True),  # two channels against one electrode are two pairs
        ("F3-Cz C3-Cz P3-Cz Cz-Pz", ["Cz"] * 3 + ["Pz"], True),  # Cz is in a chain
        ("F3-Cz C3-Cz P3-Cz Cz-REF", ["Cz"] * 3 + [None], True),
        ("F3-Cz C3-Cz P3-Cz P3-O1", ["Cz"] * 3 + ["O1"], True),
        ("F3-Cz C3-Cz P3-Cz F7-F3", ["Cz"] * 3 + ["F3"], True),
        ("Fp1-F3 C3-REF C4-REF", ["F3", None, None], False),
        ("Fp1-F3 Fp2-F4 C3-REF C4-REF", ["F3", "F4", None, None], False),
        ("A1-T3 C3-REF C4-REF", ["T3", None, None], False),
    ],
)
def test_a_common_cathode_is_a_reference(labels, wanted, is_bipolar):
    found = find_electrodes(labels.split(), ["eeg"] * len(labels.split()))
    assert [d.cathode for d in found.derivations] == wanted
    assert found.is_bipolar == is_bipolar
    if wanted == [None] * 3:
        assert {d.reference for d in found.derivations} == {"Cz"}


def test_references_and_their_groups():
    labels = ["F3-A2", "C4-A1", "C3-A2", "Fp1-F7", "C3-A1", "A2-REF", "Cz"]
    derivations = find_electrodes(labels, ["eeg"] * 7).derivations
    assert recorded_references(derivations) == {"a1", "a2"}  # that of an ear does not count
    # C3 once, at its first; the pair in none.
    assert reference_groups(derivations) == [[0, 2], [1], [5, 6]]
    assert recorded_references(derivations[6:]) == frozenset()
    assert spelled("(A1 + A2)/2") == "a1a22"
