"""What a method must reach before its maps may be trusted, what it did reach, and the label that follows by itself.

A card belongs to one model. It travels in the model's bundle (`CARD`), and whatever shows a map reads it: a method that
misses a gate, or whose card is missing, is "not validated" there.
"""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

CARD = "explanations.json"
VALIDATED, NOT_VALIDATED = "validated on planted evidence", "not validated"
MAPS, SUMS, CAMS = "map", "sum", "cam"


@dataclass(frozen=True, kw_only=True)
class Gate:
    """A limit on one figure."""

    name: str
    limit: float
    at_most: bool = False
    kinds: tuple[str, ...] = (MAPS, CAMS)
    """Kinds of method that it holds for; `SUMS` beside them for those that promise a sum."""
    what: str = ""

    def passed(self, value: float) -> bool | None:
        """Return whether a value passes; None where it is undefined, so that the gate does not apply."""
        if math.isnan(value):
            return None
        return value <= self.limit if self.at_most else value >= self.limit


GATES: tuple[Gate, ...] = (
    Gate(name="time_hit", limit=0.90, what="strongest step within 0.25 s of the evidence"),
    Gate(name="hemisphere_hit", limit=0.95, what="more evidence on its side of the head"),
    Gate(name="channel_hit", limit=0.80, what="strongest channel shows it"),
    Gate(name="band_hit", limit=0.90, what="strongest band holds it"),
    Gate(name="auprc", limit=5.0, what="average precision over the share of evidence"),
    Gate(name="iou", limit=0.50, kinds=(MAPS,), what="overlap at the evidence's size"),
    Gate(name="iou_cam", limit=0.30, kinds=(CAMS,), what="the same for class activation maps"),
    Gate(name="gain", limit=0.20, what="average precision above that of amplitude and line length"),
    Gate(name="randomised", limit=0.20, at_most=True, what="mean |Spearman| with maps of random weights"),
    Gate(name="shuffled", limit=0.20, at_most=True, what="the same with a model of shuffled labels"),
    Gate(name="seeds", limit=0.60, what="Spearman between two trainings"),
    Gate(name="noise", limit=0.85, what="Spearman with maps under noise of -30 dB"),
    Gate(name="deletion", limit=0.15, what="deletion and insertion against random order, worst class and filler"),
    Gate(name="sum_error", limit=0.01, at_most=True, what="sum of the map against the logit's change"),
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Measured:
    """One method on one model."""

    method: str
    kind: str = MAPS
    """MAPS or CAMS."""
    values: Mapping[str, float] = field(default_factory=dict)
    """By gate; nan, or missing, where a gate does not apply or was not measured."""
    n_cases: int = 0
    heuristic: bool = False
    """A method without a promise, which no gate can validate."""

    def failed(self) -> tuple[str, ...]:
        """Return the gates that were missed, in order."""
        return tuple(gate.name for gate in self._applying() if gate.passed(self.value(gate.name)) is False)

    def value(self, name: str) -> float:
        """Return what was measured at a gate; nan where nothing was."""
        return float(self.values.get(name, float("nan")))

    @property
    def status(self) -> str:
        """`VALIDATED` only where every gate that can apply was measured and passed; else `NOT_VALIDATED`."""
        needed = ("time_hit", "gain", "randomised", "seeds", "noise", "deletion")
        unmeasured = any(math.isnan(self.value(name)) for name in needed)
        return NOT_VALIDATED if self.heuristic or unmeasured or self.failed() or not self.n_cases else VALIDATED

    def _applying(self) -> list[Gate]:
        return [gate for gate in GATES if self.kind in gate.kinds]


@dataclass(frozen=True, kw_only=True)
class ExplanationCard:
    """Every method's figures on one model."""

    model: str
    weights_sha256: str = ""
    """Of the weights that were measured; another model's card says nothing."""
    methods: Sequence[Measured] = ()
    n_skipped: int = 0
    """Windows of the benchmark where the model was unsure, or where removing the evidence left the answer."""
    about: str = ""
    """Date, machine and command."""

    def status(self, method: str) -> str:
        """Return the label of a method; `NOT_VALIDATED` for one that is not on the card."""
        return next((m.status for m in self.methods if m.method == method), NOT_VALIDATED)

    def validated(self) -> tuple[str, ...]:
        """Return the methods that pass every gate."""
        return tuple(m.method for m in self.methods if m.status == VALIDATED)

    def to_json(self) -> str:
        """Return the card as JSON; what is undefined is null."""
        fields = asdict(self)
        for method in fields["methods"]:
            method["values"] = {k: None if math.isnan(v) else v for k, v in method["values"].items()}
        return json.dumps(fields, indent=1, sort_keys=True) + "\n"

    @classmethod
    def from_json(cls, text: str) -> "ExplanationCard":
        """Read a card; raises ValueError, in one line, for anything else."""
        try:
            fields: dict[str, Any] = json.loads(text)
            methods = [
                Measured(
                    **{**m, "values": {k: float("nan") if v is None else float(v) for k, v in m["values"].items()}}
                )
                for m in fields.pop("methods")
            ]
            return cls(**fields, methods=tuple(methods))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"no card of explanations: {error!r}") from None


def missing_card(model: str) -> ExplanationCard:
    """Return the card of a model that was never measured: nothing on it is validated."""
    return ExplanationCard(model=model, about="no gate was measured for this model")
