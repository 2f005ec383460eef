"""Reproducibility: the command, digests of all files, and versions."""

import platform
import re
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from typing import Any

from evaluation.report.context import Context
from evaluation.report.drawing.blocks import Block, Code, KeyValues, Text
from evaluation.report.drawing.wording import Facts
from evaluation.report.sections.section import Section
from signals.pages.page import flatten

_PACKAGES = ("numpy", "pandas", "pyarrow", "scikit-learn", "scipy")
_LONG = ("folds", "pretrain_subjects")
"""Entries of the metadata that are counted, not listed."""


def facts(context: Context) -> Mapping[str, Any]:
    """Return metadata of the predictions, versions and digests."""
    meta = context.scored.meta
    known = {name: entry for name, entry in meta.items() if name not in _LONG}
    return {
        "meta": {**known, "command": _without_folders(known["command"])} if known.get("command") else known,
        "versions": {"python": platform.python_version(), **{name: version(name) for name in _PACKAGES}},
        "provenance": dict(context.sources.provenance),
    }


def _without_folders(command: str) -> str:
    """Return a command with the last part of each whole path: where files lie on a machine is nobody's business."""
    return re.sub(r"""(?<![^\s='"])(?:[a-z0-9]+:/|[~.]*)/(?:[^\s='"/]*/)*(?=[^\s/])""", "", str(command))


def render(facts: Facts) -> Sequence[Block]:
    """Return the command, digests and versions."""
    provenance = {name: entry for name, entry in facts["provenance"].items() if name != "command"}
    flat = {**flatten(provenance), **flatten(facts["meta"]), **facts["versions"], "seed": facts["bootstrap"]["seed"]}
    command = facts["provenance"].get("command")
    return [
        Text("The same files and seed give the same numbers."),
        *([Code(command)] if command else []),
        KeyValues(flat),
        Text("Every number of this page is in facts.json beside it, and in the element `#facts` of this file.", "note"),
    ]


SECTION = Section(name="reproducibility", title="Reproducibility", facts=facts, render=render)
