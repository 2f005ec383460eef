"""The viewer's own files, below /app: HTML, styles, modules; no script and no style from anywhere else."""

import hashlib
from functools import lru_cache
from pathlib import Path

from fastapi import APIRouter, Request, Response

from service.refusals import Refusal

router = APIRouter(include_in_schema=False)
STATIC = Path(__file__).parent / "static"
PREFIX = "/app"
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; connect-src 'self'; "
    "font-src 'self'; form-action 'none'; base-uri 'none'; frame-ancestors 'none'"
)
KINDS = {
    ".html": "text/html; charset=utf-8", ".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}  # fmt: skip
INDEX = "index"


def is_page(path: str) -> bool:
    """Return whether a path is one of the viewer's own files, which show nothing of a patient."""
    return path == PREFIX or path.startswith(f"{PREFIX}/")


@lru_cache(maxsize=64)
def _content(name: str, changed_ns: int) -> tuple[bytes, str]:
    content = (STATIC / name).read_bytes()
    return content, f'"{hashlib.sha256(content).hexdigest()[:32]}"'


@router.get(PREFIX)
@router.get(PREFIX + "/{name}")
def page(request: Request, name: str = INDEX) -> Response:
    """Return a file of the viewer; a name without an ending is a page's."""
    path = STATIC / (name if "." in name else f"{name}.html")
    if path.suffix not in KINDS or path.parent != STATIC or not path.is_file():
        raise Refusal(404, "no_such_page", "there is no page of this name", f"{PREFIX} is the viewer")
    content, tag = _content(path.name, path.stat().st_mtime_ns)
    headers = {"content-security-policy": POLICY, "cache-control": "no-cache", "etag": tag}
    if request.headers.get("if-none-match") == tag:
        return Response(status_code=304, headers=headers)
    return Response(content, media_type=KINDS[path.suffix], headers=headers)
