"""What may be kept of who and what was recorded, on request: coarse, and never a name or a date."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass

FIELD_OF: dict[str, str] = {
    "device": "device", "start-hour": "start_hour", "age-group": "age_group", "age": "age", "sex": "sex",
    "height": "height_cm", "weight": "weight_kg",
}  # fmt: skip
"""Field of `Details` by the name under which it is requested."""
KEEPABLE: tuple[str, ...] = tuple(FIELD_OF)
"""What `signals.readers.registry.open_recording` keeps only on request."""

DEVICES: dict[str, tuple[str, ...]] = {
    "ANT Neuro": ("ant neuro", "eego", "asalab"),
    "BioSemi": ("biosemi", "activetwo"),
    "Brain Products": ("brain products", "brainproducts", "brainamp", "actichamp", "brainvision", "liveamp"),
    "Cadwell": ("cadwell", "arc essentia"),
    "Compumedics": ("compumedics", "grael", "neuroscan", "synamps", "profusion"),
    "EB Neuro": ("ebneuro", "eb neuro", "be plus"),
    "EGI": ("egi", "geodesic", "magstim"),
    "Emotiv": ("emotiv", "epoc"),
    "Embla": ("embla",),
    "g.tec": ("g.tec", "gtec", "g.usbamp", "g.nautilus", "g.hiamp"),
    "Lifelines": ("lifelines", "trackit"),
    "Micromed": ("micromed", "brainquick", "brain quick"),
    "Mitsar": ("mitsar",),
    "Natus": ("natus", "xltek", "nicolet", "neuroworks", "deltamed", "stellate", "bio-logic", "nervus"),
    "Nihon Kohden": ("nihon kohden", "neurofax", "eeg-1100", "eeg-1200"),
    "OpenBCI": ("openbci", "ultracortex"),
    "Philips": ("philips", "alice"),
    "SOMNOmedics": ("somnomedics", "somnoscreen"),
}
"""Makers of amplifiers by the words that name them or their machines; serial numbers and owners stand beside those."""

_AGES: tuple[tuple[float, str], ...] = (
    (1, "0"), (5, "1-4"), (13, "5-12"), (18, "13-17"), (40, "18-39"), (65, "40-64"), (90, "65-89"), (130, "90+"),
)  # fmt: skip


AGE_GROUPS: tuple[str, ...] = tuple(name for _, name in _AGES)
SEXES = ("female", "male")
OLDEST = 90
"""Ages above 89 are this, since few people reach them."""
LIMITS: dict[str, tuple[int, int]] = {"age": (0, OLDEST), "height_cm": (40, 230), "weight_kg": (1, 350)}
"""Least and greatest value of each number of a person."""


@dataclass(frozen=True)
class Details:
    """Coarse facts about a recording; empty or None where the file does not hold them or they were not requested."""

    device: str = ""
    """Maker of the amplifier, a key of `DEVICES`."""
    start_hour: int | None = None
    """Hour of the day at which the recording starts, local time, 0 to 23."""
    age_group: str = ""
    """Age in years when recorded: "0", "1-4", "5-12", "13-17", "18-39", "40-64", "65-89" or "90+"."""
    age: int | None = None
    """Age in whole years when recorded, 90 for 90 and over."""
    sex: str = ""
    """One of SEXES."""
    height_cm: int | None = None
    weight_kg: int | None = None

    def __post_init__(self) -> None:
        if self.device and self.device not in DEVICES:
            raise ValueError(f"device={self.device!r} is none of {', '.join(DEVICES)}")
        if self.start_hour is not None and not 0 <= self.start_hour < 24:
            raise ValueError(f"start_hour={self.start_hour} must lie within 0 and 23")
        if self.age_group and self.age_group not in AGE_GROUPS:
            raise ValueError(f"age_group={self.age_group!r} is none of {', '.join(AGE_GROUPS)}")
        if self.sex and self.sex not in SEXES:
            raise ValueError(f"sex={self.sex!r} is none of {', '.join(SEXES)}")
        for name, (low, high) in LIMITS.items():
            value = getattr(self, name)
            if value is not None and not low <= value <= high:
                raise ValueError(f"{name}={value} must lie within {low} and {high}")

    @property
    def stored(self) -> dict[str, str | int]:
        """What is known, by field; empty where nothing is."""
        return {name: value for name, value in asdict(self).items() if value not in ("", None)}

    def kept(self, names: Sequence[str]) -> "Details":
        """Return the details with all but `names` left out; raises ValueError for a name that is not `KEEPABLE`."""
        if unknown := set(names) - set(KEEPABLE):
            raise ValueError(f"keep={sorted(unknown)} are none of {', '.join(KEEPABLE)}")
        fields = {FIELD_OF[name] for name in names}
        return Details(**{name: value for name, value in asdict(self).items() if name in fields})

    def filled(self, further: "Details") -> "Details":
        """Return the details, completed by those of `further`."""
        return Details(**{**asdict(further), **self.stored})


def age_group(years: float | None) -> str:
    """Return the group of an age in years, empty for None and for what is no age."""
    if years is None or not 0 <= years < _AGES[-1][0]:
        return ""
    return next(name for below, name in _AGES if years < below)


def person_details(*, age: float | None = None, sex: str = "", height_cm: float | None = None,
                   weight_kg: float | None = None) -> Details:  # fmt: skip
    """Return what a header states of a person: age, its group, sex, height and weight; what cannot be is left out.

    An age of 300, which some hospitals write for over 89, is none.
    """
    group, initial = age_group(age), sex.strip().lower()
    return Details(
        age_group=group,
        age=min(int(age), OLDEST) if age is not None and group else None,
        sex=next((each for each in SEXES if initial in (each, each[0])), ""),
        height_cm=_within("height_cm", height_cm),
        weight_kg=_within("weight_kg", weight_kg),
    )


def _within(name: str, value: float | None) -> int | None:
    low, high = LIMITS[name]
    return round(value) if value is not None and low <= round(value) <= high else None


def known_device(text: str) -> str:
    """Return the maker whose name or machine a text holds, a key of `DEVICES`; empty for any other text."""
    words = f" {' '.join(text.lower().replace('_', ' ').split())} "
    for maker, names in DEVICES.items():
        if any(f" {name}" in words for name in names):
            return maker
    return ""
