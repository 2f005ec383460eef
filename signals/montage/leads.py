"""The leads of an electrocardiogram: which channel is which lead, and the limb leads that follow from others exactly.

Any two of the six limb leads give the other four (Einthoven: III = II - I; Goldberger: aVR = -(I + II)/2,
aVL = I - II/2, aVF = II - I/2), so a missing one is derived, not estimated: INTERPOLATED in `ch_state`, for it was not
recorded, and adds nothing to its sources. Chest leads follow from nothing. Voltages are never re-referenced.
"""

import re
from collections.abc import Sequence
from functools import lru_cache

import numpy as np

from signals.modality import LIMB_LEADS, Modality
from signals.montage.labels import Derivation, Electrodes
from signals.montage.montage import Harmoniser
from signals.montage.references import Reference
from signals.window import ABSENT, INTERPOLATED, MEASURED

LEADS: tuple[str, ...] = (*LIMB_LEADS, "V1", "V2", "V3", "V4", "V5", "V6")
MODIFIED, INVERTED = "modified", "inverted"
"""References of derivations whose lead is a Holter's (MLII: electrodes on the trunk), or stored with its sign changed
(Cabrera's -aVR)."""

_MARKS = (("", "", ""), ("ml", "", MODIFIED), ("mv", "v", MODIFIED), ("mcl", "v", MODIFIED), ("-", "", INVERTED))
"""What stands before a lead's name, what that becomes, and the reference."""
_PREFIX = re.compile(r"^(mdc_ecg_lead_|lead[\s_]*|e[ck]g[\s_:\-]+)", re.IGNORECASE)
_CANONICAL = {name.lower(): name for name in LEADS}
_LIMB_MATRIX = np.array(list(LIMB_LEADS.values()))


def lead_of(label: str) -> Derivation | None:
    """Return the lead that a label names, or None: "ii", "ECG aVR", "MDC_ECG_LEAD_V1", "MLII", "-aVR"."""
    text = _PREFIX.sub("", label.strip()).strip().lower()
    for mark, kept, reference in _MARKS:
        if text.startswith(mark) and (name := _CANONICAL.get(kept + text.removeprefix(mark))):
            return Derivation(name, None, reference)
    return None


def find_leads(ch_names: Sequence[str], sensor_types: Sequence[str]) -> Electrodes:
    """Return the channels that name leads; of a lead that is there twice the first, and a plain one before a modified.

    A channel of another sensor type names no lead.
    """
    named = [(pick, lead_of(ch_names[pick])) for pick, kind in enumerate(sensor_types) if kind == "ecg"]
    found = [(pick, lead) for pick, lead in named if lead is not None]
    kept: dict[str, tuple[int, Derivation]] = {}
    for pick, lead in sorted(found, key=lambda pair: pair[1].reference == MODIFIED):
        kept.setdefault(lead.anode, (pick, lead))
    ordered = sorted(kept.values(), key=lambda pair: pair[0])
    return Electrodes(tuple(pick for pick, _ in ordered), tuple(lead for _, lead in ordered))


@lru_cache(maxsize=256)
def lead_harmoniser(derivations: tuple[Derivation, ...], modality: Modality, reference: Reference) -> Harmoniser:
    """Return the map from these leads to the modality's; `reference` must be "source", as leads have their own.

    A limb lead that was not recorded is derived where two others were. Raises ValueError for another reference.
    """
    if reference != "source":
        raise ValueError(f"reference={reference!r}: leads keep their own, 'source'")
    rows = {name: i for i, name in enumerate(modality.ch_names)}
    matrix = np.zeros((modality.n_chans, len(derivations)))
    ch_state = np.full(modality.n_chans, ABSENT, dtype=np.uint8)
    for pick, lead in enumerate(derivations):
        matrix[rows[lead.anode], pick] = -1.0 if lead.reference == INVERTED else 1.0
        ch_state[rows[lead.anode]] = MEASURED
    known = [name for name in LIMB_LEADS if ch_state[rows[name]] == MEASURED]
    if len(known) >= 2:
        # Of more than two, the two that come first: what is derived is then exact, and depends on no third.
        of_two = np.linalg.inv(_LIMB_MATRIX[[list(LIMB_LEADS).index(name) for name in known[:2]]])
        for name, limb in LIMB_LEADS.items():
            if ch_state[rows[name]] == ABSENT:
                matrix[rows[name]] = (np.array(limb) @ of_two) @ matrix[[rows[source] for source in known[:2]]]
                ch_state[rows[name]] = INTERPOLATED
    return Harmoniser(
        matrix=matrix.astype(np.float32),
        ch_state=ch_state,
        depends=matrix != 0,
        reference="source",
        spread=np.zeros((modality.n_chans, modality.n_chans), dtype=np.float32),
    )


def lead_shortfall(derivations: Sequence[Derivation], fit: Harmoniser, modality: Modality) -> str:
    """Return in one line which leads are recorded and which are missing."""
    there = {name for name, state in zip(modality.ch_names, fit.ch_state, strict=True) if state == MEASURED}
    missing = " ".join(name for name in modality.ch_names if name not in there)
    return f"there are {' '.join(d.anode for d in derivations)}; missing are {missing}"
