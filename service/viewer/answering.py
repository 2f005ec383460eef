"""The answers of a finished job on the viewer's axis of time."""

from typing import Any

from service.formats.findings import Findings
from service.records import jobs
from service.records.tables import Job
from service.refusals import Refusal
from service.viewer.library import Opened
from service.viewer.tracks import answer_rows, finding_rows, unanswered
from service.web.server import Server


def findings_of(server: Server, job: Job) -> Findings:
    """Return a finished job's answers; the model's own spans are known while it is served."""
    try:
        bundle = server.house.owner(job.model).model.bundle
        classes, span = tuple(bundle.classes), bundle.profile.label_span_s
    except Refusal:
        classes, span = (), None
    found = jobs.answers_of(server.engine, job.id)
    return Findings(
        answers=found, source_sha256=job.source_sha256, model=job.model, model_digest=job.model_digest,
        classes=classes or tuple(found[0].class_probabilities), created_at=job.finished_at or job.created_at,
        label_span_s=span,
    )  # fmt: skip


def answers_of(server: Server, opened: Opened, job: Job) -> dict[str, Any]:
    """Return answers, findings, and where there is no answer and why."""
    findings = findings_of(server, job)
    try:
        below = server.house.owner(job.model).model.bundle.calibration.abstain_below
    except Refusal:
        below = None
    rows = answer_rows(findings, abstain_below=below)
    window = findings.answers[0] if findings.answers else None
    margin_s = 0.0 if window is None else max(rows[0]["start_s"] - window.start_s, window.stop_s - rows[0]["stop_s"])
    segments = [(one.onset_s, one.duration_s) for one in opened.recording.segments]
    duration_s = max((onset + length for onset, length in segments), default=0.0)
    spans = [(row["start_s"], row["stop_s"]) for row in rows]
    return {
        "classes": list(findings.classes), "model": job.model, "model_digest": job.model_digest, "answers": rows,
        "findings": finding_rows(findings), "abstain_below": below,
        "unanswered": unanswered(spans, duration_s=duration_s, segments=segments, margin_s=margin_s),
    }  # fmt: skip
