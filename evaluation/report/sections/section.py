"""A section of the report: the facts it computes, the blocks it draws from them, and what its numbers cannot support."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from evaluation.report.context import Context
from evaluation.report.drawing.blocks import Block
from evaluation.report.drawing.wording import Facts


def no_caveats(facts: Facts) -> Sequence[str]:
    """Return nothing, for a section whose numbers need no caveat."""
    return ()


def no_facts(context: Context) -> Mapping[str, Any]:
    """Return nothing, for a section that draws facts of other sections."""
    return {}


TOP, CLINICAL, APPENDIX = "top", "clinical", "appendix"
PARTS = {TOP: "", CLINICAL: "For clinicians", APPENDIX: "Appendix"}
"""Parts of the page and their headings, in order."""


@dataclass(frozen=True, kw_only=True)
class Section:
    """One section. `facts` sees the files; `render` and `caveats` see facts.json and nothing else."""

    name: str
    """Anchor on the page."""
    title: str
    """Heading; empty for the top of the page."""
    part: str = APPENDIX
    """One of PARTS."""
    render: Callable[[Facts], Sequence[Block]]
    """No blocks: the section is left out."""
    facts: Callable[[Context], Mapping[str, Any]] = no_facts
    """Entries of facts.json; no two sections share a key."""
    caveats: Callable[[Facts], Sequence[str]] = no_caveats
    """Sentences for the list of limitations."""
