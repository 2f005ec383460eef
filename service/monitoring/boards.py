"""Grafana's dashboards as data: their panels, the queries in them, and which metrics those name."""

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import yaml

FOLDER = Path(__file__).parents[2] / "infra" / "monitoring"
"""Rules, dashboards and provisioning of this checkout."""
_NAME = re.compile(r"(?<![\w:])(?:up|ALERTS|[a-z_]*:?cerebeam_\w+(?::\w+)?)(?![\w:])")
_TEXT = re.compile(r'"(?:[^"\\]|\\.)*"')


class BoardError(ValueError):
    """A dashboard that cannot be used; the message is one line."""


@dataclass(frozen=True)
class Query:
    """One line or family of lines of a panel."""

    expr: str
    legend: str
    """Text with {{label}} in it."""


@dataclass(frozen=True)
class Panel:
    """One chart."""

    title: str
    unit: str
    queries: tuple[Query, ...]


@dataclass(frozen=True)
class Board:
    """One dashboard."""

    title: str
    panels: tuple[Panel, ...]


def read_board(path: Path) -> Board:
    """Return a dashboard of Grafana's JSON; raises BoardError for a file that is none."""
    try:
        fields = json.loads(path.read_text(encoding="utf-8"))
        panels = tuple(
            Panel(
                panel["title"], panel["fieldConfig"]["defaults"]["unit"],
                tuple(Query(target["expr"], target["legendFormat"]) for target in panel["targets"]),
            )
            for panel in fields["panels"]
        )  # fmt: skip
        return Board(fields["title"], panels)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BoardError(f"{path} is no dashboard: {error!r}") from None


def read_boards(folder: Path = FOLDER) -> list[Board]:
    """Return all dashboards of a checkout; raises BoardError where there is none."""
    paths = sorted((folder / "grafana" / "dashboards").glob("*.json"))
    if not paths:
        raise BoardError(f"{folder} holds no dashboard: run this in a checkout")
    return [read_board(path) for path in paths]


def rule_expressions(folder: Path = FOLDER) -> dict[str, str]:
    """Return the expression of each rule by the name of its alert or its record."""
    rules = [
        rule
        for path in ("alerts.yml", "drift.yml", "recording.yml")
        for group in yaml.safe_load((folder / path).read_text(encoding="utf-8"))["groups"]
        for rule in group["rules"]
    ]
    return {rule.get("alert") or rule["record"]: rule["expr"] for rule in rules}


def metrics_of(expr: str) -> set[str]:
    """Return the metrics that an expression names: ours, what rules record, and Prometheus' own `up` and `ALERTS`."""
    return set(_NAME.findall(_TEXT.sub('""', expr)))


def dangling(expressions: Iterable[str], known: Iterable[str]) -> list[str]:
    """Return the expressions that name a metric which is not known, or none at all."""
    names = set(known)
    return [expr for expr in expressions if not metrics_of(expr) or metrics_of(expr) - names]


def series_of(families: Iterable[tuple[str, str]]) -> set[str]:
    """Return the series of metric families as (name, type): a histogram has three, a counter's ends in _total."""
    names = set[str]()
    for name, kind in families:
        if kind == "counter":
            names |= {f"{name}_total"}
        elif kind == "histogram":
            names |= {f"{name}_bucket", f"{name}_sum", f"{name}_count"}
        else:
            names.add(name)
    return names
