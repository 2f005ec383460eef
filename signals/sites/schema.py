"""What a card may hold, checked by pydantic. Imported by `signals.sites.card_file` alone, when a card is read."""

import re
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from signals.readers.channels.caps import CAP_NAMES
from signals.readers.disclosure import known_reference
from signals.recording.recording import SENSOR_TYPES
from signals.windows.labels import LABEL_SOURCES, UNKNOWN_SOURCE

_WORDING = re.compile(r"[^{}]*\{(:0>[1-9]\d?)?\}[^{}]*")
_LONGEST_PATTERN = 500


def _is_pattern(text: str) -> str:
    try:
        re.compile(text)
    except re.error as error:
        raise ValueError(f"{text!r} is no regular expression: {error}") from None
    return text


def _is_wording(text: str) -> str:
    if text and not _WORDING.fullmatch(text):
        raise ValueError(f"{text!r} must hold {{}} once, or {{:0>3}} to fill up with zeros")
    return text


def _is_site(text: str) -> str:
    if not re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", text):
        raise ValueError(f"{text!r} must be lower case letters, digits and single dashes")
    return text


def _is_reference(text: str) -> str:
    if known_reference(text) == "other":
        raise ValueError(f"{text!r} is neither an electrode (Cz, A1/A2) nor average, linked ears, mastoids, nose, ...")
    return text


def _is_sensor(kind: str) -> str:
    if kind not in SENSOR_TYPES:
        raise ValueError(f"{kind!r} is none of {', '.join(SENSOR_TYPES)}")
    return kind


def _is_source(source: str) -> str:
    if source not in LABEL_SOURCES:
        raise ValueError(f"{source!r} is none of {', '.join(LABEL_SOURCES)}")
    return source


def _is_cap(channels: str | dict[str, str]) -> str | dict[str, str]:
    if isinstance(channels, str) and channels not in CAP_NAMES:
        raise ValueError(f"{channels!r} is none of {', '.join(CAP_NAMES)}; or write a map of labels")
    return channels


def _as_text_keys(value: Any) -> Any:
    """Return a mapping with the numbers among its keys as text: they are what stands in a file's name."""
    if not isinstance(value, dict):
        return value
    return {str(key) if type(key) is int else key: each for key, each in value.items()}


def _as_list(value: Any) -> Any:
    return (value,) if isinstance(value, str) else tuple(value) if isinstance(value, list) else value


Pattern = Annotated[str, Field(min_length=1, max_length=_LONGEST_PATTERN), AfterValidator(_is_pattern)]
Globs = Annotated[tuple[Annotated[str, Field(min_length=1)], ...], BeforeValidator(_as_list)]
Values = Annotated[dict[str, str], BeforeValidator(_as_text_keys)]


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class NameModel(_Model):
    """`subject`: what stands in a file's name."""

    pattern: Pattern
    wording: Annotated[str, AfterValidator(_is_wording)] = ""
    values: Values = {}


class LabelModel(_Model):
    """`label`: the same; without a pattern, `values` translates the table's labels."""

    pattern: Annotated[str, Field(max_length=_LONGEST_PATTERN), AfterValidator(_is_pattern)] = ""
    wording: Annotated[str, AfterValidator(_is_wording)] = ""
    values: Values = {}

    @model_validator(mode="after")
    def _has_something(self) -> "LabelModel":
        if not self.pattern and not self.values:
            raise ValueError("needs a pattern, or values for the labels of the table")
        return self


class TableModel(_Model):
    """`table`: a list of recordings, and the names of its columns."""

    file: Annotated[str, Field(min_length=1)]
    key: Annotated[str, Field(min_length=1)]
    pattern: Pattern = r"^[^.]*"
    subject: str = ""
    label: str = ""
    onset: str = ""
    duration: str = ""

    @model_validator(mode="after")
    def _gives_something(self) -> "TableModel":
        if not self.subject and not self.label:
            raise ValueError("names neither a column subject nor a column label")
        if (self.onset and not self.label) or (self.duration and not self.onset):
            raise ValueError("onset needs label, and duration needs onset")
        return self


class CardModel(_Model):
    """A whole card."""

    name: Annotated[str, AfterValidator(_is_site)]
    about: str = ""
    """For people; not read."""
    files: Globs = ("*",)
    side_files: Globs = ()
    mains: Literal[50, 60, "detect"] = "detect"
    reference: Annotated[str, AfterValidator(_is_reference)] = ""
    channels: Annotated[str | dict[str, str] | None, AfterValidator(_is_cap)] = None
    sensors: dict[str, Annotated[str, AfterValidator(_is_sensor)]] = {}
    subject: Pattern | NameModel | None = None
    label: Pattern | LabelModel | None = None
    label_source: Annotated[str, AfterValidator(_is_source)] = UNKNOWN_SOURCE
    table: TableModel | None = None
    layout: dict[str, Any] | None = None


KEYS = {
    "": tuple(CardModel.model_fields),
    "subject": tuple(NameModel.model_fields),
    "label": tuple(LabelModel.model_fields),
    "table": tuple(TableModel.model_fields),
}
"""Known keys of each section."""
