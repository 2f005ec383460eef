"""Studies: recordings of the configured folder, opened; what is known of each."""

from typing import Any

from anyio import to_thread
from fastapi import APIRouter, Request

from service.records.studies import add_study, find_study, get_study, list_studies, stamp_of
from service.records.tables import Study
from service.refusals import Refusal, of_error
from service.security.tokens import require
from service.web import schemas
from service.web.bodies import read_json
from service.web.request import passage_of, server_of
from service.web.server import Server
from signals.readers.registry import open_recording
from signals.recording.recording import UnreadableError

router = APIRouter(responses=schemas.ERRORS)


@router.get("/recordings")
async def recordings(request: Request) -> dict[str, list[str]]:
    """List the recordings that may be named in a request."""
    require(passage_of(request).caller, "reader")
    return {"recordings": await to_thread.run_sync(server_of(request).places.named)}


@router.post("/studies", openapi_extra=schemas.body(schemas.OPENED), response_model=schemas.StudyForm)
async def open_one(request: Request) -> dict[str, Any]:
    """Open a recording of the configured folder: its header is read, and the same file is the same study."""
    server, passage = server_of(request), passage_of(request)
    require(passage.caller, "reader")
    fields = read_json(await request.body())
    name = fields.get("recording")
    if not isinstance(name, str) or set(fields) - {"recording"}:
        raise Refusal(422, "invalid_request", "recording is missing, or a field is unknown", "recording")
    try:
        study = await to_thread.run_sync(lambda: open_study(server, name))
    except UnreadableError as error:
        raise of_error(error) or error from error
    passage.study_id = study.id
    return study_fields(study)


@router.get("/studies")
async def listed(request: Request) -> dict[str, list[dict[str, Any]]]:
    """List the studies that were opened last."""
    require(passage_of(request).caller, "reader")
    engine = server_of(request).engine
    return {"studies": [study_fields(study) for study in await to_thread.run_sync(lambda: list_studies(engine))]}


@router.get("/studies/{study_id}", response_model=schemas.StudyForm)
async def one(request: Request, study_id: str) -> dict[str, Any]:
    """Show a study."""
    return study_fields(await study_of(request, study_id))


async def study_of(request: Request, study_id: str) -> Study:
    """Return a study and note who looks at it; raises Refusal 404."""
    server, passage = server_of(request), passage_of(request)
    require(passage.caller, "reader")
    study = await to_thread.run_sync(lambda: get_study(server.engine, study_id)) if study_id.isalnum() else None
    if study is None:
        raise Refusal(404, "no_such_study", "there is no such study", "GET /studies lists them")
    passage.study_id = study.id
    return study


def open_study(server: Server, name: str) -> Study:
    """Return the study of a recording of the folder as its file is now.

    Raises Refusal 404 for a name that is none, UnreadableError for a file that no reader opens.
    """
    path = server.places.path_of(name, is_upload=False)
    stamp = stamp_of(path)
    found = find_study(server.engine, name, stamp)
    return found or add_study(server.engine, open_recording(str(path)), file=name, stamp=stamp)


def study_fields(study: Study) -> dict[str, Any]:
    """Return what its readers may know of a study."""
    fields = {name: getattr(study, name) for name in schemas.StudyForm.model_fields if name != "recording"}
    return fields | {"recording": study.file}
