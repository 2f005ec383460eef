"""BioSemi's caps and EGI's nets: what "A1" ... "D32" and "E1" ... are on each. Two caps share all their names.

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


HYDROCEL: dict[int, dict[str, str]] = {
    128: {
        "E22": "Fp1", "E9": "Fp2", "E33": "F7", "E24": "F3", "E11": "Fz", "E124": "F4", "E122": "F8", "E45": "T7",
        "E36": "C3", "E129": "Cz", "E104": "C4", "E108": "T8", "E58": "P7", "E52": "P3", "E62": "Pz", "E92": "P4",
        "E96": "P8", "E70": "O1", "E83": "O2",
    },
    256: {
        "E37": "Fp1", "E18": "Fp2", "E47": "F7", "E36": "F3", "E21": "Fz", "E224": "F4", "E2": "F8", "E69": "T7",
        "E59": "C3", "E257": "Cz", "E183": "C4", "E202": "T8", "E96": "P7", "E87": "P3", "E101": "Pz", "E153": "P4",
        "E170": "P8", "E116": "O1", "E150": "O2",
    },
}  # fmt: skip
"""The electrode of EGI's HydroCel nets that stands for each place of the 10-20 system, as EGI's technical note has it
(Luu & Ferree 2005); up to 17 degrees off it. The vertex is the reference, recorded as one channel more or not."""

CAP_NAMES = (*CAPS, "biosemi128", "hydrocel128", "hydrocel256")
"""Caps and nets that a site card can name."""


def cap_map(cap: str) -> ChannelMap:
    """Return the channel map of files recorded with a cap or net of `CAP_NAMES`.

    Electrodes of the dense ones that stand for no 10-20 place keep their name behind the maker's: the "A1" and "A2" of
    a cap are no ears. Raises ValueError for another cap.
    """
    if cap in CAPS:
        return ChannelMap(name=cap, labels=tuple(zip(abc_names(len(CAPS[cap])), CAPS[cap], strict=True)))
    if cap not in CAP_NAMES:
        raise ValueError(f"cap={cap!r} is none of {', '.join(CAP_NAMES)}")
    if cap == "biosemi128":
        return ChannelMap(
            name=cap, labels=tuple((name, NEAREST_128.get(name, f"BioSemi {name}")) for name in abc_names(128))
        )
    places = HYDROCEL[int(cap.removeprefix("hydrocel"))]
    names = (f"E{number}" for number in range(1, int(cap.removeprefix("hydrocel")) + 2))
    return ChannelMap(name=cap, labels=tuple((name, places.get(name, f"EGI {name}")) for name in names))
