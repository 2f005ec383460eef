"""The synthetic hospitals: which files they write, with which electrodes, amplifiers and mains."""

from dataclasses import asdict, dataclass
from typing import Any

FILE_FORMATS = {"edf": ".edf", "edf+d": ".edf", "bdf": ".bdf", "fif": "_raw.fif"}
"""Ending of the file name per format; MNE wants raw FIF files to end so."""

_OLD_19 = "Fp1 Fp2 F7 F3 Fz F4 F8 T3 C3 Cz C4 T4 T5 P3 Pz P4 T6 O1 O2"
_NEW_32 = (
    "Fp1 Fp2 F7 F3 Fz F4 F8 FC5 FC1 FC2 FC6 T7 C3 Cz C4 T8 TP9 CP5 CP1 CP2 CP6 TP10 P7 P3 Pz P4 P8 PO9 O1 Oz O2 PO10"
)
_NEW_64 = (
    "Fp1 AF7 AF3 F1 F3 F5 F7 FT7 FC5 FC3 FC1 C1 C3 C5 T7 TP7 CP5 CP3 CP1 P1 P3 P5 P7 P9 PO7 PO3 O1 Iz Oz POz Pz CPz "
    "Fpz Fp2 AF8 AF4 AFz Fz F2 F4 F6 F8 FT8 FC6 FC4 FC2 FCz Cz C2 C4 C6 T8 TP8 CP6 CP4 CP2 P2 P4 P6 P8 P10 PO8 PO4 O2"
)
MONTAGES: dict[str, tuple[str, ...]] = {
    "old-19": tuple(_OLD_19.split()),
    "clinical-19": (*(f"EEG {name}-REF" for name in _OLD_19.split()), "EKG"),
    "new-32": tuple(_NEW_32.split()),
    "new-64": tuple(_NEW_64.split()),
}
"""Channel labels as they stand in the files."""

REFERENCES: dict[str, tuple[str, ...]] = {
    "average": (), "linked ears": ("A1", "A2"), "Cz": ("Cz",), "FCz": ("FCz",),
}  # fmt: skip
"""Electrodes whose mean is subtracted; none for the average of all channels."""


@dataclass(frozen=True, kw_only=True)
class Site:
    """A hospital's way of recording."""

    site_id: str
    file_format: str
    """One of FILE_FORMATS."""
    montage: str
    """One of MONTAGES."""
    missing: tuple[str, ...] = ()
    """Labels of the montage that this site does not record."""
    sfreq: float
    """Hz; a whole number, as one data record holds one second."""
    mains_hz: float
    mains_uv: float
    """Typical height of the mains hum."""
    reference: str
    """One of REFERENCES."""
    gain: float = 1.0
    """Calibration error of the amplifiers: what is written over what is there."""
    noise_uv: float = 0.5
    """Standard deviation of the amplifier noise."""
    n_subjects: int | None = None
    """Subjects of this site, where it differs from the corpus' number."""

    def __post_init__(self) -> None:
        rules: tuple[tuple[str, Any], ...] = (
            ("file_format", FILE_FORMATS), ("montage", MONTAGES), ("reference", REFERENCES),
        )  # fmt: skip
        for name, known in rules:
            if getattr(self, name) not in known:
                raise ValueError(f"{self.site_id}: {name}={getattr(self, name)!r} is none of {list(known)}")
        if self.sfreq != int(self.sfreq) or self.sfreq < 100:
            raise ValueError(f"{self.site_id}: sfreq={self.sfreq} is not a whole number of at least 100 Hz")
        if strangers := set(self.missing) - set(MONTAGES[self.montage]):
            raise ValueError(f"{self.site_id}: missing={sorted(strangers)} is not in montage {self.montage!r}")

    @property
    def ch_names(self) -> tuple[str, ...]:
        """Labels in file order, the EKG included."""
        return tuple(name for name in MONTAGES[self.montage] if name not in self.missing)

    def to_dict(self) -> dict[str, Any]:
        """Return plain lists and numbers for JSON."""
        return asdict(self)


def electrode_of(label: str) -> str:
    """Return the bare electrode name of a label of MONTAGES ("EEG Fp1-REF" -> "Fp1")."""
    return label.removeprefix("EEG ").removesuffix("-REF")


SITES: tuple[Site, ...] = (
    Site(site_id="northgate", file_format="edf", montage="clinical-19", sfreq=200.0, mains_hz=60.0, mains_uv=2.0,
         reference="linked ears", gain=1.0, noise_uv=0.6),
    Site(site_id="lakeside", file_format="edf+d", montage="new-32", sfreq=250.0, mains_hz=50.0, mains_uv=4.0,
         reference="FCz", gain=0.93, noise_uv=0.4),
    Site(site_id="harbour", file_format="bdf", montage="new-64", sfreq=500.0, mains_hz=50.0, mains_uv=1.0,
         reference="average", gain=1.08, noise_uv=0.3),
    Site(site_id="hilltop", file_format="fif", montage="old-19", missing=("Cz", "T6"), sfreq=128.0, mains_hz=60.0,
         mains_uv=3.0, reference="Cz", gain=1.15, noise_uv=1.2),
)  # fmt: skip
"""Four sites that differ in all that the pipeline has to make alike."""
