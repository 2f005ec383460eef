"""What is predicted of a window: classes in their fixed order, kinds of label, and the confusions that are grave."""

from dataclasses import dataclass


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
    description: str = ""
    """One sentence for reports."""

    def class_of(self, label: str) -> str | None:
        """Return the class that a label of a file means, or None if the label is not of this task."""
        wanted = label.strip().lower()
        for name, cls in (*((c, c) for c in self.classes), *self.aliases):
            if name.lower() == wanted:
                return cls
        return None


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
    description="Harmful brain activity on 50 s of EEG; the label speaks of the middle 10 s.",
)

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
    )
}  # fmt: skip
