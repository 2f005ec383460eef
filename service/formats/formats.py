"""Answers of a recording in the formats of other programs; each is checked in tests by that format's own library."""

from collections.abc import Callable

from service.formats import bids, edf, fhir, tables
from service.formats.findings import Findings
from service.refusals import Refusal

FORMATS: dict[str, tuple[Callable[[Findings], bytes] | None, str, str]] = {
    "json": (None, "application/json", ".json"),
    "csv": (tables.as_csv, "text/csv; charset=utf-8", ".csv"),
    "parquet": (tables.as_parquet, "application/vnd.apache.parquet", ".parquet"),
    "bids": (bids.as_zip, "application/zip", "_events.zip"),
    "szcore": (bids.as_szcore, "text/tab-separated-values; charset=utf-8", ".tsv"),
    "edf": (edf.as_edf, "application/octet-stream", ".edf"),
    "fhir": (fhir.as_fhir, "application/fhir+json", ".json"),
}
"""Name to writer, media type, ending of the file. "json" is written by the route itself."""


def write(findings: Findings, name: str) -> tuple[bytes, str, str]:
    """Return a file's content, media type and ending; raises Refusal 501 where its library is not installed."""
    writer, kind, suffix = FORMATS[name]
    assert writer is not None
    try:
        return writer(findings), kind, suffix
    except ImportError as error:
        raise Refusal(
            501, "missing_library", f"the format {name} needs a library that is not installed ({error.name})",
            "pip install cerebeam[service]",
        ) from None  # fmt: skip
