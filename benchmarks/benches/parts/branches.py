"""Lines of the project that decide by the name of a modality, or by what organ a sensor is of."""

import ast
from pathlib import Path

ROOMS = (
    "cerebeam",
    "evaluation",
    "explain",
    "model",
    "pipelines",
    "service",
    "serving",
    "signals",
    "studies",
    "training",
)
ALLOWED = ("signals/modality.py", "signals/readers/", "signals/windows/profiles.py")
"""Where a modality is defined, a file is read, a preparation is chosen."""
_ORGANS = {
    "eeg",
    "ecg",
    "eeg_1020",
    "eeg_psg",
    "ecg_12",
    "ecg_12_waves",
    "EEG_1020",
    "EEG_PSG",
    "ECG_12",
    "ECG_12_WAVES",
}
_ABOUT = {"modality", "kind", "sensor_type", "name", "signal"}


def modality_branches(root: Path) -> list[str]:
    """Return "file:line" of every branch whose condition compares a modality or a sensor type with an organ's name."""
    found = []
    for room in ROOMS:
        for path in sorted((root / room).rglob("*.py")):
            place = path.relative_to(root).as_posix()
            if not place.startswith(ALLOWED):
                found += [f"{place}:{line}" for line in branches(path.read_text(encoding="utf-8"))]
    return found


def branches(code: str) -> list[int]:
    """Return the lines of a source text that branch so."""
    tree = ast.parse(code)
    tests = [node.test for node in ast.walk(tree) if isinstance(node, (ast.If, ast.IfExp, ast.While))]
    subjects = [node.subject for node in ast.walk(tree) if isinstance(node, ast.Match)]
    compared = [part for test in tests for part in ast.walk(test) if isinstance(part, ast.Compare)]
    lines = {part.lineno for part in compared if _is_about(part) and _names_organ(part)}
    return sorted(lines | {subject.lineno for subject in subjects if _is_about(subject)})


def _is_about(node: ast.AST) -> bool:
    """Return whether an expression looks at a modality, a kind or a sensor type; channels by name are no organ."""
    if isinstance(node, ast.Compare) and all(
        isinstance(side, ast.Attribute) and side.attr == "ch_names" for side in (node.left, *node.comparators)
    ):
        return False
    names = {part.id for part in ast.walk(node) if isinstance(part, ast.Name)}
    attributes = {part.attr for part in ast.walk(node) if isinstance(part, ast.Attribute)}
    return bool((names | attributes) & _ABOUT)


def _names_organ(node: ast.AST) -> bool:
    constants = {
        part.value for part in ast.walk(node) if isinstance(part, ast.Constant) and isinstance(part.value, str)
    }
    names = {part.id for part in ast.walk(node) if isinstance(part, ast.Name)}
    return bool((constants | names) & _ORGANS)
