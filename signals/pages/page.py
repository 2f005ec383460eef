"""A report as one HTML page: no network, no script, printable. Both reports are built of these, and look alike."""

from collections.abc import Iterable, Mapping
from html import escape
from typing import Any

CSS = """
:root{--ink:#1d2429;--soft:#5d6a72;--rule:#d5dbdf;--accent:#175676;--bad:#b3261e}
*{box-sizing:border-box}
body{margin:0;color:var(--ink);background:#fff;font:16px/1.55 "Source Sans 3","Segoe UI","Helvetica Neue",Arial,"Liberation Sans",sans-serif;font-variant-numeric:tabular-nums}
main{max-width:1060px;margin:0 auto;padding:40px 24px 64px}
h1{font-size:30px;line-height:1.2;margin:0 0 6px;font-weight:650;letter-spacing:-.01em}
h2{font-size:21px;margin:48px 0 10px;padding-top:14px;border-top:2px solid var(--accent);font-weight:650}
h3{font-size:16px;margin:26px 0 6px}
p{margin:8px 0;max-width:76ch}
.lead{font-size:18.5px;line-height:1.55}
.note,caption,figcaption,small,.sub{color:var(--soft)}
.note{font-size:14.5px}.sub{margin:0 0 20px}
.use{border-left:4px solid var(--accent);padding:4px 0 4px 14px;margin:18px 0}
table{border-collapse:collapse;font-size:14.5px;width:100%}
th,td{padding:6px 10px;border-bottom:1px solid var(--rule);text-align:right;vertical-align:top;white-space:nowrap}
th:first-child,td:first-child{text-align:left}
thead th{color:var(--soft);font-weight:600;border-bottom:1.5px solid var(--ink)}
td small,th small{display:block;font-size:12px;font-weight:400;line-height:1.3}
td small.why{white-space:normal;min-width:9em;max-width:15em;margin-left:auto}
tr.main td{font-weight:650}tr.main td small{font-weight:400}
.scroll{overflow-x:auto;margin:12px 0}
.confusion{width:auto;min-width:min(100%,560px)}.confusion td{text-align:center;min-width:62px;border:2px solid #fff;position:relative}
.confusion td small{color:inherit;opacity:.8}.confusion td.grave{outline:2.5px solid var(--bad);outline-offset:-3px}
.confusion th{border-color:#fff}.confusion thead th{text-align:center}.confusion thead th:first-child{text-align:left}
.key{display:inline-block;width:14px;height:14px;outline:2.5px solid var(--bad);outline-offset:-2px;vertical-align:-2px;margin-right:4px}
.pair{display:grid;grid-template-columns:repeat(2,minmax(0,1fr));gap:8px 36px}
figure{margin:14px 0;max-width:520px;break-inside:avoid}figcaption{font-size:14.5px;margin-bottom:4px;font-weight:600;color:var(--ink)}
svg{width:100%;height:auto;display:block;font-size:12.5px;fill:var(--ink)}svg .soft{fill:var(--soft)}svg .over{fill:var(--soft);stroke:#fff;stroke-width:5px;paint-order:stroke}
circle:hover,polyline:hover{opacity:.65}
.verdict{font-weight:650}.error{color:var(--bad)}
ul.findings{list-style:none;padding:0;margin:8px 0}ul.findings li{padding:6px 0 6px 92px;border-bottom:1px solid var(--rule);position:relative;max-width:86ch}
ul.findings b{position:absolute;left:0;font-weight:600;color:var(--soft)}ul.findings b.error{color:var(--bad)}ul.findings b.warning{color:var(--ink)}
ul.findings code{color:var(--soft)}
code,pre{font-family:"DejaVu Sans Mono",Menlo,Consolas,monospace;font-size:12.5px}
pre{white-space:pre-wrap;overflow-wrap:anywhere;background:#f4f6f7;padding:12px 14px;margin:8px 0}
table.kv{table-layout:fixed}table.kv td{white-space:normal;overflow-wrap:anywhere;text-align:left}table.kv td:first-child{width:34%;color:var(--soft)}
@media screen and (max-width:720px){main{padding:24px 16px 48px}h1{font-size:24px}.lead{font-size:17px}.pair{grid-template-columns:minmax(0,1fr)}
th,td{padding:6px 7px}thead th{white-space:normal}table{font-size:13.5px}.confusion{table-layout:fixed;width:100%;min-width:0}.confusion td{min-width:0;padding:5px 1px;font-size:12.5px}.confusion th{padding:5px 2px;font-size:11px;overflow-wrap:anywhere;white-space:normal}.confusion thead th:first-child{width:66px}td:first-child,td:first-child small{white-space:normal}.scroll table:not(.confusion) td:first-child{min-width:112px}
.scroll table:not(.confusion) th:first-child,.scroll table:not(.confusion) td:first-child{position:sticky;left:0;background:#fff}
ul.findings li{padding-left:0}ul.findings b{position:static;display:block}}
@media print{main{max-width:none;padding:0}body{font-size:11pt}h2{break-after:avoid}table,figure,.confusion{break-inside:avoid}.scroll{overflow:visible}table{font-size:9pt}th,td{padding:3px 5px}
*{-webkit-print-color-adjust:exact;print-color-adjust:exact}}
"""


def document(body: str, *, title: str, css: str = "") -> str:
    """Return a whole page: a heading and ready-made sections; `css` is added to the common sheet."""
    return (
        '<!DOCTYPE html><html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>{escape(title)}</title><style>{CSS}{css}</style></head><body><main><h1>{escape(title)}</h1>{body}</main></body></html>\n"
    )


def table(head: Iterable[str], rows: Iterable[str]) -> str:
    """Return a table that scrolls sideways on narrow screens; rows are ready-made <tr> elements."""
    return f'<div class="scroll"><table><thead><tr>{"".join(f"<th>{h}</th>" for h in head)}</tr></thead><tbody>{"".join(rows)}</tbody></table></div>'


def key_values(values: Mapping[str, Any]) -> str:
    """Return names and values in two columns."""
    rows = "".join(
        f"<tr><td>{escape(str(k))}</td><td><code>{escape(str(v))}</code></td></tr>" for k, v in values.items()
    )
    return f"<table class=kv><tbody>{rows}</tbody></table>"


def flatten(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return nested entries under dotted names; long lists as their length."""
    flat: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, Mapping):
            flat |= flatten(value, f"{prefix}{key}.")
        elif isinstance(value, list) and (len(value) > 6 or any(isinstance(v, (Mapping, list)) for v in value)):
            flat[f"{prefix}{key}"] = f"{len(value)} entries"
        else:
            flat[f"{prefix}{key}"] = ", ".join(map(str, value)) if isinstance(value, list) else value
    return flat
