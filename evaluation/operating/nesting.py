"""Groups for choices that are made on data: what is chosen on some groups is scored on the group that was left out."""

import numpy as np
import pandas as pd

N_GROUPS = 5


def by_fold(frame: pd.DataFrame) -> bool:
    """Return whether folds are the groups: there are several, and no subject stands in two."""
    return bool(frame["fold"].nunique() > 1 and (frame.groupby("subject_id")["fold"].nunique() == 1).all())


def outer_groups(frame: pd.DataFrame) -> np.ndarray:
    """Return the group of each row, int, shape (n_windows,): its fold, or one of five groups of subjects.

    A single subject makes a single group, on which nothing can be left out.
    """
    if by_fold(frame):
        return np.asarray(pd.factorize(frame["fold"], sort=True)[0])
    subjects = np.asarray(pd.factorize(frame["subject_id"], sort=True)[0])
    return subjects % N_GROUPS
