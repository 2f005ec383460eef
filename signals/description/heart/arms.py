"""Swapped arm electrodes: lead I upside down, II and III exchanged, aVR and aVL too; the chest leads as they were."""

from collections.abc import Sequence

import numpy as np

from signals.description.heart.beats import r_peaks, typical_beat

AGAINST = -0.3
"""Largest correlation of lead I with V6 over the typical beat where arms are swapped."""


def arms_swapped(x: np.ndarray, sfreq: float, names: Sequence[str]) -> bool:
    """Return whether the typical beat of leads, µV, shape (n_leads, n_times), is that of swapped arm electrodes.

    Lead I and V6 both look from the left, so that they go together (Hedén et al. 1996). Arms are swapped where lead I
    goes against V6 and its QRS complex and P wave are negative: right axis deviation leaves the P wave upright, and
    dextrocardia turns V6 as well. Needs I and V6.
    """
    rows = {name: i for i, name in enumerate(names)}
    if not {"I", "V6"} <= set(rows):
        return False
    beat = typical_beat(x, sfreq, r_peaks(x, sfreq))
    if beat is None:
        return False
    one, six = beat.x[rows["I"]], beat.x[rows["V6"]]
    if not (one.std() and six.std()):
        return False
    on, off = beat.qrs
    p = one[max(on - round(0.2 * sfreq), 0) : max(on - round(0.03 * sfreq), 1)]
    p = p - np.median(p)
    return bool(np.corrcoef(one, six)[0, 1] < AGAINST and one[on : off + 1].sum() < 0 and -p.min() > p.max())
