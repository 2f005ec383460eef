"""What is predicted of a window: classes in their fixed order, kinds of label, and the confusions that are grave."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

from signals.statements import SEPARATOR, SUPERCLASSES, statements

EVIDENCE = ("shape", "voltage", "intervals", "rhythm", "place", "rate")
"""What a class may be shown by: the form of waves, their size, how long they are and how far apart, when beats come, at
which electrodes something is, how often a second it comes."""
NO_CLASS = "none"
"""What a multi-label answer or label is called that has no class."""


@dataclass(frozen=True, kw_only=True)
class Task:
    """A classification task over windows."""

    name: str
    classes: tuple[str, ...]
    """Names in probability order."""
    vote_columns: tuple[str, ...] = ()
    """Columns of expert vote counts, in class order; empty where labels are only hard."""
    aliases: tuple[tuple[str, str], ...] = ()
    """(label in a file, class) pairs beside the class names themselves."""
    window_s: float
    """Length of a window, seconds."""
    label_span_s: tuple[float, float] | None = None
    """The stretch that the label speaks of, seconds from the window's start; None for the whole window."""
    grave: tuple[tuple[str, str], ...] = ()
    """(true, predicted) pairs that harm most."""
    findings: tuple[str, ...] = ()
    """Classes that an expert should look at wherever a model says them."""
    multilabel: bool = False
    """Whether a window may have several classes, or none: each is then answered for itself."""
    alone: tuple[str, ...] = ()
    """Classes of a multi-label task that hold only where no other does (a normal record)."""
    silent: tuple[str, ...] = ()
    """Labels of a multi-label task that mean none of its classes, but show that somebody looked."""
    evidence: tuple[tuple[str, tuple[str, ...]], ...] = ()
    """(class, kinds of EVIDENCE that show it) pairs: what augmentation must not spoil. Empty where nobody stated it."""
    description: str = ""
    """One sentence for reports."""

    def __post_init__(self) -> None:
        if self.multilabel and self.vote_columns:
            raise ValueError(f"{self.name}: votes are for one class of several, not for a multi-label task")
        if not self.multilabel and (self.alone or self.silent):
            raise ValueError(f"{self.name}: alone and silent are of multi-label tasks")
        if unknown := {kind for _, kinds in self.evidence for kind in kinds} - set(EVIDENCE):
            raise ValueError(f"{self.name}: evidence {sorted(unknown)} is none of {', '.join(EVIDENCE)}")
        if self.evidence and {cls for cls, _ in self.evidence} != set(self.classes):
            raise ValueError(f"{self.name}: evidence must be stated for every class or for none")

    @cached_property
    def _by_label(self) -> dict[str, str]:
        pairs = (*self.aliases, *((c, c) for c in self.classes))
        return {name.lower(): cls for name, cls in pairs}

    def class_of(self, label: str) -> str | None:
        """Return the class that a label of a file means, or None if the label is not of this task."""
        return self._by_label.get(label.strip().lower())

    def classes_of(self, label: str) -> frozenset[str] | None:
        """Return the classes that a label of a file means together, or None if nothing in it is of this task.

        The parts of a multi-label task's label stand between semicolons, commas or bars; any other label is one part.
        """
        parts = [part.strip() for part in re.split("[;,|]", label)] if self.multilabel else [label]
        known = {cls for part in parts if (cls := self.class_of(part)) is not None}
        if not known and not set(parts) & set(self.silent):
            return None
        return frozenset(known - set(self.alone) or known)


SIX_CLASS = Task(
    name="six-class",
    classes=("Seizure", "LPD", "GPD", "LRDA", "GRDA", "Other"),
    vote_columns=("seizure_vote", "lpd_vote", "gpd_vote", "lrda_vote", "grda_vote", "other_vote"),
    aliases=(("SZ", "Seizure"),),
    window_s=50.0,
    label_span_s=(20.0, 30.0),
    grave=(
        ("Seizure", "Other"),
        ("Seizure", "LRDA"),
        ("Seizure", "GRDA"),
        ("LPD", "Other"),
        ("GPD", "Other"),
        ("Other", "Seizure"),
    ),
    findings=("Seizure", "LPD", "GPD", "LRDA", "GRDA"),
    evidence=tuple((name, ("place", "rate")) for name in ("Seizure", "LPD", "GPD", "LRDA", "GRDA", "Other")),
    description="Harmful brain activity on 50 s of EEG; the label speaks of the middle 10 s.",
)


