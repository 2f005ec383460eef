"""Models that learn from few people of each training side, drawn by the seed, and are then called "model@n"."""

from collections.abc import Sequence

from studies.engine.study import Design

AT = "@"
FEWEST = 4


def check_numbers(subjects: Sequence[int]) -> None:
    """Raise ValueError for numbers of people too small to learn from and to choose an epoch or settings by."""
    if subjects and min(subjects) < FEWEST:
        raise ValueError(
            f"subjects={tuple(subjects)} must be numbers of at least {FEWEST}: some of them choose settings"
        )


def numbers_within(design: Design, subjects: Sequence[int]) -> list[int]:
    """Return the numbers that every training side has; raises ValueError where that is none."""
    data = design.bench.data
    most = min(len(set(data.subjects[fold.train].tolist())) for fold in design.folds)
    if not (numbers := [n for n in subjects if n <= most]):
        raise ValueError(f"subjects={tuple(subjects)}: the smallest training side has {most} people")
    return numbers


def named(model: str, n_subjects: int) -> str:
    """Return what a model is called that learns from so many people, or from all (0)."""
    return f"{model}{AT}{n_subjects}" if n_subjects else model
