"""Encryption of uploads and of what records hold in JSON: AES-256-GCM, keys from a file, the first one for writing.

A file is `MAGIC, 4 bytes that name the key, 16 bytes of salt, parts of 64 KiB and 16 bytes each`. Its own key is
derived from the salt (HKDF-SHA256), a part's nonce is its number and whether it is the last: parts that are changed,
exchanged, left out or added are refused.
"""

import fcntl
import hashlib
import json
import os
import shutil
import struct
from base64 import b64decode, b64encode
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import mkdtemp
from typing import Any, BinaryIO

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

MEMORY = Path("/dev/shm")
"""A file system in memory: many libraries ask for a path that is one, and none of it reaches a disk."""
_PREFIX = "cerebeam-upload-"
MAGIC = b"CBENC1\0\0"
_PART, _TAG, _NONCE, _SALT, _NAME = 64 * 1024, 16, 12, 16, 4
_FIELD = "aes-256-gcm"
_RECORDS = b"cerebeam records"


class EncryptionError(ValueError):
    """Keys that cannot be used, or content that none of them opens; one line."""


@dataclass(frozen=True)
class Keys:
    """Secret keys of 32 bytes, never empty: the first encrypts, each decrypts what it has encrypted."""

    secrets: Sequence[bytes] = field(repr=False)

    @property
    def newest(self) -> bytes:
        """The key that encrypts."""
        return self.secrets[0]

    def named(self, name: bytes) -> bytes:
        """Return the key of a name; raises EncryptionError."""
        for secret in self.secrets:
            if name_of(secret) == name:
                return secret
        raise EncryptionError("encrypted with a key that is not in system.encryption_keys")


def name_of(secret: bytes) -> bytes:
    """Return four bytes that name a key and say nothing about it."""
    return hashlib.sha256(b"cerebeam key name" + secret).digest()[:_NAME]


def load_keys(path: Path) -> Keys:
    """Return the keys of a file, one of 64 hexadecimal digits per line; the first encrypts.

    Raises EncryptionError for a file that everybody may read, that holds something else or one key twice.
    """
    try:
        lines = path.read_text(encoding="ascii").split()
        mode = path.stat().st_mode
    except (OSError, UnicodeDecodeError) as error:
        raise EncryptionError(f"{path}: {getattr(error, 'strerror', None) or 'holds no keys'}") from None
    if mode & 0o007:
        raise EncryptionError(f"{path} may be read by everybody: chmod o= {path}")
    try:
        secrets = [bytes.fromhex(line) for line in lines]
    except ValueError:
        secrets = []
    if not secrets or any(len(secret) != 32 for secret in secrets) or len(set(secrets)) < len(secrets):
        raise EncryptionError(f"{path} holds no keys: 64 hexadecimal digits a line, each once; openssl rand -hex 32")
    return Keys(secrets)


def dump_json(keys: Keys, value: Any) -> str:
    """Return a value as JSON that shows nothing of it."""
    nonce = os.urandom(_NONCE)
    plain = json.dumps(value, separators=(",", ":")).encode("utf-8")
    sealed = name_of(keys.newest) + nonce + AESGCM(keys.newest).encrypt(nonce, plain, _RECORDS)
    return json.dumps({_FIELD: b64encode(sealed).decode("ascii")})


def load_json(keys: Keys | None, text: str | bytes) -> Any:
    """Return the value of `dump_json`, or of plain JSON; raises EncryptionError for what no key opens."""
    value = json.loads(text)
    if not isinstance(value, dict) or set(value) != {_FIELD}:
        return value
    if keys is None:
        raise EncryptionError("the records are encrypted: set system.encryption_keys")
    sealed = b64decode(value[_FIELD])
    nonce = sealed[_NAME : _NAME + _NONCE]
    try:
        return json.loads(AESGCM(keys.named(sealed[:_NAME])).decrypt(nonce, sealed[_NAME + _NONCE :], _RECORDS))
    except InvalidTag:
        raise EncryptionError("a record was changed: its content does not open with its key") from None


