"""Who was recorded, without a name: salted hashes of subjects and of files."""

import hashlib
import hmac
import re

FILLERS = frozenset(
    {"x", "xxx", "0", "na", "none", "unknown", "anonymous", "anonymized", "anonymised", "anon", "patient", "subject"}
    | {"test", "name", "noname"}
)
"""Words that stand where an identity would, in files and tables that have none."""


def names_somebody(text: str) -> bool:
    """Return whether a text holds more than fillers."""
    words = re.findall(r"[^\W_]+", text.casefold())
    return bool(set(words) - FILLERS)


def hash_subject(site_id: str, subject: str, *, salt: str) -> str:
    """Return the identifier of a subject of a site: 16 hex digits of HMAC-SHA256 keyed with the salt.

    The same subject of the same site has the same identifier under the same salt; nobody without the salt can test
    a guessed name. Raises ValueError for an empty salt or subject.
    """
    if not salt:
        raise ValueError("salt is empty: unsalted hashes of names can be guessed")
    if not subject:
        raise ValueError(f"subject of site {site_id!r} is empty: all nameless ones would become one subject")
    message = f"{len(site_id)}:{site_id}/{subject}".encode()
    return hmac.new(salt.encode(), message, hashlib.sha256).hexdigest()[:16]


def hash_file(path: str, *, salt: str) -> str:
    """Return the identifier of a file as it was given to a run, 16 hex digits keyed with the salt.

    It links a row of the accounting to its file for whoever holds the salt and the path, and nothing to anybody else.
    """
    return hmac.new(salt.encode(), f"file/{path}".encode(), hashlib.sha256).hexdigest()[:16]


def salt_id(salt: str) -> str:
    """Return what tells two salts apart without telling either, 16 hex digits."""
    return hmac.new(salt.encode(), b"which salt is this", hashlib.sha256).hexdigest()[:16]
