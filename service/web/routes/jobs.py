"""Whole recordings: uploads and named files become jobs; their progress; their events; their results in any format."""

from typing import Annotated, Any

from anyio import to_thread
from fastapi import APIRouter, Query, Request, Response
from starlette.requests import HTTPConnection

from service.formats.findings import Findings
from service.formats.formats import FORMATS, write
from service.jobs.supervisor import wait_for_end
from service.jobs.uploads import SUFFIXES, store, suffix_of
from service.records import jobs
from service.records.tables import DONE, Job
from service.refusals import Refusal
from service.security.tokens import require
from service.web import schemas
from service.web.answers import answer_fields
from service.web.bodies import read_json
from service.web.passage import Passage
from service.web.request import passage_of, request_key, server_of
from service.web.routes.predictions import ModelName
from service.web.routes.studies import open_study
from service.web.server import Server
from signals.recording.recording import UnreadableError

router = APIRouter(responses=schemas.ERRORS)
StudyId = Annotated[str | None, Query(description="of this study alone", pattern="^[0-9a-f]{32}$")]
HOP_S = 10.0
"""Labels speak of the middle 10 s of a window: at this hop they tile the time."""
_LONGEST_WAIT_S = 30.0


@router.post("/jobs", status_code=202, openapi_extra=schemas.BYTES_BODY, response_model=schemas.JobForm)
async def upload(
    request: Request,
    name: Annotated[str, Query(description="the file's name: its ending decides the reader, nothing else is kept")],
    hop_s: Annotated[float, Query(description="seconds between answers")] = HOP_S,
    model: ModelName = None,
) -> dict[str, Any]:
    """Accept a recording, sent as the body."""
    server, passage = server_of(request), passage_of(request)
    require(passage.caller, "reader")
    owner, suffix = server.house.owner(model), suffix_of(name)
    if not suffix:
        raise Refusal(422, "unsupported_format", "no reader for a file of this name", ", ".join(sorted(SUFFIXES)))
    _check_hop(hop_s, owner.model.bundle.profile.signal.sfreq)
    file = await store(request.stream(), server.places, suffix)
    job = jobs.new_job(
        owner=passage.caller.subject, file=file, is_upload=True, model=owner.model.name, hop_s=hop_s,
        request_key=request_key(request),
    )  # fmt: skip
    try:
        accepted = await _accept(server, passage, job)
    except BaseException:
        (server.places.uploads / file).unlink(missing_ok=True)
        raise
    if accepted.id != job.id:  # it was sent before
        (server.places.uploads / file).unlink(missing_ok=True)
    return job_fields(accepted)


@router.post(
    "/jobs/recording", status_code=202, openapi_extra=schemas.body(schemas.NAMED), response_model=schemas.JobForm
)
async def named(request: Request) -> dict[str, Any]:
    """Accept a recording of the configured folder, by its name."""
    server, passage = server_of(request), passage_of(request)
    require(passage.caller, "reader")
    fields = read_json(await request.body())
    name, hop_s, model = fields.get("recording"), fields.get("hop_s", HOP_S), fields.get("model")
    if not isinstance(name, str) or not isinstance(model, str | None) or set(fields) - {"recording", "hop_s", "model"}:
        raise Refusal(422, "invalid_request", "recording is missing, or a field is unknown", "recording, hop_s, model")
    if isinstance(hop_s, bool) or not isinstance(hop_s, int | float):
        raise Refusal(422, "invalid_request", "hop_s is no number", "seconds")
    owner = server.house.owner(model)
    _check_hop(float(hop_s), owner.model.bundle.profile.signal.sfreq)
    try:
        study_id = (await to_thread.run_sync(lambda: open_study(server, name))).id
    except UnreadableError:  # the job gives the reason
        study_id = None
    passage.study_id = study_id or ""
    job = jobs.new_job(
        owner=passage.caller.subject, file=name, is_upload=False, model=owner.model.name, hop_s=float(hop_s),
        request_key=request_key(request), study_id=study_id,
    )  # fmt: skip
    return job_fields(await _accept(server, passage, job))


@router.get("/jobs")
async def list_jobs(
    request: Request,
    study: Annotated[str | None, Query(description="of this study alone", pattern="^[0-9a-f]{32}$")] = None,
) -> dict[str, list[dict[str, Any]]]:
    """List the newest jobs: one's own, an operator's are all."""
    server, caller = server_of(request), passage_of(request).caller
    require(caller, "reader")
    owner = None if caller.may("operator") else caller.subject
    found = await to_thread.run_sync(lambda: jobs.list_jobs(server.engine, owner=owner, study_id=study))
    return {"jobs": [job_fields(job) for job in found]}


