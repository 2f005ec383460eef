"""python -m signals.sites.draft FILE: a first draft of a site's card from one of its files.

    cerebeam site-card FILE > site-card.yaml

What the file holds is filled in; what only the laboratory knows is a comment that begins with "?". Nothing is written
but to standard output.
"""

import json
import re
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from signals.command_line import Parser
from signals.montage.labels import find_electrodes
from signals.readers.channels.caps import CAPS, abc_names
from signals.readers.registry import open_recording
from signals.recording.recording import Recording, UnreadableError
from signals.sites.inspection import Guess, guess_layout
from signals.windows.labels import slug
from signals.windows.plan import plan_recording
from signals.windows.profiles import PRETRAIN

_NAMED = 8
"""Labels "A1", "A2", ... from which on they are those of a cap, not ears."""


def draft(path: Path) -> str:
    """Return the text of a card; raises UnreadableError for a file that is missing, damaged or of no known kind."""
    recording, guess = None, None
    try:
        recording = open_recording(str(path))
    except UnreadableError as error:
        if error.reason != "unsupported_format" or (guess := _guess(path)) is None:
            raise
    lines = [
        "# A draft. Lines with ? are for you: correct them, take the mark away, and look at what",
        "# `cerebeam dry-run --input DIR --site-card FILE` makes of each file.",
        f"name: {slug(path.resolve().parent.name)} # ? the folder's; choose one that discloses no more than you may",
        f"files: {json.dumps('*' + ''.join(path.suffixes[-2:]) if path.name.endswith('.gz') else '*' + path.suffix)}",
        *_mains(recording),
        *_reference(recording),
        *_person(path),
        *(_channels(recording) if recording else ()),
        *(_layout(guess) if guess else ()),
    ]
    return "\n".join(lines) + "\n"


def _guess(path: Path) -> Guess | None:
    try:
        return guess_layout(path)
    except OSError as error:
        raise UnreadableError("corrupt_header", f"it cannot be looked into: {type(error).__name__}") from error


def _mains(recording: Recording | None) -> Iterator[str]:
    if recording is None:
        yield "mains: detect # ? 50 or 60"
        return
    try:
        plan = plan_recording(recording, PRETRAIN, site_id="draft", subject_id="draft", source_sha256="0" * 64)
    except UnreadableError as error:
        yield f"# ? as it is, the file would be refused: {error.reason}: {error.detail}"
        yield "mains: detect # ? 50 or 60"
        return
    found = plan.mains_hz
    yield f"mains: {found:g} # ? found in this file" if found else "mains: detect # ? none found in this file; 50 or 60"


def _reference(recording: Recording | None) -> Iterator[str]:
    if recording is not None and recording.reference not in ("", "other"):
        yield f"# reference: {recording.reference} by the file"
    else:
        yield "# ? reference: what were the channels recorded against? Cz, A1/A2, average, ..."


def _person(path: Path) -> Iterator[str]:
    """Propose the first part of the name that has a number, letters before it."""
    found = re.search(r"[A-Za-z]*[-_]?\d+", path.name.split(".")[0])
    if found:
        letters = re.match(r"[A-Za-z]*[-_]?", found[0])
        assert letters is not None
        start = "^" if found.start() == 0 else re.escape(path.name[: found.start()])
        yield f"subject: {_quoted(f'{start}({re.escape(letters[0])}[0-9]+)')} # ? {found[0]!r} in this file's name"
    else:
        yield "# ? subject: a regular expression whose group is the person, as '^(p[0-9]+)_'"
    yield "# ? label: the same for what the recording shows; or a table with columns (docs/sites.md)"


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _channels(recording: Recording) -> Iterator[str]:
    names = recording.ch_names
    found = find_electrodes(names, recording.sensor_types)
    others = [(name, kind) for name, kind in zip(names, recording.sensor_types, strict=True) if kind != "eeg"]
    n_abc = len(set(abc_names(128)) & set(names))
    n_net = sum(re.fullmatch(r"E\d{1,3}", name) is not None for name in names)
    if n_abc >= _NAMED:
        cap = next((cap for cap in CAPS if len(CAPS[cap]) >= n_abc), "biosemi128")
        yield f"channels: {cap} # ? {n_abc} electrodes are called A1, A2, ...: which cap was worn?"
    elif n_net >= _NAMED:
        net = "hydrocel128" if n_net < 200 else "hydrocel256"
        yield f"channels: {net} # ? {n_net} electrodes are called E1, E2, ...: which net?"
    elif not found.picks:
        yield "# ? channels: which electrode is which label?"
        yield "# channels:"
        yield from (f"#   {json.dumps(name)}: " for name in names)
    else:
        yield f"# {len(found.picks)} of {len(names)} labels name electrodes"
    if others:
        listed = ", ".join(f"{json.dumps(name)}: {kind}" for name, kind in others)
        yield f"# ? sensors: {{{listed}}} are taken for these by their labels"


def _layout(guess: Guess) -> Iterator[str]:
    yield "layout:"
    for key, given in guess.keys.items():
        question = guess.questions.get(key)
        note = f" # ? {question}" if question else ""
        if isinstance(given, dict):
            yield f"  {key}:{note}"
            yield from (f"    {json.dumps(name)}: {json.dumps(label)}" for name, label in given.items())
        else:
            text = _quoted(given) if isinstance(given, str) else json.dumps(given, ensure_ascii=False)
            yield f"  {key}: {text}{note}"
    yield f"  # ? unit: {guess.questions.get('unit', '')}"


def main(argv: Sequence[str] | None = None) -> int:
    """Print the draft; returns 0, or 2 with one line on standard error."""
    parser = Parser(prog="cerebeam site-card", description="a first draft of a site's card from one of its files")
    parser.add_argument("file", type=Path, help="a recording of the site")
    args = parser.parse_args(argv)
    try:
        print(draft(args.file), end="")  # noqa: T201
    except UnreadableError as error:
        parser.exit(2, f"{parser.prog}: {error}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
