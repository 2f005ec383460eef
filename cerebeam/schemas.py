"""The reference of what is stored: fields of each file and table, read from the classes that decide them.

Nothing is imported: the page is made where none of the libraries are.
"""

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]


@dataclass(frozen=True)
class Schema:
    """A file, or a table, and the classes that decide its fields."""

    title: str
    module: str
    classes: tuple[str, ...] = ()
    """Empty: all of the module's."""
    has_text: bool = False
    """Whether the module's own text lists the fields."""


STORED = (
    Schema("Windows in shards", "signals/window.py", ("Window", "Provenance")),
    Schema("A shard set: manifest.json", "signals/shards/manifest.py", ("Manifest", "SubjectEntry", "Shard")),
    Schema("The index beside each shard", "signals/shards/index.py", ("IndexRow",)),
    Schema("A profile", "signals/windows/profiles.py", ("Profile",)),
    Schema("A bundle: bundle.json", "signals/bundles/bundle.py", ("Graph",), has_text=True),
    Schema("A bundle's calibration", "signals/bundles/calibration.py", ("Calibration", "Conformal")),
    Schema("Answers", "serving/runtime.py", ("Answer", "Embedding")),
    Schema("Answers for an archive: scores.json", "pipelines/scoring/summary.py", ("Summary",)),
    Schema("Predictions for a report", "evaluation/schemas/predictions.py", ("Predictions",), has_text=True),
    Schema("Explanations", "explain/store.py", ("Explained",), has_text=True),
    Schema("One explanation", "explain/explanation.py", ("Explanation",)),
    Schema("The service's records", "service/records/tables.py"),
)


def schemas() -> str:
    """Return the page of what is stored: the fields of each file and table, from the classes that decide them."""
    parts = ["# Schemas", "Generated from the code: each field with its type and what its class says of it."]
    return "\n\n".join([*parts, *(part for one in STORED for part in _schema(one))]) + "\n"


def _schema(schema: Schema) -> Iterator[str]:
    tree = ast.parse((ROOT / schema.module).read_text(encoding="utf-8"))
    yield f"## {schema.title}"
    yield f"`{schema.module}`"
    if schema.has_text:
        yield f"```\n{ast.get_docstring(tree)}\n```"
    known = {node.name: node for node in tree.body if isinstance(node, ast.ClassDef)}
    for name in schema.classes or known:
        rows = [f"| `{field}` | `{kind}` | {cell(about)} |" for field, kind, about in _fields(known[name])]
        if rows:
            yield f"### {name}"
            yield cell(ast.get_docstring(known[name]) or "")
            yield "\n".join(["| field | type | meaning |", "|---|---|---|", *rows])


def _fields(node: ast.ClassDef) -> Iterator[tuple[str, str, str]]:
    """Yield name, type and docstring of each annotated field."""
    for statement, following in zip(node.body, [*node.body[1:], None], strict=True):
        if isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name):
            value = following.value if isinstance(following, ast.Expr) else None
            about = value.value if isinstance(value, ast.Constant) and isinstance(value.value, str) else ""
            kind = ast.unparse(statement.annotation).removeprefix("Mapped[")
            is_mapped = ast.unparse(statement.annotation).startswith("Mapped[")
            yield statement.target.id, (kind.removesuffix("]") if is_mapped else kind).replace("|", "or"), about


def cell(text: str) -> str:
    """Return a text for one cell of a table."""
    return " ".join(text.replace("|", "\\|").replace("<", "&lt;").split())
