"""Cards as text: YAML and TOML to plain values, with the line that each key stands on."""

import re
from collections.abc import Iterator
from typing import Any

from signals.sites.card import CardError

Place = tuple[str | int, ...]
"""Keys and positions on the way to a value."""
_LARGEST = 1_000_000
_TOML_TABLE = re.compile(r"\s*\[+\s*([\w.\-\"' ]+?)\s*\]+")
_TOML_KEY = re.compile(r"""\s*("[^"]*"|'[^']*'|[\w.-]+)\s*=""")


def parse(text: str, *, name: str) -> tuple[Any, dict[Place, int]]:
    """Return the plain values of a card and the number of the line of each key, by `name`'s ending .toml or else YAML.

    Raises CardError with the line for text that is neither, for repeated keys and for YAML's aliases; CardError that
    names the library where PyYAML is not installed.
    """
    if len(text) > _LARGEST:
        raise CardError(f"{name}: a card is no longer than {_LARGEST:,} characters")
    return _toml(text, name) if name.lower().endswith(".toml") else _yaml(text, name)


def _toml(text: str, name: str) -> tuple[Any, dict[Place, int]]:
    import tomllib

    try:
        return tomllib.loads(text), dict(_toml_lines(text))
    except tomllib.TOMLDecodeError as error:
        raise CardError(f"{name}: {error}") from None


def _toml_lines(text: str) -> Iterator[tuple[Place, int]]:
    """Yield the place and line of each key that begins a line; keys within braces have the line of what holds them."""
    table: Place = ()
    for number, line in enumerate(text.splitlines(), start=1):
        if found := _TOML_TABLE.fullmatch(line.split("#")[0]):
            table = tuple(part.strip(" \"'") for part in found[1].split("."))
            yield table, number
        elif found := _TOML_KEY.match(line):
            keys = (found[1].strip("\"'"),) if found[1][0] in "\"'" else tuple(found[1].split("."))
            yield (*table, *keys), number


def _yaml(text: str, name: str) -> tuple[Any, dict[Place, int]]:
    try:
        import yaml
    except ModuleNotFoundError:
        raise CardError(
            f"{name}: YAML needs PyYAML: pip install 'cerebeam[sites]', or write the card as .toml"
        ) from None
    lines: dict[Place, int] = {}
    try:
        if any(isinstance(event, yaml.AliasEvent) for event in yaml.parse(text, Loader=yaml.SafeLoader)):
            raise CardError(f"{name}: aliases (*name) are not read, write the value out")
        if (root := yaml.compose(text, Loader=yaml.SafeLoader)) is not None:
            _walk(root, (), lines, name)
        return yaml.safe_load(text), lines
    except CardError:
        raise
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f" line {mark.line + 1}" if mark else ""
        raise CardError(f"{name}{where}: no readable YAML: {error.problem or error.context}") from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise CardError(f"{name}: no readable YAML: {str(error).splitlines()[0]}") from None


def _walk(node: Any, place: Place, lines: dict[Place, int], name: str) -> None:
    """Collect the lines of a node's keys; raises CardError for one that is there twice."""
    import yaml

    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            here = (*place, str(key.value))
            if here in lines:
                raise CardError(
                    f"{name} line {key.start_mark.line + 1}: {key.value!r} stands on line {lines[here]} too"
                )
            lines[here] = key.start_mark.line + 1
            _walk(value, here, lines, name)
    elif isinstance(node, yaml.SequenceNode):
        for number, value in enumerate(node.value):
            lines[(*place, number)] = value.start_mark.line + 1
            _walk(value, (*place, number), lines, name)
