"""POST /predict and /predict_batch, and the Open Inference Protocol below /v2."""

from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response

from service.refusals import Refusal
from service.security.tokens import require
from service.web import inference, schemas, windows
from service.web.answers import answer_fields
from service.web.request import passage_of, server_of
from service.web.server import Server

router = APIRouter(responses=schemas.ERRORS)
ModelName = Annotated[str | None, Query(description="a name of GET /models; the first without")]


@router.post("/predict", openapi_extra=schemas.body(schemas.SAMPLE), response_model=schemas.WindowAnswerForm)
async def predict(request: Request, model: ModelName = None) -> dict[str, Any]:
    """Answer one window of 50 s."""
    server, passage = server_of(request), passage_of(request)
    require(passage.caller, "reader")
    owner, body = server.house.owner(model), await request.body()
    with server.answering.admission.work(passage.place):
        found = await server.answering.prepared(passage, windows.of_predict, body, owner.model.intake)
        (answer,) = await server.answering.answers(passage, owner, found)
    return answer_fields(owner.model, answer)


@router.post("/predict_batch", openapi_extra=schemas.body(schemas.BATCH), response_model=schemas.PredictionsForm)
async def predict_batch(request: Request, model: ModelName = None) -> dict[str, Any]:
    """Answer several windows; one bad sample refuses all, and the error names it."""
    server, passage = server_of(request), passage_of(request)
    require(passage.caller, "reader")
    owner, body, most = server.house.owner(model), await request.body(), server.settings.deployment.max_samples
    with server.answering.admission.work(passage.place) as work:
        found = await server.answering.prepared(passage, windows.of_batch, body, owner.model.intake, most)
        work.n_windows = len(found)
        answers = await server.answering.answers(passage, owner, found)
    return {"predictions": [answer_fields(owner.model, answer) for answer in answers]}


@router.get("/v2")
def about() -> dict[str, Any]:
    """Name the server."""
    return {"name": "cerebeam", "version": "2", "extensions": ["binary_tensor_data"]}


@router.get("/v2/health/live")
def live() -> Response:
    """Answer while the process does."""
    return Response(status_code=200)


@router.get("/v2/health/ready")
def ready(request: Request) -> Response:
    """Answer 200 when models have answered once."""
    return Response(status_code=503 if server_of(request).not_ready() else 200)


@router.get("/v2/models/{name}")
@router.get("/v2/models/{name}/versions/{version}")
def model_metadata(request: Request, name: str, version: str | None = None) -> dict[str, Any]:
    """Describe a model's tensors."""
    require(passage_of(request).caller, "reader")
    return inference.metadata(_model(server_of(request), name, version).model)


@router.get("/v2/models/{name}/ready")
@router.get("/v2/models/{name}/versions/{version}/ready")
def model_ready(request: Request, name: str, version: str | None = None) -> Response:
    """Answer 200 for a model that answers."""
    require(passage_of(request).caller, "reader")
    _model(server_of(request), name, version)
    return Response(status_code=200)


@router.post("/v2/models/{name}/infer", openapi_extra=schemas.body(schemas.INFER))
@router.post("/v2/models/{name}/versions/{version}/infer", openapi_extra=schemas.body(schemas.INFER))
async def infer(request: Request, name: str, version: str | None = None) -> Response:
    """Answer windows of one tensor."""
    server, passage = server_of(request), passage_of(request)
    require(passage.caller, "reader")
    owner, body = _model(server, name, version), await request.body()
    length, most = request.headers.get(inference.HEADER_LENGTH), server.settings.deployment.max_samples
    with server.answering.admission.work(passage.place) as work:
        wanted, found = await server.answering.prepared(
            passage, windows.of_infer, body, length, owner.model.intake, most
        )
        work.n_windows = len(found)
        answers = await server.answering.answers(passage, owner, found)
    content, headers = inference.write_response(owner.model, wanted, answers)
    return Response(content, headers=headers)


def _model(server: Server, name: str, version: str | None) -> Any:
    owner = server.house.owner(name)
    if version is not None and not (len(version) >= 4 and owner.model.digest.startswith(version)):
        raise Refusal(404, "unknown_version", "this version is not the one that answers", "GET /v2/models/{name}")
    return owner
