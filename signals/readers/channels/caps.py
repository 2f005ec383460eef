"""BioSemi caps: what an electrode's ABC name ("A1" ... "D32") is on each cap. Two caps share all their names.

10-20 labels of the caps of 16, 32 and 64 electrodes, and polar coordinates of the cap of 128, as BioSemi publishes them
(biosemi.com/headcap.htm). Positions of labels are in `signals.electrodes`.
"""

import math

from signals.readers.channels.channel_maps import ChannelMap

CAPS: dict[str, tuple[str, ...]] = {
    "biosemi16": ("Fp1", "Fp2", "F4", "Fz", "F3", "T7", "C3", "Cz", "C4", "T8", "P4", "Pz", "P3", "O1", "Oz", "O2"),
    "biosemi32": (
        "Fp1", "AF3", "F7", "F3", "FC1", "FC5", "T7", "C3", "CP1", "CP5", "P7", "P3", "Pz", "PO3", "O1", "Oz", "O2",
        "PO4", "P4", "P8", "CP6", "CP2", "C4", "T8", "FC6", "FC2", "F4", "F8", "AF4", "Fp2", "Fz", "Cz",
    ),
    "biosemi64": (
        "Fp1", "AF7", "AF3", "F1", "F3", "F5", "F7", "FT7", "FC5", "FC3", "FC1", "C1", "C3", "C5", "T7", "TP7", "CP5",
        "CP3", "CP1", "P1", "P3", "P5", "P7", "P9", "PO7", "PO3", "O1", "Iz", "Oz", "POz", "Pz", "CPz", "Fpz", "Fp2",
        "AF8", "AF4", "AFz", "Fz", "F2", "F4", "F6", "F8", "FT8", "FC6", "FC4", "FC2", "FCz", "Cz", "C2", "C4", "C6",
        "T8", "TP8", "CP6", "CP4", "CP2", "P2", "P4", "P6", "P8", "P10", "PO8", "PO4", "O2",
    ),
}  # fmt: skip
"""Labels in order of the names A1, A2, ..., A32, B1, ..."""

NEAREST_128: dict[str, str] = {
    "C29": "Fp1", "C17": "Fpz", "C16": "Fp2", "D7": "F7", "D4": "F3", "C21": "Fz", "C4": "F4", "C7": "F8", "D23": "T7",
    "D19": "C3", "A1": "Cz", "B22": "C4", "B26": "T8", "D31": "P7", "A7": "P3", "A19": "Pz", "B4": "P4", "B11": "P8",
    "A15": "O1", "A23": "Oz", "A28": "O2",
}  # fmt: skip
"""The 10-20 place of 21 electrodes of the cap of 128: F3, F4, P3 and P4 are six degrees off, the others on it."""

POLAR_128: tuple[tuple[float, float], ...] = (
    (0, 0), (11.5, -90), (23, -90), (34.5, -90), (-46, 67.5), (-46, 45), (-57.5, 45), (-69, 54), (-80.5, 54),
    (-92, 54), (-103.5, 54), (-115, 54), (-115, 72), (-103.5, 72), (-92, 72), (-80.5, 72), (-69, 72), (-57.5, 67.5),
    (46, -90), (57.5, -90), (69, -90), (80.5, -90), (92, -90), (103.5, -90), (115, -90), (115, -72), (103.5, -72),
    (92, -72), (80.5, -72), (69, -72), (57.5, -67.5), (46, -67.5), (11.5, -18), (23, -45), (46, -45), (57.5, -45),
    (69, -54), (80.5, -54), (92, -54), (103.5, -54), (115, -54), (103.5, -36), (92, -36), (80.5, -36), (69, -36),
    (92, -18), (80.5, -18), (69, -18), (57.5, -22.5), (46, -22.5), (34.5, -30), (23, 0), (34.5, 0), (46, 0),
    (57.5, 0), (69, 0), (80.5, 0), (92, 0), (92, 18), (80.5, 18), (69, 18), (57.5, 22.5), (46, 22.5), (34.5, 30),
    (11.5, 54), (23, 45), (46, 45), (57.5, 45), (69, 36), (80.5, 36), (92, 36), (92, 54), (80.5, 54), (69, 54),
    (34.5, 60), (46, 67.5), (57.5, 67.5), (69, 72), (80.5, 72), (92, 72), (92, 90), (80.5, 90), (69, 90), (57.5, 90),
    (46, 90), (34.5, 90), (23, 90), (-34.5, -60), (-46, -67.5), (-57.5, -67.5), (-69, -72), (-80.5, -72), (-92, -72),
    (-92, -54), (-80.5, -54), (-69, -54), (-11.5, -54), (-23, -45), (-46, -45), (-57.5, -45), (-69, -36),
    (-80.5, -36), (-92, -36), (-92, -18), (-80.5, -18), (-69, -18), (-57.5, -22.5), (-46, -22.5), (-34.5, -30),
    (-23, 0), (-11.5, 18), (-23, 45), (-34.5, 30), (-34.5, 0), (-46, 0), (-57.5, 0), (-69, 0), (-80.5, 0), (-92, 0),
    (-92, 18), (-80.5, 18), (-69, 18), (-57.5, 22.5), (-46, 22.5), (-69, 36), (-80.5, 36), (-92, 36), (-103.5, 36),
)  # fmt: skip
"""Inclination from the vertex and azimuth from the right ear, degrees, of A1 ... A32, B1 ... D32."""


def abc_names(n_chans: int) -> tuple[str, ...]:
    """Return BioSemi's names of so many electrodes: banks of 32, "A1" ... "A32", "B1", ..."""
    return tuple(f"{chr(ord('A') + k // 32)}{k % 32 + 1}" for k in range(n_chans))


def positions_128() -> dict[str, tuple[float, float, float]]:
    """Return the directions of the cap of 128 on the unit sphere: x to the right ear, y to the nose, z up."""
    places = {}
    for name, (inclination, azimuth) in zip(abc_names(128), POLAR_128, strict=True):
        theta, phi = math.radians(inclination), math.radians(azimuth)
        places[name] = (math.sin(theta) * math.cos(phi), math.sin(theta) * math.sin(phi), math.cos(theta))
    return places


def cap_map(cap: str, *, pattern: str) -> ChannelMap:
    """Return the channel map of files that match `pattern`, recorded with "biosemi16", "32", "64" or "128".

    Electrodes of the cap of 128 that lie at no 10-20 place keep their name behind the word "BioSemi": the "A1" and "A2"
    of a cap are no ears. Raises ValueError for another cap.
    """
    if cap in CAPS:
        return ChannelMap(
            name=cap, pattern=pattern, labels=tuple(zip(abc_names(len(CAPS[cap])), CAPS[cap], strict=True))
        )
    if cap != "biosemi128":
        raise ValueError(f"cap={cap!r} is none of {[*CAPS, 'biosemi128']}")
    return ChannelMap(
        name=cap, pattern=pattern,
        labels=tuple((name, NEAREST_128.get(name, f"BioSemi {name}")) for name in abc_names(128)),
    )  # fmt: skip
