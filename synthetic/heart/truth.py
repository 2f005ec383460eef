"""What is known exactly of a generated electrocardiogram: each wave's onset, peak and offset."""

from dataclasses import dataclass

P, QRS, T = "P", "QRS", "T"
KINDS = (P, QRS, T)


@dataclass(frozen=True)
class Wave:
    """A wave of one beat, the same on all leads."""

    kind: str
    """One of KINDS."""
    onset_s: float
    """Where its field begins: exactly, for it is 0 before."""
    peak_s: float
    """Where the field of its largest part is largest."""
    offset_s: float
    """Where its field ends."""
