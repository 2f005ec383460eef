"""Reviewing in the viewer: the classes to choose from, how far reviewers agree, what to look at next."""

from dataclasses import asdict
from typing import Annotated, Any

from anyio import to_thread
from fastapi import APIRouter, Query, Request

from service.records import reviews
from service.records.studies import list_studies
from service.review.agreement import agreement
from service.review.queue import Candidate, candidates, next_to_review, worthwhile
from service.security.tokens import Caller, require
from service.viewer.answered import embedded, labels_of, newest_jobs, similar_segments
from service.viewer.answering import findings_of
from service.viewer.routes import Name, newest_answered, opened_of
from service.web import schemas
from service.web.request import passage_of, server_of
from service.web.server import Server

router = APIRouter(prefix="/api/viewer", tags=["review"], responses=schemas.ERRORS)


@router.get("/review")
async def review(request: Request, name: Name) -> dict[str, Any]:
    """Return the caller's reviews of a recording, the labels there are, and, for an operator, the agreement."""
    server, caller = server_of(request), passage_of(request).caller
    require(caller, "reader")
    await opened_of(request, name)
    study_id, may = passage_of(request).study_id, caller.may("reviewer")
    labels = {label: None for owner in server.house.owners for label in owner.model.bundle.classes}
    found = await to_thread.run_sync(lambda: reviews.reviews_of(server.engine, study_id, reviewer=None)) if may else []
    own = [one for one in found if one.reviewer == caller.subject]
    fields: dict[str, Any] = {
        "may": may, "labels": list(labels), "study_id": study_id,
        "reviews": [_fields(one) for one in own], "n_reviewers": len({one.reviewer for one in found}),
    }  # fmt: skip
    return fields | ({"agreement": asdict(agreement(found))} if caller.may("operator") else {})


def _fields(one: Any) -> dict[str, Any]:
    names = ("id", "start_s", "stop_s", "label", "confidence", "created_at")
    return {name: getattr(one, name) for name in names}


@router.get("/queue")
async def queue(request: Request, n: Annotated[int, Query(ge=1, le=100)] = 20) -> dict[str, Any]:
    """List what to review next: answers that the model is least sure of, apart from each other."""
    server, caller = server_of(request), passage_of(request).caller
    require(caller, "reviewer")
    chosen = await to_thread.run_sync(lambda: next_to_review(_pool(server, caller), n=n))
    names = ("recording", "start_s", "stop_s", "predicted_class", "score")
    return {"queue": [{name: getattr(one, name) for name in names} for one in chosen]}


@router.get("/similar")
async def similar(
    request: Request, name: Name, second: Annotated[float, Query()], n: Annotated[int, Query(ge=1, le=50)] = 8
) -> dict[str, Any]:
    """List the segments that resemble the answer at a second, with the labels that reviewers gave them."""
    server, caller = server_of(request), passage_of(request).caller
    await opened_of(request, name)
    job = await newest_answered(request, name)
    if job is None:
        return {"similar": []}

    def look() -> list[dict[str, Any]]:
        found = similar_segments(server, caller, job, second, n=n)
        return [asdict(one) | {"labels": labels_of(server, caller, one)} for one in found]

    return {"similar": await to_thread.run_sync(look)}


def _pool(server: Server, caller: Caller) -> list[Candidate]:
    """Return the answers of the newest finished job of each recording that the caller has not reviewed."""
    studies = {study.id: study for study in reversed(list_studies(server.engine))}
    pool: list[Candidate] = []
    for job in newest_jobs(server, caller):
        own = []
        if job.study_id in studies:
            own = reviews.reviews_of(server.engine, job.study_id, reviewer=caller.subject)
        findings, spans = findings_of(server, job), [(one.start_s, one.stop_s) for one in own]
        pool += worthwhile(candidates(job.file, findings, spans, embedded(server, job, findings)))
    return pool
