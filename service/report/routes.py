"""GET /api/report: the patient report of a recording, HTML or PDF."""

from typing import Annotated, Any, Literal

from anyio import to_thread
from fastapi import APIRouter, Query, Request, Response

from service.formats.findings import Findings, events
from service.records import reviews
from service.refusals import Refusal
from service.report.facts import Facts, abstained_s, burdens, clearest, counted, unsure_s
from service.report.figures import epoch, timeline
from service.report.page import page, policy
from service.report.pdf import to_pdf
from service.viewer.answering import answers_of, findings_of
from service.viewer.library import Opened, View
from service.viewer.routes import Name, newest_answered, opened_of
from service.viewer.tracks import NOTHING
from service.web import schemas
from service.web.request import passage_of, server_of
from service.web.server import Server

router = APIRouter(tags=["report"], responses=schemas.ERRORS)


@router.get("/api/report", response_class=Response)
async def report(request: Request, name: Name, format: Annotated[Literal["html", "pdf"], Query()] = "html") -> Response:
    """Return the report of the newest finished answers to a recording."""
    server, opened = server_of(request), await opened_of(request, name)
    study_id = passage_of(request).study_id
    job = await newest_answered(request, name)
    if job is None:
        raise Refusal(409, "not_answered", "no model has answered this recording", "POST /jobs/recording, or Analyse")

    def make() -> str:
        findings = findings_of(server, job)
        return html_of(opened, findings, facts_of(server, opened, findings, answers_of(server, opened, job), study_id))

    html = await to_thread.run_sync(make)
    if format == "pdf":
        content = await to_thread.run_sync(to_pdf, html)
        headers = {"content-disposition": 'inline; filename="report.pdf"'}
        return Response(content, media_type="application/pdf", headers=headers)
    return Response(html, media_type="text/html; charset=utf-8", headers={"content-security-policy": policy(html)})


def facts_of(server: Server, opened: Opened, findings: Findings, fields: dict[str, Any], study_id: str) -> Facts:
    """Return what the report states; `fields` are those of the viewer's answers."""
    unanswered: dict[str, float] = {}
    for one in fields["unanswered"]:
        unanswered[one["reason"]] = unanswered.get(one["reason"], 0.0) + one["stop_s"] - one["start_s"]
    spans = [findings.span(answer) for answer in findings.answers]
    segments = opened.recording.segments
    return Facts(
        recording=opened.name, duration_s=max((one.onset_s + one.duration_s for one in segments), default=0.0),
        recorded_s=opened.recording.duration_s, answered_s=sum(stop - start for start, stop in spans),
        abstained_s=abstained_s(findings, fields["abstain_below"]), unsure_s=unsure_s(findings), burdens=burdens(findings),
        episodes=tuple(one for one in events(counted(findings)) if one.predicted_class != NOTHING), samples=clearest(findings),
        bad=tuple(name for name, _ in opened.facts.bad), unanswered=tuple(unanswered.items()),
        n_reviews=len(reviews.reviews_of(server.engine, study_id, reviewer=None)), model=findings.model,
        model_digest=findings.model_digest,
    )  # fmt: skip


def html_of(opened: Opened, findings: Findings, facts: Facts) -> str:
    """Return the page with its figures."""
    montage = next((name for name in ("longitudinal", "recorded") if opened.montage(name).rows), "recorded")
    traces = opened.traces(View(montage=montage))
    epochs = []
    for answer in facts.samples:
        start, stop = findings.span(answer)
        x = traces.read(round(start * traces.sfreq), round(stop * traces.sfreq))
        words = f"{answer.predicted_class}, {answer.confidence:.0%}: the most confident answer of this class"
        epochs.append((words, epoch(x, traces.montage.rows, sfreq=traces.sfreq, start_s=start)))
    return page(facts, timeline=timeline(findings, facts.duration_s), epochs=epochs)