@router.get("/jobs/{job_id}", response_model=schemas.JobForm)
async def job_state(
    request: Request, job_id: str, wait_s: Annotated[float, Query(ge=0, le=_LONGEST_WAIT_S)] = 0.0
) -> dict[str, Any]:
    """Show a job; with wait_s, when it has ended or the time is over."""
    server = server_of(request)
    job = await own_job(request, job_id)
    if wait_s > 0 and job.finished_at is None:
        await to_thread.run_sync(lambda: wait_for_end(server.engine, job_id, seconds=wait_s))
        job = await own_job(request, job_id)
    return job_fields(job)


@router.get("/jobs/{job_id}/events")
async def job_events(request: Request, job_id: str) -> dict[str, list[dict[str, Any]]]:
    """List a finished job's events: neighbouring answers of one class, in order of time."""
    server, job = server_of(request), _done(await own_job(request, job_id))
    found = await to_thread.run_sync(lambda: jobs.events_of(server.engine, job.id))
    names = ("onset_s", "stop_s", "predicted_class", "confidence", "n_windows")
    return {"events": [{name: getattr(event, name) for name in names} for event in found]}


@router.get("/jobs/{job_id}/answers", response_model=None)
async def job_answers(
    request: Request, job_id: str, format: Annotated[str, Query(description=", ".join(FORMATS))] = "json"
) -> Any:
    """Return a finished job's answers."""
    server, job = server_of(request), await own_job(request, job_id)
    if format not in FORMATS:
        raise Refusal(422, "unknown_format", "results are not written in this format", ", ".join(FORMATS))
    _done(job)
    answers = await to_thread.run_sync(lambda: jobs.answers_of(server.engine, job_id))
    model = server.house.owner(job.model).model
    if format == "json":
        rows = [answer_fields(model, answer) | {"model_digest": job.model_digest} for answer in answers]
        return {"job": job_fields(job), "predictions": rows}
    findings = Findings(
        answers=answers, source_sha256=job.source_sha256, model=job.model, model_digest=job.model_digest,
        classes=model.bundle.classes, created_at=job.finished_at or job.created_at,
        label_span_s=model.bundle.profile.label_span_s,
    )  # fmt: skip
    content, kind, suffix = await to_thread.run_sync(lambda: write(findings, format))
    headers = {"content-disposition": f'attachment; filename="{job.id}{suffix}"'}
    return Response(content, media_type=kind, headers=headers)


def job_fields(job: Job) -> dict[str, Any]:
    """Return what its sender may know of a job."""
    return {name: getattr(job, name) for name in schemas.JobForm.model_fields}


def _done(job: Job) -> Job:
    """Return a job that has its answers; raises Refusal 409 with the job's own code."""
    if job.state != DONE:
        code = job.code or "not_finished"
        raise Refusal(409, code, job.error or "the job has not ended", "GET /jobs/{id}?wait_s=30 waits for it")
    return job


async def own_job(request: HTTPConnection, job_id: str) -> Job:
    """Return a job that its caller may see; raises Refusal 404 also for one of somebody else."""
    server, passage = server_of(request), passage_of(request)
    require(passage.caller, "reader")
    job = await to_thread.run_sync(lambda: jobs.get_job(server.engine, job_id)) if job_id.isalnum() else None
    if job is None or not (job.owner == passage.caller.subject or passage.caller.may("operator")):
        raise Refusal(404, "no_such_job", "there is no such job", "GET /jobs lists yours")
    passage.job_id, passage.study_id = job.id, job.study_id or ""
    return job


async def _accept(server: Server, passage: Passage, job: Job) -> Job:
    most = server.settings.deployment.max_jobs
    accepted = await to_thread.run_sync(lambda: jobs.accept(server.engine, job, most_waiting=most))
    await to_thread.run_sync(server.bell.ring, accepted.id)
    passage.job_id = accepted.id
    return accepted


def _check_hop(hop_s: float, sfreq: float) -> None:
    if not 1.0 <= hop_s <= 3600.0 or not (hop_s * sfreq).is_integer():
        raise Refusal(422, "invalid_hop", f"hop_s is no whole number of samples at {sfreq:g} Hz from 1 to 3600 s")
