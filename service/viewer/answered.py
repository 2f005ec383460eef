"""The newest answers of every recording that a caller may see, with embeddings where the job kept them."""

from collections import Counter
from collections.abc import Iterator

import numpy as np

from service.formats.findings import Findings
from service.records import jobs, reviews
from service.records.embeddings import embeddings_of
from service.records.tables import DONE, Job
from service.review.similar import Answered, Similar, similar_to
from service.security.tokens import Caller
from service.viewer.answering import findings_of
from service.web.server import Server

MOST_JOBS = 50
_MOST_ROWS = 60_000
"""Embeddings that one segment is compared with: a week at a hop of 10 s."""


def newest_jobs(server: Server, caller: Caller) -> list[Job]:
    """Return the newest finished job of each recording of the folder, the newest first; an operator sees all."""
    owner = None if caller.may("operator") else caller.subject
    newest: dict[str, Job] = {}
    for job in jobs.list_jobs(server.engine, owner=owner, limit=1000):
        if job.state == DONE and not job.is_upload:
            newest.setdefault(job.file, job)
    return list(newest.values())[:MOST_JOBS]


def similar_segments(server: Server, caller: Caller, job: Job, second: float, *, n: int) -> list[Similar]:
    """Return the segments that resemble a job's answer at a second; none where there is no answer, or no embedding."""
    others = [one for one in newest_jobs(server, caller) if one.id != job.id and one.model_digest == job.model_digest]
    pool: list[Answered] = []
    for one in _answered(server, [job, *others]):
        pool.append(one)
        if sum(len(each.vectors) for each in pool) > _MOST_ROWS:
            break
    if not pool or pool[0].recording != job.file:
        return []
    row = next((i for i, (start, stop) in enumerate(pool[0].spans) if start <= second < stop), None)
    return [] if row is None else similar_to(pool, (0, row), n=n)


def _answered(server: Server, wanted: list[Job]) -> Iterator[Answered]:
    width = 0
    for job in wanted:
        findings = findings_of(server, job)
        vectors = embedded(server, job, findings)
        if vectors is None or (width and vectors.shape[1] != width):
            continue
        width = vectors.shape[1]
        yield Answered(
            recording=job.file, study_id=job.study_id or "", spans=[findings.span(one) for one in findings.answers],
            predicted=[one.predicted_class for one in findings.answers], vectors=vectors,
        )  # fmt: skip


def embedded(server: Server, job: Job, findings: Findings) -> np.ndarray | None:
    """Return the embeddings of a job's answers, shape (n_answers, width); None where the job kept none."""
    vectors = embeddings_of(server.engine, [job.id]).get(job.id)
    return vectors if vectors is not None and len(vectors) == len(findings.answers) else None


def labels_of(server: Server, caller: Caller, one: Similar) -> dict[str, int]:
    """Return how many reviewers gave which label to a segment: an operator sees all labels, anybody else their own."""
    if not caller.may("reviewer") or not one.study_id:
        return {}
    reviewer = None if caller.may("operator") else caller.subject
    found = reviews.reviews_of(server.engine, one.study_id, reviewer=reviewer)
    middle = (one.start_s + one.stop_s) / 2
    newest = {each.reviewer: each.label for each in found if each.start_s <= middle < each.stop_s}
    return dict(Counter(newest.values()).most_common())
