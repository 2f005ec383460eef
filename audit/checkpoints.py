"""Signed heads of a log, kept at a second place that the log's writer cannot change: one small file each."""

import errno
import json
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from audit.chain import AuditError, Head
from audit.keys import is_signed

_NO_NAMELESS_FILES = (errno.EOPNOTSUPP, errno.EISDIR, errno.ENOENT, errno.EINVAL, errno.ENOSYS)
"""What O_TMPFILE fails with where a file system, or an old kernel, does not know it (open(2))."""
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
    """Write a checkpoint as a new file, durable; never over an existing one. Raises OSError.

    It gets its name when it is whole, where the file system can do that; nothing is deleted or renamed, which a bucket
    with object lock would refuse. There (Mountpoint) a file is visible when it is closed.
    """
    content = checkpoint.content()
    line = content + b"\n" + key.sign(content).hex().encode("ascii") + b"\n"
    name = f"checkpoint-{checkpoint.number:012d}.json"
    directory = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        try:
            file = os.open(folder, os.O_TMPFILE | os.O_WRONLY, 0o644)
        except OSError as error:
            if error.errno not in _NO_NAMELESS_FILES:
                raise
            _fill(os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644, dir_fd=directory), line)
            return
        _fill(file, line, link_to=(name, directory))
        os.fsync(directory)
    finally:
        os.close(directory)


def _fill(file: int, line: bytes, link_to: tuple[str, int] | None = None) -> None:
    try:
        if os.write(file, line) != len(line):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        os.fsync(file)
        if link_to is not None:
            name, directory = link_to  # linkat with AT_SYMLINK_FOLLOW, which os.link takes for its directories alone
            os.link(f"/proc/self/fd/{file}", name, src_dir_fd=directory, dst_dir_fd=directory)
    finally:
        os.close(file)


def newest_checkpoint(folder: Path, key: Ed25519PublicKey) -> Checkpoint | None:
    """Return the checkpoint of the highest number that is signed with a key; None without one.

    Raises AuditError for a folder that cannot be read.
    """
    for number in sorted(_numbers(folder), reverse=True):
        checkpoint = _parse((folder / f"checkpoint-{number:012d}.json").read_bytes(), key)
        if checkpoint is not None and checkpoint.number == number:
            return checkpoint
    return None


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
    return max(_numbers(folder), default=-1)


def _numbers(folder: Path) -> Sequence[int]:
    try:
        return [int(match[1]) for path in folder.iterdir() if (match := _NAME.fullmatch(path.name))]
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
