"""The help of commands whose options are the fields of dataclasses, as tyro names them."""

import ast
import inspect
import types
from collections.abc import Iterator, Sequence
from dataclasses import MISSING, Field, fields, is_dataclass, replace
from functools import cache
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

import tyro

from signals.help_pages import Option, Page, Section, kind_of, tidy


def page_of(prog: str, about: str, kinds: Sequence[tuple[type, Any]], *, before: Section | None = None) -> Page:
    """Return the page of dataclasses, each with its default instance or None; the section `before` stands first.

    An option that several of them have is shown once.
    """
    sections = [section for kind, default in kinds for section in _sections(kind, default)]
    known: set[str] = set()
    kept = []
    for section in [*([] if before is None else [before]), *sections]:
        options = tuple(option for option in section.options if option.names[0] not in known)
        known |= {option.names[0] for option in options}
        if options:
            kept.append(replace(section, options=options))
    return Page(prog=prog, about=tidy(about), sections=tuple(kept))


def _sections(kind: type, default: Any, *, prefix: str = "", about: str = "") -> Iterator[Section]:
    hints, own, nested = get_type_hints(kind, include_extras=True), [], []
    for field in fields(kind):
        if not field.init or tyro.conf.Suppress in get_args(hints[field.name])[1:]:
            continue
        hint = hints[field.name]
        plain = get_args(hint)[0] if get_origin(hint) is Annotated else hint
        value = _default(field, default)
        name = field.name.replace("_", "-")
        if is_dataclass(plain):
            # A command's `config` is annotated with an empty name: its sections have names of their own.
            below = prefix if plain is not hint else f"{prefix}{name}."
            assert isinstance(plain, type)
            nested.append((plain, value, below, _docs(kind).get(field.name, "")))
        else:
            own.append(_option(prefix + name, plain, value, _docs(kind).get(field.name, "")))
    yield Section(title=prefix.rstrip("."), about=tidy(about), options=tuple(own))
    for plain, value, below, text in nested:
        yield from _sections(plain, value, prefix=below, about=text)


def _default(field: Field[Any], default: Any) -> Any:
    if default is not None and not _is_missing(default):
        return getattr(default, field.name)
    if field.default_factory is not MISSING:
        return field.default_factory()
    return tyro.MISSING if field.default is MISSING else field.default


def _is_missing(value: Any) -> bool:
    return value is tyro.MISSING or value is tyro.MISSING_NONPROP


def _option(name: str, kind: Any, value: Any, about: str) -> Option:
    inner = [arg for arg in get_args(kind) if arg is not type(None)]
    if get_origin(kind) in (Union, types.UnionType):
        kind = inner[0]
    several = get_origin(kind) in (tuple, list)
    if several:
        kind = get_args(kind)[0]
    choices = tuple(map(str, get_args(kind))) if get_origin(kind) is Literal else ()
    shown = "" if _is_missing(value) or value in (None, (), "") else value
    head, _, last = name.rpartition(".")
    no = f"--{head}{'.' if head else ''}no-{last}"
    return Option(
        names=(f"--{name}", no) if kind is bool else (f"--{name}",),
        metavar="" if kind is bool else kind_of(kind),
        about=tidy(about),
        choices=choices,
        default=" ".join(map(str, shown)) if isinstance(shown, tuple) else str(shown),
        required=_is_missing(value),
        several=several,
    )


@cache
def _docs(kind: type) -> dict[str, str]:
    """Return the text below each field of a dataclass and of those that it comes from."""
    found: dict[str, str] = {}
    for base in reversed(kind.__mro__):
        if not is_dataclass(base):
            continue
        body = ast.parse(inspect.getsource(base)).body[0]
        assert isinstance(body, ast.ClassDef)
        for field, text in zip(body.body, body.body[1:], strict=False):
            if not isinstance(field, ast.AnnAssign) or not isinstance(field.target, ast.Name):
                continue
            if isinstance(text, ast.Expr) and isinstance(text.value, ast.Constant):
                found[field.target.id] = str(text.value.value)
    return found
