"""The application: routes, error form, documentation page, behind the gate."""

from typing import Any

from anyio import to_thread
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware

from service.records.accesses import recent
from service.refusals import Refusal, clean, of_error
from service.security.tokens import require
from service.viewer import pages, routes
from service.web import predictions, recordings, schemas
from service.web.documentation import POLICY, page
from service.web.gate import App, Gate, more_headers
from service.web.predictions import passage_of, server_of
from service.web.server import Server
from signals.version import __version__

_CODES = {404: "no_such_route", 405: "method_not_allowed"}


def new_app(server: Server) -> App:
    """Return the ASGI application of a server, with its gate around it."""
    api = FastAPI(
        title="Cerebeam", version=__version__, docs_url=None, redoc_url=None,
        description="Answers to EEG windows and recordings. Research use only. Not a medical device.",
    )  # fmt: skip
    api.state.server = server
    api.include_router(predictions.router)
    api.include_router(recordings.router)
    api.include_router(routes.router)
    api.include_router(pages.router)
    _add_states(api)
    _add_operations(api)
    for kind in (Refusal, HTTPException, RequestValidationError, Exception):
        api.add_exception_handler(kind, _refused)
    limits = server.settings.deployment
    gate: App = Gate(
        app=api, limits=limits, verifier=server.verifier, admission=server.answering.admission, rate=server.rate,
        accesses=server.accesses, metrics=server.metrics,
    )  # fmt: skip
    if not limits.cors_origins:
        return gate
    return CORSMiddleware(
        gate, allow_origins=list(limits.cors_origins), allow_methods=["GET", "POST"],
        allow_headers=["authorization", "content-type", "idempotency-key"],
    )  # fmt: skip


def _add_states(api: FastAPI) -> None:
    """Add what needs no token."""

    @api.get("/health")
    def health() -> dict[str, str]:
        """Answer while the process does."""
        return {"status": "live"}

    @api.get("/ready", responses={503: {"model": schemas.ErrorForm}})
    def ready(request: Request) -> dict[str, str]:
        """Answer 200 when models have answered once, the records can be read, and recordings are worked on."""
        if why := server_of(request).not_ready():
            raise Refusal(503, why, "the service is not ready", "wait, or read the log", 2.0)
        return {"status": "ready"}

    @api.get("/metrics", response_class=Response)
    def metrics(request: Request) -> Response:
        """Return measures for Prometheus."""
        server = server_of(request)
        server.refresh_gauges()
        return Response(server.metrics.text(), media_type="text/plain; version=0.0.4")

    @api.get("/docs", response_class=Response)
    @api.get("/", response_class=Response, include_in_schema=False)
    def docs() -> Response:
        """Describe the interface, for people."""
        headers = {"content-security-policy": POLICY}
        return Response(page(api.openapi()), media_type="text/html; charset=utf-8", headers=headers)


def _add_operations(api: FastAPI) -> None:
    """Add what shows and changes the models, and who did what."""

    @api.get("/models", responses=schemas.ERRORS)
    def models(request: Request) -> dict[str, Any]:
        """List the models that answer, the default first."""
        require(passage_of(request).caller, "reader")
        return {"models": [model_fields(owner.model) for owner in server_of(request).house.owners]}

    @api.get("/models/shadow", responses=schemas.ERRORS)
    def shadow(request: Request) -> dict[str, Any]:
        """Show how often the shadow model answered otherwise."""
        require(passage_of(request).caller, "operator")
        seen = server_of(request).house.comparison
        return {
            "n_windows": seen.n_windows, "n_other_class": seen.n_other_class, "n_failed": seen.n_failed,
            "largest_difference": seen.largest_difference,
        }  # fmt: skip

    @api.post("/models/{name}/reload", responses=schemas.ERRORS)
    async def reload(request: Request, name: str) -> dict[str, Any]:
        """Open a model's folder again; no request is dropped, and a folder that is no bundle changes nothing."""
        require(passage_of(request).caller, "operator")
        house = server_of(request).house
        try:
            return model_fields(await to_thread.run_sync(lambda: house.reload(name)))
        except ValueError as error:
            raise of_error(error) or Refusal(422, "not_loaded", clean(str(error)), "the old one goes on") from error

    @api.get("/accesses", responses=schemas.ERRORS)
    def accesses(request: Request) -> dict[str, Any]:
        """List the last requests."""
        require(passage_of(request).caller, "admin")
        names = ("at", "request_id", "subject", "role", "method", "route", "job_id", "status")
        rows = recent(server_of(request).engine)
        return {"accesses": [{name: getattr(row, name) for name in names} for row in rows]}


def model_fields(model: Any) -> dict[str, Any]:
    """Return what may be known of a model."""
    bundle = model.bundle
    return {
        "name": model.name,
        "digest": model.digest,
        "kind": bundle.kind,
        "precision": bundle.precision,
        "classes": bundle.classes,
        "ch_names": bundle.modality.ch_names,
        "window_s": bundle.profile.window_s,
        "spectrogram_shape": model.spectrogram_shape,
    }


async def _refused(request: Request, error: Exception) -> Response:
    """Return any refusal in the one form."""
    refusal = _as_refusal(error)
    passage_of(request).code = refusal.code
    headers = {name.decode(): value.decode() for name, value in more_headers(refusal)}
    if refusal.status in (408, 413):
        headers["connection"] = "close"  # what is still to come is not read
    return JSONResponse(refusal.body, refusal.status, headers)


def _as_refusal(error: Exception) -> Refusal:
    if isinstance(error, Refusal):
        return error
    if isinstance(error, RequestValidationError):
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"][:2])
        return Refusal(422, "invalid_request", f"{place}: {first['msg']}", "GET /docs shows what is expected")
    if not isinstance(error, HTTPException):  # the gate writes it down
        return Refusal(500, "internal_error", "the server failed", "its log names the place")
    code = _CODES.get(error.status_code, "refused")
    return Refusal(error.status_code, code, "there is nothing here for such a request", "GET /docs lists what there is")
