"""What a log's chain and checkpoints prove: whole and unchanged, or where they are not."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from audit.chain import MAX_LINE, AuditError, Head, code_of, parse_row
from audit.checkpoints import Checkpoint, read_checkpoints

_MOST_PROBLEMS = 20


@dataclass(frozen=True)
class Verification:
    """What was found."""

    n_rows: int
    n_checkpoints: int
    problems: Sequence[str]
    """One line each, in the order of the log, the first twenty; empty for a whole log."""
    n_covered: int
    """Rows before the newest checkpoint: what stands after them could have been cut off unnoticed."""


def verify(
    path: Path, key: bytes, *, checkpoints: Path | None = None, public_key: Ed25519PublicKey | None = None
) -> Verification:
    """Return what a log's codes and the checkpoints of a folder prove.

    Raises AuditError for a file or folder that cannot be read, and for checkpoints without a public key.
    """
    signed: Sequence[Checkpoint] = ()
    problems: list[str] = []
    if checkpoints is not None:
        if public_key is None:
            raise AuditError("checkpoints without a public key prove nothing")
        signed, found = read_checkpoints(checkpoints, public_key)
        problems += found
        if not signed and not found:
            problems.append("there is no checkpoint: the log's end is not proven")
    head, broken = _walk(path, key, {checkpoint.head.n_rows: checkpoint for checkpoint in signed})
    problems += broken
    n_covered = max((checkpoint.head.n_rows for checkpoint in signed), default=0)
    if head.n_rows < n_covered:
        problems.append(f"the end is missing: {head.n_rows} rows, where a checkpoint counts {n_covered}")
    return Verification(head.n_rows, len(signed), tuple(problems[:_MOST_PROBLEMS]), n_covered)


def _walk(path: Path, key: bytes, signed: dict[int, Checkpoint]) -> tuple[Head, list[str]]:
    problems: list[str] = []
    previous, expected, n_bytes = Head().code, 0, 0
    for line in _lines(path):
        row = parse_row(line)
        if row is None:
            problems.append(f"after row {expected - 1}: a line that is no row" if line.endswith(b"\n") else
                            f"after row {expected - 1}: a row that was cut")  # fmt: skip
            continue
        number, code, body = row
        if number != expected:
            problems.append(_break(number, expected))
        elif code_of(key, previous, number, body) != code:
            problems.append(f"row {number} was changed, or the row before it")
        previous, expected, n_bytes = code, number + 1, n_bytes + len(line)
        checkpoint = signed.get(expected)
        if checkpoint is not None and checkpoint.head != Head(expected, code, n_bytes):
            problems.append(f"row {number} is not the one that checkpoint {checkpoint.number} signed")
        if len(problems) >= _MOST_PROBLEMS:
            break
    return Head(expected, previous, n_bytes), problems


def _break(number: int, expected: int) -> str:
    if number > expected:
        return f"rows {expected} to {number - 1} are missing before row {number}"
    return f"row {number} stands where row {expected} belongs: inserted or moved"


def _lines(path: Path) -> Iterator[bytes]:
    try:
        with path.open("rb", buffering=1 << 20) as file:
            while line := file.readline(MAX_LINE):
                yield line
    except OSError as error:
        raise AuditError(f"{path}: {error.strerror}") from None