class EncryptedWriter:
    """Writes a file in encrypted parts; what was written is whole after `finish`."""

    def __init__(self, file: BinaryIO, keys: Keys) -> None:
        """Begin a file."""
        salt = os.urandom(_SALT)
        self._file, self._header = file, MAGIC + name_of(keys.newest) + salt
        self._cipher, self._left, self._number = _cipher(keys.newest, salt), b"", 0
        file.write(self._header)

    def write(self, data: bytes) -> None:
        """Take the next bytes."""
        data = self._left + data
        # One part stays behind: which one is the last is known at the end.
        n_whole = max(0, len(data) - 1) // _PART
        for start in range(0, n_whole * _PART, _PART):
            self._part(data[start : start + _PART], is_last=False)
        self._left = data[n_whole * _PART :]

    def finish(self) -> None:
        """Write what is left."""
        self._part(self._left, is_last=True)

    def _part(self, plain: bytes, *, is_last: bool) -> None:
        nonce = _nonce(self._number, is_last=is_last)
        self._file.write(self._cipher.encrypt(nonce, plain, self._header))
        self._number += 1


def is_encrypted(path: Path) -> bool:
    """Return whether a file is one of `EncryptedWriter`."""
    with path.open("rb") as file:
        return file.read(len(MAGIC)) == MAGIC


def decrypted(file: BinaryIO, keys: Keys) -> Iterator[bytes]:
    """Yield the content of an encrypted file in parts; raises EncryptionError before a part that was changed."""
    header = file.read(len(MAGIC) + _NAME + _SALT)
    if len(header) < len(MAGIC) + _NAME + _SALT or not header.startswith(MAGIC):
        raise EncryptionError("the file is not encrypted, or was cut")
    cipher = _cipher(keys.named(header[len(MAGIC) : -_SALT]), header[-_SALT:])
    part, number = file.read(_PART + _TAG), 0
    while True:
        following = file.read(_PART + _TAG)
        try:
            yield cipher.decrypt(_nonce(number, is_last=not following), part, header)
        except InvalidTag:
            raise EncryptionError(f"the encrypted file was changed or cut in its part {number}") from None
        if not following:
            return
        part, number = following, number + 1


@contextmanager
def readable(path: Path, keys: Keys | None) -> Iterator[Path]:
    """Give a path that readers can open: of the file itself, or of its content in memory where it is encrypted.

    The content lies below `MEMORY`, in a folder that its process has locked; what a killed process leaves there is
    removed by `sweep`. Raises EncryptionError.
    """
    if not is_encrypted(path):
        yield path
        return
    if keys is None:
        raise EncryptionError("the upload is encrypted: set system.encryption_keys")
    sweep()
    with _own_folder() as folder:
        place = folder / path.name  # readers go by the ending
        with path.open("rb") as file, place.open("wb") as plain:
            for part in decrypted(file, keys):
                plain.write(part)
        yield place


def sweep() -> None:
    """Remove what processes that are gone have left in memory."""
    for folder in MEMORY.glob(f"{_PREFIX}*"):
        with suppress(OSError), _locked(folder):
            shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _own_folder() -> Iterator[Path]:
    if not MEMORY.is_dir():
        raise EncryptionError(f"no memory file system at {MEMORY}: an upload is decrypted nowhere else")
    new = Path(mkdtemp(prefix=f"new-{_PREFIX}", dir=MEMORY))
    with _locked(new):
        folder = MEMORY / new.name.removeprefix("new-")  # seen by a sweep from now on, and locked
        new.rename(folder)
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Hold a folder's lock, which ends with the process; raises OSError where another one holds it."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(descriptor)


def _cipher(secret: bytes, salt: bytes) -> AESGCM:
    return AESGCM(HKDF(SHA256(), 32, salt, b"cerebeam upload").derive(secret))


def _nonce(number: int, *, is_last: bool) -> bytes:
    return struct.pack(">3xQB", number, is_last)
