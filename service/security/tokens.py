"""Who calls: a bearer token's subject and role (RFC 7519), checked against public keys in a file (RFC 7517).

The algorithm is the key's, never the token's; "none" and shared secrets are no algorithms here.
"""

import json
from dataclasses import dataclass
from pathlib import Path

import jwt

from service.refusals import Refusal

ROLES = ("reader", "reviewer", "operator", "admin")
"""Each may do what those before it may."""
ALGORITHMS = ("RS256", "ES256")
_LEEWAY_S = 10
_LONGEST = 8192


@dataclass(frozen=True)
class Caller:
    """Who sent a request."""

    subject: str
    role: str

    def may(self, role: str) -> bool:
        """Return whether the caller has at least this role."""
        return ROLES.index(self.role) >= ROLES.index(role)


NOBODY = Caller("", "reader")
"""The caller before a token was seen."""
ANYONE = Caller("local", "admin")
"""The caller of the dev profile, which listens to this machine alone."""


class KeysError(ValueError):
    """A key file that cannot be used; one line."""


class Verifier:
    """Checks tokens; reads the key file again when it changed, so that keys can be rotated."""

    def __init__(self, jwks: Path, *, issuer: str, audience: str) -> None:
        """Raise KeysError for a file without a usable key."""
        self._path, self._issuer, self._audience = jwks, issuer, audience
        self._stamp = (0, 0, 0)
        self._keys: dict[str, jwt.PyJWK] = {}
        self._refresh()

    def caller(self, authorization: str | None) -> Caller:
        """Return who sent this Authorization header; raises Refusal 401."""
        scheme, _, token = (authorization or "").partition(" ")
        if scheme.lower() != "bearer" or not token or len(token) > _LONGEST:
            raise _unauthorised("no bearer token", "send Authorization: Bearer TOKEN")
        try:
            self._refresh()
            key = self._keys[str(jwt.get_unverified_header(token)["kid"])]
            claims = jwt.decode(
                token, key.key, algorithms=[key.algorithm_name], issuer=self._issuer, audience=self._audience,
                leeway=_LEEWAY_S, options={"require": ["exp", "iss", "aud", "sub"]},
            )  # fmt: skip
        except jwt.ExpiredSignatureError:
            raise _unauthorised("the token has expired", "get a new one") from None
        except (jwt.PyJWTError, KeyError, ValueError, TypeError):
            raise _unauthorised("the token is not valid here", "its key, issuer and audience must be known") from None
        role = claims.get("role")
        if role not in ROLES:
            raise _unauthorised("the token has no known role", f"one of {', '.join(ROLES)}")
        return Caller(str(claims["sub"])[:200], role)

    def _refresh(self) -> None:
        try:
            about = self._path.stat()
            stamp = (about.st_mtime_ns, about.st_size, about.st_ino)
            if stamp != self._stamp:
                self._keys, self._stamp = _read_keys(self._path), stamp
        except (OSError, ValueError, KeyError, TypeError, jwt.PyJWTError) as error:
            if not self._keys:  # a file that is being written leaves the keys as they were
                raise KeysError(f"{self._path} holds no usable keys: {error}") from None


def _read_keys(path: Path) -> dict[str, jwt.PyJWK]:
    keys = {}
    for fields in json.loads(path.read_text(encoding="utf-8"))["keys"]:
        key = jwt.PyJWK(fields)
        if key.algorithm_name in ALGORITHMS and "kid" in fields:
            keys[str(fields["kid"])] = key
    if not keys:
        raise ValueError(f"no {' or '.join(ALGORITHMS)} key with a kid")
    return keys


def _unauthorised(error: str, hint: str) -> Refusal:
    return Refusal(401, "unauthorised", error, hint)


def require(caller: Caller, role: str) -> None:
    """Raise Refusal 403 where a caller does not have a role."""
    if not caller.may(role):
        raise Refusal(403, "forbidden", f"this needs the role {role}", "ask whoever gives out tokens")
