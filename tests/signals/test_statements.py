import re

import pytest

from signals.statements import SUPERCLASSES, code_of, label_of, statements, superclasses_of
from signals.tasks import TASKS

TASK = TASKS["ecg-superclass"]


def test_every_row_has_a_code_a_known_superclass_and_a_name():
    table = statements()
    assert len(table) > 120
    assert {row.superclass for row in table.values()} == {*SUPERCLASSES, ""}
    assert all(re.fullmatch(r"\d{6,18}", code) and row.name for code, row in table.items())
    scp = [code for row in table.values() for code in row.scp]
    assert len(scp) == len(set(scp))  # a code that stood in two rows would mean the later one


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("164889003", "164889003"), (" 164889003 ", "164889003"), ("AFIB", "164889003"), ("afib", "164889003"),
        ("Rhythm: Atrial fibrillation", "164889003"), ("Complete left bundle branch block.", "733534002"),
        ("Incomplete right bundle branch block. ", "713426002"), ("1AVB", "270492004"), ("LAO/LAE", "67741000119109"),
        # Words of a table's row begin the line; elsewhere they are somebody's free text.
        ("no signs of Atrial fibrillation", None), ("Erika Mustermann", None), ("", None), ("999999999", None),
    ],
)  # fmt: skip
def test_codes_and_wordings(text, code):
    assert code_of(text) == code


def test_a_label_is_codes_each_once():
    assert label_of(["AFIB", "164889003", "Dr. Doe", "LVH"]) == "164889003;164873001"
    assert label_of(["nothing"]) == ""


@pytest.mark.parametrize(
    ("label", "classes"),
    [
        ("426783006", {"NORM"}),
        ("426783006;164889003", {"ARR"}),  # sinus rhythm beside a finding is no normal record
        ("164865005, 733534002", {"MI", "CD"}),
        ("NORM|LVH", {"HYP"}),
        ("39732003", set()),  # an axis alone: somebody looked and found none of the classes
        ("39732003;426783006", {"NORM"}),
        ("none of these", None),
        ("", None),
    ],
)
def test_the_classes_of_a_label(label, classes):
    assert TASK.classes_of(label) == classes
    if classes and ";" in label:
        assert superclasses_of(label.split(";")) == classes


def test_other_tasks_take_a_label_whole():
    assert TASKS["sleep"].classes_of("N2") == {"N2"}
    assert TASKS["sleep"].classes_of("N2;N3") is None
