"""Signatures of bundles in the form of OpenSSF Model Signing 1.0: `model.sig` beside the files that it signs.

A DSSE envelope over an in-toto statement with the sha256 of every file, signed with ECDSA over P-256, in a Sigstore
bundle: https://github.com/ossf/model-signing-spec. What is written here is verified by `model_signing verify key`, and
the other way round.
"""

import base64
import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from signals.bundles.bundle import ABOUT, Bundle, BundleError
from signals.files import atomic_file, file_sha256

SIGNATURE = "model.sig"
PRIVATE, PUBLIC = "bundle-signing.pem", "bundle-public.pem"
_MEDIA_TYPE = "application/vnd.dev.sigstore.bundle.v0.3+json"
_PAYLOAD_TYPE = "application/vnd.in-toto+json"
_STATEMENT = "https://in-toto.io/Statement/v1"
_PREDICATE = "https://model_signing/signature/v1.0"
_ECDSA = ec.ECDSA(hashes.SHA256())


class SignatureError(BundleError):
    """A bundle that is not signed as it must be, or a key that cannot be used; the message is one line."""


def make_keys(folder: Path) -> None:
    """Write a new pair into a folder: the private key with mode 600. Raises SignatureError where one exists already."""
    folder.mkdir(parents=True, exist_ok=True)
    private = ec.generate_private_key(ec.SECP256R1())
    contents = {
        PRIVATE: private.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        ),
        PUBLIC: _pem(private.public_key()),
    }
    if present := [name for name in contents if (folder / name).exists()]:
        raise SignatureError(f"{folder / present[0]} exists; keys are never overwritten")
    for name, content in contents.items():
        mode = 0o600 if name == PRIVATE else 0o644
        with os.fdopen(os.open(folder / name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
            file.write(content)


def sign(bundle: Bundle, private_key: Path) -> Path:
    """Write `model.sig` into a checked bundle's folder, in place of an earlier one; returns its path.

    Raises SignatureError for a key that is none, or that everybody may read.
    """
    key = _load(private_key, lambda data: serialization.load_pem_private_key(data, password=None))
    if not isinstance(key, ec.EllipticCurvePrivateKey) or not isinstance(key.curve, ec.SECP256R1):
        raise SignatureError(f"{private_key} holds no P-256 private key")
    if private_key.stat().st_mode & 0o007:
        raise SignatureError(f"{private_key} may be read by everybody: chmod o= {private_key}")
    names = sorted([*bundle.about["files"], ABOUT])
    payload = json.dumps(_statement(bundle, {name: file_sha256(bundle.path / name) for name in names})).encode()
    envelope = {
        "payload": base64.b64encode(payload).decode(),
        "payloadType": _PAYLOAD_TYPE,
        "signatures": [{"sig": base64.b64encode(key.sign(_signed_bytes(payload), _ECDSA)).decode(), "keyid": ""}],
    }
    material = {"publicKey": {"hint": hashlib.sha256(_pem(key.public_key())).hexdigest()}, "tlogEntries": []}
    content = {"mediaType": _MEDIA_TYPE, "verificationMaterial": material, "dsseEnvelope": envelope}
    path = bundle.path / SIGNATURE
    with atomic_file(path) as file:
        file.write(json.dumps(content).encode())
    return path


def verify(bundle: Bundle, public_key: Path) -> None:
    """Check that every file which a loaded bundle was read from, or will be, is signed with the key of `public_key`.

    What is compared are the digests that the bundle holds in memory and reads its graphs by: a file that is exchanged
    between this check and its use is refused when it is read. Raises SignatureError.
    """
    key = _load(public_key, serialization.load_pem_public_key)
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1):
        raise SignatureError(f"{public_key} holds no P-256 public key")
    signed = _signed_digests(bundle.path, key)
    try:
        raw = (bundle.path / ABOUT).read_bytes()
    except OSError as error:
        raise SignatureError(f"{bundle.path / ABOUT}: {error.strerror}") from None
    if signed.get(ABOUT) != hashlib.sha256(raw).hexdigest() or json.loads(raw) != bundle.about:
        raise SignatureError(f"{bundle.path / ABOUT} is not the one that was signed")
    for name, digest in bundle.about["files"].items():
        if signed.get(name) != digest:
            raise SignatureError(f"{bundle.path / name} is not the one that was signed")


def _signed_digests(folder: Path, key: ec.EllipticCurvePublicKey) -> dict[str, str]:
    """Return the sha256 of each file of a statement, once the signature over it was verified."""
    try:
        content = json.loads((folder / SIGNATURE).read_bytes())
        envelope = content["dsseEnvelope"]
        payload = base64.b64decode(envelope["payload"], validate=True)
        [entry] = envelope["signatures"]
        if envelope["payloadType"] != _PAYLOAD_TYPE:
            raise SignatureError(f"{folder / SIGNATURE} is not of model signing 1.0")
        key.verify(base64.b64decode(entry["sig"], validate=True), _signed_bytes(payload), _ECDSA)
        statement = json.loads(payload)
        if (statement["_type"], statement["predicateType"]) != (_STATEMENT, _PREDICATE):
            raise SignatureError(f"{folder / SIGNATURE} is not of model signing 1.0")
        resources = statement["predicate"]["resources"]
        return {row["name"]: row["digest"] for row in resources if row["algorithm"] == "sha256"}
    except FileNotFoundError:
        raise SignatureError(f"{folder} is not signed: cerebeam sign bundle, or leave models.public_key away") from None
    except OSError as error:
        raise SignatureError(f"{folder / SIGNATURE}: {error.strerror}") from None
    except InvalidSignature:
        raise SignatureError(f"{folder / SIGNATURE} was not made with this key, or was changed") from None
    except (ValueError, KeyError, TypeError) as error:
        if isinstance(error, SignatureError):
            raise
        raise SignatureError(f"{folder / SIGNATURE} is damaged") from None


def _statement(bundle: Bundle, digests: Mapping[str, str]) -> dict[str, Any]:
    root = hashlib.sha256(b"".join(bytes.fromhex(digest) for digest in digests.values())).hexdigest()
    resources = [{"name": name, "algorithm": "sha256", "digest": digest} for name, digest in digests.items()]
    how = {"method": "files", "hash_type": "sha256", "allow_symlinks": False, "ignore_paths": [SIGNATURE]}
    return {
        "_type": _STATEMENT,
        "subject": [{"name": bundle.path.name, "digest": {"sha256": root}}],
        "predicateType": _PREDICATE,
        "predicate": {"serialization": how, "resources": resources},
    }


def _signed_bytes(payload: bytes) -> bytes:
    """Return what DSSE signs: its pre-authentication encoding."""
    return b"DSSEv1 %d %s %d %s" % (len(_PAYLOAD_TYPE), _PAYLOAD_TYPE.encode(), len(payload), payload)


def _pem(key: ec.EllipticCurvePublicKey) -> bytes:
    return key.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)


def _load(path: Path, parse: Any) -> object:
    try:
        return parse(path.read_bytes())
    except OSError as error:
        raise SignatureError(f"{path}: {error.strerror}") from None
    except (TypeError, ValueError):
        raise SignatureError(f"{path} holds no key in PEM form") from None
