"""The application: routes, error form, documentation page, behind the gate."""

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware

from service.live import sockets as live
from service.refusals import Refusal
from service.report import routes as report
from service.viewer import pages as viewer_pages
from service.viewer import reviewing as viewer_review
from service.viewer import routes as viewer
from service.web import schemas
from service.web.documentation import POLICY, page
from service.web.gate import Gate
from service.web.metrics import left_text
from service.web.passage import App, more_headers
from service.web.request import passage_of, server_of
from service.web.routes import alarms, beds, jobs, models, predictions, reviews, sockets, studies
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
    own = (predictions, jobs, studies, reviews, alarms, beds, models, sockets, live)
    for routes in (*own, viewer, viewer_review, report, viewer_pages):
        api.include_router(routes.router)
    _add_states(api)
    for kind in (Refusal, HTTPException, RequestValidationError, Exception):
        api.add_exception_handler(kind, _refused)
    limits = server.settings.deployment
    gate: App = Gate(
        app=api, limits=limits, verifier=server.verifier, admission=server.answering.admission, rate=server.rate,
        accesses=server.accesses, metrics=server.metrics, trail=server.trail, tickets=server.tickets,
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
        text = server.metrics.text() + left_text(server.settings.system.data)
        return Response(text, media_type="text/plain; version=0.0.4")

    @api.get("/docs", response_class=Response)
    @api.get("/", response_class=Response, include_in_schema=False)
    def docs() -> Response:
        """Describe the interface, for people."""
        headers = {"content-security-policy": POLICY}
        return Response(page(api.openapi()), media_type="text/html; charset=utf-8", headers=headers)


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
