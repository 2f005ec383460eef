"""The three keys of a log: a secret one of its chain, a pair for its checkpoints."""

import os
import secrets
from pathlib import Path

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from audit.chain import AuditError

CHAIN, SIGNING, PUBLIC = "chain.key", "signing.pem", "public.pem"
_N_BYTES = 32


def make_keys(folder: Path) -> None:
    """Write new keys into a folder: `chain.key` and `signing.pem` for the writer, mode 600, `public.pem` for verifiers.

    Raises AuditError where one exists already: a lost key makes a log that nobody can verify.
    """
    folder.mkdir(parents=True, exist_ok=True)
    private = Ed25519PrivateKey.generate()
    contents = {
        CHAIN: secrets.token_bytes(_N_BYTES).hex().encode("ascii") + b"\n",
        SIGNING: private.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        ),
        PUBLIC: private.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        ),
    }
    if present := [name for name in contents if (folder / name).exists()]:
        raise AuditError(f"{folder / present[0]} exists; keys are never overwritten")
    for name, content in contents.items():
        mode = 0o644 if name == PUBLIC else 0o600
        with os.fdopen(os.open(folder / name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
            file.write(content)


def load_chain_key(path: Path) -> bytes:
    """Return the secret of the chain. Raises AuditError for a file that everybody may read, or that holds no key."""
    text = _secret(path)
    try:
        key = bytes.fromhex(text.decode("ascii").strip())
    except (UnicodeDecodeError, ValueError):
        key = b""
    if len(key) != _N_BYTES:
        raise AuditError(f"{path} holds no key of {_N_BYTES} bytes in hexadecimal digits")
    return key


def load_signing_key(path: Path) -> Ed25519PrivateKey:
    """Return the key that signs checkpoints. Raises AuditError as `load_chain_key` does."""
    try:
        key = serialization.load_pem_private_key(_secret(path), password=None)
    except (TypeError, ValueError):
        key = None
    if not isinstance(key, Ed25519PrivateKey):
        raise AuditError(f"{path} holds no Ed25519 private key")
    return key


def load_public_key(path: Path) -> Ed25519PublicKey:
    """Return the key that checkpoints are verified with. Raises AuditError where there is none."""
    try:
        key = serialization.load_pem_public_key(_content(path))
    except ValueError:
        key = None
    if not isinstance(key, Ed25519PublicKey):
        raise AuditError(f"{path} holds no Ed25519 public key")
    return key


def is_signed(key: Ed25519PublicKey, signature: bytes, content: bytes) -> bool:
    """Return whether a signature is that of the content."""
    try:
        key.verify(signature, content)
    except InvalidSignature:
        return False
    return True


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise AuditError(f"{path}: {error.strerror}") from None


def _secret(path: Path) -> bytes:
    content = _content(path)
    if path.stat().st_mode & 0o007:
        raise AuditError(f"{path} may be read by everybody: chmod o= {path}")
    return content
