"""The page at /docs: what openapi.json holds, as plain HTML without a script or anything from elsewhere."""

import base64
import hashlib
from html import escape
from typing import Any

_STYLE = (
    "body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#1a1a1a}"
    "code,pre{font:14px/1.4 ui-monospace,monospace;background:#f3f3f5;border-radius:4px;padding:.1rem .3rem}"
    "pre{padding:.8rem;overflow-x:auto}section{border-top:1px solid #ccc;padding:.6rem 0}"
    "table{border-collapse:collapse}td,th{text-align:left;padding:.15rem .8rem .15rem 0;vertical-align:top}"
    ".m{display:inline-block;min-width:3.5rem;font-weight:600}"
    "@media(prefers-color-scheme:dark){body{background:#16181c;color:#e6e6e6}code,pre{background:#23262c}}"
)
_DIGEST = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
POLICY = f"default-src 'none'; style-src 'sha256-{_DIGEST}'; frame-ancestors 'none'"

_CURL = """curl localhost:8000/health
curl -H 'content-type: application/json' --data-binary @segment.json localhost:8000/predict
curl --data-binary @segment.edf 'localhost:8000/jobs?name=segment.edf&hop_s=10'
curl 'localhost:8000/jobs/ID?wait_s=30'
curl 'localhost:8000/jobs/ID/answers?format=csv'"""


def page(openapi: dict[str, Any]) -> str:
    """Return the whole page."""
    info = openapi["info"]
    sections = "".join(
        _section(method, path, operation)
        for path, operations in openapi["paths"].items()
        for method, operation in operations.items()
    )
    title = f"{escape(info['title'])} {escape(info['version'])}"
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{title}</title>'
        f'<meta name="viewport" content="width=device-width"><style>{_STYLE}</style></head><body>'
        f"<h1>{title}</h1><p><strong>{escape(info['description'])}</strong></p>"
        "<p>Errors have one form everywhere: <code>{error, code, hint}</code>. "
        '<a href="/openapi.json">openapi.json</a></p>'
        f"<pre>{escape(_CURL)}</pre>{sections}</body></html>"
    )


def _section(method: str, path: str, operation: dict[str, Any]) -> str:
    rows = "".join(
        f"<tr><td><code>{escape(one['name'])}</code></td><td>{escape(one['in'])}</td>"
        f"<td>{escape(str(one.get('description', '')))}</td></tr>"
        for one in operation.get("parameters", [])
    )
    table = f"<table><tr><th>parameter</th><th>in</th><th></th></tr>{rows}</table>" if rows else ""
    return (
        f'<section><h2><span class="m">{method.upper()}</span> <code>{escape(path)}</code></h2>'
        f"<p>{escape(operation.get('description', ''))}</p>{table}{_body(operation)}</section>"
    )


def _body(operation: dict[str, Any]) -> str:
    parts = []
    for kind, content in operation.get("requestBody", {}).get("content", {}).items():
        fields = content["schema"].get("properties", {})
        rows = "".join(
            f"<tr><td><code>{escape(name)}</code></td><td>{escape(str(field.get('description', '')))}</td></tr>"
            for name, field in fields.items()
        )
        parts.append(f"<p>Body: <code>{escape(kind)}</code></p>" + (f"<table>{rows}</table>" if rows else ""))
    return "".join(parts)
