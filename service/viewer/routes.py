"""What the viewer asks for, below /api/viewer: recordings, traces, trends, artifacts, answers."""

from dataclasses import asdict
from typing import Annotated, Any

from anyio import to_thread
from fastapi import APIRouter, Query, Request, Response

from service.records import jobs
from service.records.tables import DONE, Job
from service.refusals import Refusal, clean, of_error
from service.security.tokens import require
from service.viewer.answering import answers_of
from service.viewer.builds import Build
from service.viewer.header import header_of
from service.viewer.library import Library, Opened, View
from service.viewer.packing import MEDIA_TYPE, pack, quantised
from service.viewer.tracks import artifact_stretches, trend_columns
from service.web import schemas
from service.web.request import passage_of, server_of
from service.web.routes.jobs import job_fields
from service.web.routes.studies import open_study
from signals.viewing.envelope import BIN, columns_of
from signals.viewing.trends import FREQS, REGIONS, Trends

router = APIRouter(prefix="/api/viewer", tags=["viewer"], responses=schemas.ERRORS)
DIRECT_STEP = 4 * BIN
"""Samples per column from which the overview is needed; a multiple of its bins from there on."""
MOST_COLUMNS, MOST_VALUES = 4096, 6_000_000
_MOST_FLAGS_S = 900.0

Name = Annotated[str, Query(alias="recording", max_length=400)]
Montage = Annotated[str, Query(max_length=20)]
LFreq = Annotated[float, Query()]
HFreq = Annotated[float, Query()]
Notch = Annotated[float, Query()]


def library_of(request: Request) -> Library:
    """Return what the viewer has open."""
    library: Library = server_of(request).library
    return library


async def opened_of(request: Request, name: str) -> Opened:
    """Return a recording and note who looks at its study."""
    server, passage = server_of(request), passage_of(request)
    require(passage.caller, "reader")
    opened = await to_thread.run_sync(server.library.opened, name)
    if opened.digest not in server.library.study_ids:
        study = await to_thread.run_sync(lambda: open_study(server, name))
        server.library.study_ids[opened.digest] = study.id
    passage.study_id = server.library.study_ids[opened.digest]
    return opened


@router.get("/recordings")
async def recordings(request: Request) -> dict[str, Any]:
    """List the recordings that can be looked at, each with its newest job."""
    server, caller = server_of(request), passage_of(request).caller
    require(caller, "reader")
    names = await to_thread.run_sync(server.places.named)
    owner = None if caller.may("operator") else caller.subject
    found = await to_thread.run_sync(lambda: jobs.list_jobs(server.engine, owner=owner, limit=1000))
    newest: dict[str, Job] = {}
    for job in found:
        if not job.is_upload:
            newest.setdefault(job.file, job)
    rows = [{"name": name, "job": job_fields(newest[name]) if name in newest else None} for name in names]
    return {"recordings": rows, "role": caller.role, "subject": caller.subject}


@router.get("/recording")
async def recording(request: Request, name: Name) -> dict[str, Any]:
    """Describe a recording: length, gaps, montages, annotations, and what cannot be shown."""
    opened = await opened_of(request, name)
    fields = await to_thread.run_sync(header_of, opened)
    return fields | {"study_id": passage_of(request).study_id}


@router.get("/traces", response_class=Response)
async def traces(
    request: Request, name: Name, step: Annotated[int, Query(ge=1)], first: Annotated[int, Query(ge=0)],
    count: Annotated[int, Query(ge=1)], montage: Montage = "longitudinal", l_freq: LFreq = 0.5, h_freq: HFreq = 70.0,
    notch_hz: Notch = 0.0,
) -> Response:  # fmt: skip
    """Return samples (step 1), or the extremes of every `step` samples, int16 by row; see service/viewer/packing.py."""
    opened = await opened_of(request, name)
    view = View(montage=montage, l_freq=l_freq, h_freq=h_freq, notch_hz=notch_hz)
    content = await to_thread.run_sync(lambda: _traces(library_of(request), opened, view, step, first, count))
    return Response(content, media_type=MEDIA_TYPE)


