"""Signed heads of a log, kept at a second place that the log's writer cannot change: one small file each."""

import json
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from audit.chain import AuditError, Head
from audit.keys import is_signed

_NAME = re.compile(r"checkpoint-(\d{12})\.json")


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """Where a log stood at a moment."""

    number: int
    log_id: str
    at: float
    head: Head

    def content(self) -> bytes:
        """Return what is signed."""
        fields = {
            "number": self.number,
            "log": self.log_id,
            "at": round(self.at, 6),
            "n_rows": self.head.n_rows,
            "n_bytes": self.head.n_bytes,
            "code": self.head.code.hex(),
        }
        return json.dumps(fields, separators=(",", ":")).encode("ascii")


def write_checkpoint(folder: Path, checkpoint: Checkpoint, key: Ed25519PrivateKey) -> None:
    """Write a checkpoint as a new file, durable; never over an existing one. Raises OSError."""
    content = checkpoint.content()
    line = content + b"\n" + key.sign(content).hex().encode("ascii") + b"\n"
    path = folder / f"checkpoint-{checkpoint.number:012d}.json"
    # Visible under its name only when whole, and never in place of another: link fails where the name is taken.
    partial = folder / f".{path.name}.partial"
    with partial.open("wb") as file:
        file.write(line)
        file.flush()
        os.fsync(file.fileno())
    try:
        os.link(partial, path)
    finally:
        partial.unlink()
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def read_checkpoints(folder: Path, key: Ed25519PublicKey) -> tuple[Sequence[Checkpoint], Sequence[str]]:
    """Return the checkpoints of a folder by number, and what is wrong with it: missing numbers, false signatures.

    Raises AuditError for a folder that cannot be read.
    """
    try:
        names = sorted(path.name for path in folder.iterdir() if _NAME.fullmatch(path.name))
    except OSError as error:
        raise AuditError(f"{folder}: {error.strerror}") from None
    checkpoints, problems = [], []
    for expected, name in enumerate(names):
        if int(name[11:23]) != expected:
            problems.append(f"checkpoint {expected} is missing")
            break
        checkpoint = _parse((folder / name).read_bytes(), key)
        if checkpoint is None or checkpoint.number != expected:
            problems.append(f"{name} is not signed with this log's key, or is not the file of that number")
        else:
            checkpoints.append(checkpoint)
    return checkpoints, problems


def last_number(folder: Path) -> int:
    """Return the number of the newest checkpoint, -1 without one. Raises AuditError for an unreadable folder."""
    try:
        return max((int(m[1]) for path in folder.iterdir() if (m := _NAME.fullmatch(path.name))), default=-1)
    except OSError as error:
        raise AuditError(f"{folder}: {error.strerror}") from None


def _parse(data: bytes, key: Ed25519PublicKey) -> Checkpoint | None:
    content, _, signature = data.partition(b"\n")
    try:
        if not is_signed(key, bytes.fromhex(signature.decode("ascii").strip()), content):
            return None
    except ValueError:
        return None
    fields = json.loads(content)
    return Checkpoint(
        number=fields["number"],
        log_id=fields["log"],
        at=fields["at"],
        head=Head(fields["n_rows"], bytes.fromhex(fields["code"]), fields["n_bytes"]),
    )
