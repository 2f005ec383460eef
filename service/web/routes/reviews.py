"""Reviews: what reviewers see in a study; each sees their own, so that nobody is led by somebody else's."""

from typing import Any

from anyio import to_thread
from fastapi import APIRouter, Request
from pydantic import TypeAdapter, ValidationError

from service.records import reviews
from service.records.tables import Review, Study
from service.refusals import Refusal
from service.security.tokens import require
from service.web import schemas
from service.web.bodies import read_json
from service.web.request import passage_of, request_key, server_of
from service.web.routes.studies import study_of
from service.web.server import Server

router = APIRouter(responses=schemas.ERRORS)
_GIVEN = TypeAdapter(schemas.ReviewGiven)


@router.post(
    "/studies/{study_id}/reviews", status_code=201, openapi_extra=schemas.body(schemas.ReviewGiven.model_json_schema()),
    response_model=schemas.ReviewForm,
)  # fmt: skip
async def add(request: Request, study_id: str) -> dict[str, Any]:
    """Add a review: a label of seconds of a study. The same Idempotency-Key is the same review."""
    server, passage = server_of(request), passage_of(request)
    require(passage.caller, "reviewer")
    study = await study_of(request, study_id)
    given = _given(server, study, read_json(await request.body()))
    review = reviews.new_review(
        study_id=study.id, reviewer=passage.caller.subject, start_s=given.start_s, stop_s=given.stop_s,
        label=given.label, confidence=given.confidence, request_key=request_key(request),
    )  # fmt: skip
    return _fields(await to_thread.run_sync(lambda: reviews.add_review(server.engine, review)))


@router.get("/studies/{study_id}/reviews")
async def listed(request: Request, study_id: str, withdrawn: bool = False) -> dict[str, list[dict[str, Any]]]:
    """List a study's reviews: a reviewer's own, an operator's are all."""
    server, caller = server_of(request), passage_of(request).caller
    require(caller, "reviewer")
    study = await study_of(request, study_id)
    reviewer = None if caller.may("operator") else caller.subject
    found = await to_thread.run_sync(
        lambda: reviews.reviews_of(server.engine, study.id, reviewer=reviewer, withdrawn=withdrawn)
    )
    return {"reviews": [_fields(review) for review in found]}


@router.post("/reviews/{review_id}/withdraw", response_model=schemas.ReviewForm)
async def withdraw(request: Request, review_id: str) -> dict[str, Any]:
    """Withdraw one's own review; it stays in the records as withdrawn."""
    server, passage = server_of(request), passage_of(request)
    require(passage.caller, "reviewer")
    by = passage.caller.subject
    if not review_id.isalnum():  # PostgreSQL takes no NUL
        raise reviews.no_such_review()
    review = await to_thread.run_sync(lambda: reviews.withdraw(server.engine, review_id, reviewer=by))
    passage.study_id = review.study_id
    return _fields(review)


def _given(server: Server, study: Study, fields: dict[str, Any]) -> schemas.ReviewGiven:
    """Return a checked review; raises Refusal 422 for other fields, other labels, seconds outside of the study."""
    try:
        given = _GIVEN.validate_python(fields)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(str(part) for part in first["loc"] if part in schemas.ReviewGiven.model_fields)
        hint = ", ".join(schemas.ReviewGiven.model_fields)
        raise Refusal(422, "invalid_request", f"{place or 'review'}: {first['msg']}", hint) from None
    labels = {name: None for owner in server.house.owners for name in owner.model.bundle.classes}
    if given.label not in labels:
        raise Refusal(422, "unknown_label", "the label is no class of a served model", ", ".join(labels))
    if not 0 <= given.start_s < given.stop_s <= study.duration_s:
        limit = f"0 <= start_s < stop_s <= {study.duration_s:g}"
        raise Refusal(422, "outside_of_study", "the seconds do not lie in the study", limit)
    return given


def _fields(review: Review) -> dict[str, Any]:
    return {name: getattr(review, name) for name in schemas.ReviewForm.model_fields}