def _traces(library: Library, opened: Opened, view: View, step: int, first: int, count: int) -> bytes:
    seen = opened.traces(view)
    total = -(-seen.n_times // step)
    first = min(first, total)
    count = min(count, total - first)
    if count * seen.n_rows > MOST_VALUES or (step > 1 and count > MOST_COLUMNS):
        raise Refusal(422, "too_much", "this is more than a screen shows at once", "take a larger step")
    if step < DIRECT_STEP:
        x = seen.read(first * step, min((first + count) * step, seen.n_times))
        y = x if step == 1 else columns_of(x, step)
    else:
        if step % BIN:
            raise Refusal(422, "odd_step", f"{step} samples per column", f"from {DIRECT_STEP} on, a multiple of {BIN}")
        envelope = _made(library.overview(opened, view), "overview")
        y = envelope.columns(step // BIN, first, count)
    digits, scale = quantised(y)
    return pack({"step": step, "first": first, "count": count, "digest": opened.digest[:16]},
                {"x": digits, "scale": scale})  # fmt: skip


def _made(build: Build, what: str) -> Any:
    """Return what was made; raises Refusal 202 with how far it is, or what its making ran into."""
    if build.error is not None:
        raise of_error(build.error) or Refusal(500, "internal_error", f"the {what} could not be made")
    if not build.done.wait(0.2):
        raise Refusal(202, "being_made", f"preparing the {what}: {build.share:.0%}", "ask again", 1.0)
    return _made(build, what) if build.error is not None else build.value


@router.get("/state")
async def state(
    request: Request, name: Name, montage: Montage = "longitudinal", l_freq: LFreq = 0.5, h_freq: HFreq = 70.0,
    notch_hz: Notch = 0.0, overview: bool = False,
) -> dict[str, Any]:  # fmt: skip
    """Show how far overview and trends are, begin them, and show that the server is there."""
    opened, library = await opened_of(request, name), library_of(request)
    view = View(montage=montage, l_freq=l_freq, h_freq=h_freq, notch_hz=notch_hz)
    builds = {"trends": library.trends(opened)} | ({"overview": library.overview(opened, view)} if overview else {})
    return {"digest": opened.digest[:16]} | {key: _share(build) for key, build in builds.items()}


def _share(build: Build) -> dict[str, Any]:
    error = "" if build.error is None else clean(getattr(build.error, "error", type(build.error).__name__))
    return {"share": round(build.share, 3), "done": build.done.is_set(), "error": error}


@router.get("/trends", response_class=Response)
async def trends(
    request: Request, name: Name, start_s: float, stop_s: float,
    columns: Annotated[int, Query(ge=1, le=720)] = 720,
) -> Response:  # fmt: skip
    """Return the trends of a stretch by column."""
    opened = await opened_of(request, name)
    made: Trends = await to_thread.run_sync(lambda: _made(library_of(request).trends(opened), "trends"))
    if not stop_s > start_s:
        raise Refusal(422, "invalid_request", "stop_s is not after start_s", "seconds since the recording's start")
    arrays = trend_columns(made, start_s=start_s, stop_s=stop_s, most=columns)
    fields = {"regions": REGIONS, "freqs": FREQS.tolist(), "electrodes": _electrodes(opened)}
    return Response(pack(fields, arrays), media_type=MEDIA_TYPE)


@router.get("/artifacts")
async def artifacts(request: Request, name: Name, start_s: float, stop_s: float) -> dict[str, Any]:
    """List the artifacts of a stretch of at most 15 min."""
    opened = await opened_of(request, name)
    made: Trends = await to_thread.run_sync(lambda: _made(library_of(request).trends(opened), "trends"))
    if not 0 < stop_s - start_s <= _MOST_FLAGS_S:
        raise Refusal(422, "invalid_request", "the stretch is empty or too long", f"at most {_MOST_FLAGS_S:g} s")
    first, last = max(int(start_s), 0), max(int(stop_s) + 1, 0)
    found = artifact_stretches(made.flags[:, first:last], _electrodes(opened), first_s=first)
    return {"artifacts": [asdict(one) for one in found]}


def _electrodes(opened: Opened) -> list[str]:
    return [row.electrodes[0] for row in opened.montage("average").rows if row.electrodes]


@router.get("/answers")
async def answers(request: Request, name: Name) -> dict[str, Any]:
    """Return the newest finished answers to a recording, and its newest job."""
    server, opened = server_of(request), await opened_of(request, name)
    own = await _jobs_of(request, name)
    done = next((job for job in own if job.state == DONE), None)
    fields: dict[str, Any] = {"job": job_fields(own[0]) if own else None, "answers": [], "findings": []}
    if done is not None:
        fields |= await to_thread.run_sync(answers_of, server, opened, done)
    return fields


@router.get("/evidence")
async def evidence(request: Request, name: Name) -> dict[str, Any]:
    """Return the stored explanations of a recording, each with its method and whether that passed its gates."""
    server, opened = server_of(request), await opened_of(request, name)
    path = server.places.path_of(name, is_upload=False)
    return {"explanations": await to_thread.run_sync(server.explanations.of, opened, path)}


async def newest_answered(request: Request, name: str) -> Job | None:
    """Return the newest finished job of a recording as its file is now."""
    return next((job for job in await _jobs_of(request, name) if job.state == DONE), None)


async def _jobs_of(request: Request, name: str) -> list[Job]:
    """Return the caller's jobs of a recording's study, the newest first; an operator's are all."""
    server, passage = server_of(request), passage_of(request)
    owner = None if passage.caller.may("operator") else passage.caller.subject
    found = await to_thread.run_sync(lambda: jobs.list_jobs(server.engine, owner=owner, limit=1000))
    return [job for job in found if job.file == name and not job.is_upload and job.study_id in (None, passage.study_id)]