def joined_classes(names: Iterable[str]) -> str:
    """Return the classes of a multi-label answer as one text, NO_CLASS where there is none."""
    return SEPARATOR.join(names) or NO_CLASS


def is_multilabel(name: str) -> bool:
    """Return whether a task, by its name, is a multi-label one; a task of another project's is not."""
    return name in TASKS and TASKS[name].multilabel


TASKS: dict[str, Task] = {
    task.name: task
    for task in (
        SIX_CLASS,
        Task(name="epilepsy", classes=("Control", "Epilepsy"), window_s=10.0, grave=(("Epilepsy", "Control"),),
             findings=("Epilepsy",),
             description="Epilepsy against control from resting EEG of a consumer headset."),
        Task(name="adhd", classes=("Control", "ADHD"), window_s=10.0,
             description="ADHD against control in children during a visual task."),
        Task(name="eyes", classes=("eyes_open", "eyes_closed"), window_s=10.0,
             aliases=(("rest_eyes_open", "eyes_open"), ("rest_eyes_closed", "eyes_closed")),
             description="Eyes open against eyes closed at rest."),
        Task(name="sleep", classes=("W", "N1", "N2", "N3", "REM"), window_s=30.0,
             aliases=(
                 *((f"Sleep stage {mark}", stage) for mark, stage in (
                     ("W", "W"), ("1", "N1"), ("2", "N2"), ("3", "N3"), ("4", "N3"), ("R", "REM"),
                     ("N1", "N1"), ("N2", "N2"), ("N3", "N3"), ("REM", "REM"))),
                 # What `signals.recording.events` makes of a file's annotations.
                 *((f"sleep {stage}", stage) for stage in ("W", "N1", "N2", "N3", "REM")),
                 ("Wake", "W"), ("S1", "N1"), ("S2", "N2"), ("S3", "N3"), ("S4", "N3"), ("N4", "N3"), ("R", "REM"),
             ),
             grave=(("REM", "W"), ("W", "N3"), ("N3", "W")),
             description="Sleep stages of 30-s epochs, AASM names; stages 3 and 4 of the older rules are N3."),
        Task(name="arithmetic", classes=("rest", "mental_arithmetic"), window_s=10.0,
             description="Rest against mental arithmetic."),
        Task(name="rest-or-task", classes=("rest", "task"), window_s=10.0,
             aliases=(("rest_eyes_open", "rest"), ("rest_eyes_closed", "rest"), ("motor_imagery_LR", "task"),
                      ("mental_arithmetic", "task")),
             description="Rest against any task (motor imagery, mental arithmetic)."),
        Task(name="ecg-superclass", classes=SUPERCLASSES, window_s=10.0, multilabel=True, alone=("NORM",),
             aliases=tuple((code, row.superclass) for row in statements().values() if row.superclass
                           for code in (row.code, *row.scp)),
             silent=tuple(code for row in statements().values() if not row.superclass for code in (row.code, *row.scp)),
             findings=tuple(name for name in SUPERCLASSES if name != "NORM"),
             evidence=(
                 ("NORM", ("shape", "voltage", "intervals", "rhythm")), ("MI", ("shape", "voltage")),
                 ("STTC", ("shape", "voltage", "intervals")), ("CD", ("shape", "intervals")),
                 ("HYP", ("shape", "voltage")), ("ARR", ("rhythm", "intervals")),
             ),
             description="Superclasses of a twelve-lead electrocardiogram: normal, infarction, ST and T changes, "
                         "conduction, hypertrophy, arrhythmia; several may hold."),
    )
}  # fmt: skip
