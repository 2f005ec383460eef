"""Reviews in the records: who labels which seconds of a study as what, how surely; several reviewers a study."""

import time
from collections.abc import Sequence
from uuid import uuid4

from sqlalchemy import Engine, select, update
from sqlalchemy.exc import IntegrityError

from service.records.database import transaction
from service.records.tables import Review
from service.refusals import Refusal


def new_review(
    *, study_id: str, reviewer: str, start_s: float, stop_s: float, label: str, confidence: float | None = None,
    request_key: str | None = None,
) -> Review:  # fmt: skip
    """Return a review to add."""
    return Review(
        id=uuid4().hex, request_key=request_key, study_id=study_id, reviewer=reviewer, created_at=time.time(),
        start_s=start_s, stop_s=stop_s, label=label, confidence=confidence, withdrawn_at=None,
    )  # fmt: skip


def add_review(engine: Engine, review: Review) -> Review:
    """Commit a review and return it, or the earlier one of the same request key.

    Raises Refusal 409 where that key belongs to a review of something else.
    """
    with transaction(engine) as session:
        try:
            with session.begin_nested():
                session.add(review)
        except IntegrityError:
            earlier = session.scalars(select(Review).where(Review.request_key == review.request_key)).one()
            if _content(earlier) != _content(review):
                raise Refusal(409, "key_in_use", "this Idempotency-Key belongs to another review", "use a new one") \
                    from None  # fmt: skip
            review = earlier
        session.flush()
        session.refresh(review)
        session.expunge(review)
    return review


def reviews_of(engine: Engine, study_id: str, *, reviewer: str | None, withdrawn: bool = False) -> list[Review]:
    """Return a study's reviews in order of time, of one reviewer or of all; withdrawn ones only where wanted."""
    query = select(Review).where(Review.study_id == study_id).order_by(Review.start_s, Review.created_at, Review.id)
    if reviewer is not None:
        query = query.where(Review.reviewer == reviewer)
    if not withdrawn:
        query = query.where(Review.withdrawn_at.is_(None))
    with transaction(engine) as session:
        found = list(session.scalars(query))
        session.expunge_all()
        return found


def withdraw(engine: Engine, review_id: str, *, reviewer: str) -> Review:
    """Mark a reviewer's own review as withdrawn, which it stays, and return it; raises Refusal 404."""
    with transaction(engine) as session:
        session.execute(
            update(Review)
            .where(Review.id == review_id, Review.reviewer == reviewer, Review.withdrawn_at.is_(None))
            .values(withdrawn_at=time.time())
        )
        review = session.get(Review, review_id)
        if review is None or review.reviewer != reviewer:
            raise no_such_review()
        session.expunge(review)
        return review


def no_such_review() -> Refusal:
    """Return the refusal of a review that is not there, or is somebody else's."""
    return Refusal(404, "no_such_review", "there is no such review of yours", "GET /studies/{id}/reviews lists them")


def _content(review: Review) -> Sequence[object]:
    return review.study_id, review.reviewer, review.start_s, review.stop_s, review.label, review.confidence
