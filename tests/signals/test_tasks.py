import pytest

from signals.tasks import SIX_CLASS, TASKS


def test_the_six_classes_are_those_of_the_competition():
    assert SIX_CLASS.classes == ("Seizure", "LPD", "GPD", "LRDA", "GRDA", "Other")
    assert SIX_CLASS.vote_columns == tuple(f"{name.lower()}_vote" for name in SIX_CLASS.classes)
    assert (SIX_CLASS.window_s, SIX_CLASS.label_span_s) == (50.0, (20.0, 30.0))
    assert SIX_CLASS.findings == SIX_CLASS.classes[:5]
    # A missed seizure or discharge, a seizure taken for a slow rhythm, and a false alarm.
    assert set(SIX_CLASS.grave) == {
        ("Seizure", "Other"), ("Seizure", "LRDA"), ("Seizure", "GRDA"), ("LPD", "Other"), ("GPD", "Other"),
        ("Other", "Seizure"),
    }  # fmt: skip


@pytest.mark.parametrize(
    ("task", "labels"),
    [
        ("six-class", {"sz": "Seizure", " LPD ": "LPD", "gpd": "GPD", "other": "Other", "rest": None, "": None}),
        ("epilepsy", {"epilepsy": "Epilepsy", "CONTROL": "Control", "ADHD": None}),
        ("adhd", {"ADHD": "ADHD", "control": "Control", "Epilepsy": None}),
        ("eyes", {"rest_eyes_open": "eyes_open", "rest_eyes_closed": "eyes_closed", "Eyes_Open": "eyes_open"}),
        (
            "rest-or-task",
            {"rest_eyes_open": "rest", "rest_eyes_closed": "rest", "motor_imagery_LR": "task",
             "mental_arithmetic": "task", "rest": "rest", "Task": "task"},
        ),
        (
            "sleep",
            {"Sleep stage W": "W", "Sleep stage 1": "N1", "Sleep stage 2": "N2", "Sleep stage 3": "N3",
             "Sleep stage 4": "N3", "Sleep stage R": "REM", "sleep stage n1": "N1", "Sleep stage N2": "N2",
             "Sleep stage N3": "N3", "Sleep stage REM": "REM", "n2": "N2", "sleep N3": "N3", "sleep REM": "REM",
             "Sleep stage ?": None, "Movement time": None},
        ),
    ],
)  # fmt: skip
def test_labels_of_files(task, labels):
    assert {label: TASKS[task].class_of(label) for label in labels} == labels


def test_tasks_are_whole():
    assert {name: (task.classes, task.window_s) for name, task in TASKS.items()} == {
        "six-class": (SIX_CLASS.classes, 50.0),
        "epilepsy": (("Control", "Epilepsy"), 10.0),
        "adhd": (("Control", "ADHD"), 10.0),
        "eyes": (("eyes_open", "eyes_closed"), 10.0),
        "sleep": (("W", "N1", "N2", "N3", "REM"), 30.0),
        "arithmetic": (("rest", "mental_arithmetic"), 10.0),
        "rest-or-task": (("rest", "task"), 10.0),
        "ecg-superclass": (("NORM", "MI", "STTC", "CD", "HYP", "ARR"), 10.0),
    }
    for task in TASKS.values():
        assert {name for pair in task.grave for name in pair} | set(task.findings) <= set(task.classes)
        assert {cls for _, cls in task.aliases} <= set(task.classes)
        assert task.description.endswith(".")
    assert set(TASKS["sleep"].grave) == {("REM", "W"), ("W", "N3"), ("N3", "W")}
    assert TASKS["epilepsy"].grave == (("Epilepsy", "Control"),)
    assert TASKS["epilepsy"].findings == ("Epilepsy",)
