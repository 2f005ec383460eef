"""The secret that subject hashes are salted with: given, or kept for this user between runs."""

import logging
import os
import secrets
from pathlib import Path

logger = logging.getLogger(__name__)


def resolve_salt(given: str | None) -> str:
    """Return the salt that was given, else CEREBEAM_SALT, else the one kept in the user's configuration folder.

    Runs whose shards belong together need the same salt, so the kept one is made once, readable by its owner only.
    """
    salt = given or os.environ.get("CEREBEAM_SALT")
    return salt or _kept_salt(Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config") / "cerebeam" / "salt")


def _kept_salt(path: Path) -> str:
    if not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(secrets.token_hex(32))
        logger.warning("made a salt for subject hashes in %s: keep it, or give --salt", path)
    return path.read_text(encoding="utf-8").strip()
