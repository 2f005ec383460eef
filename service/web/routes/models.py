"""The models that answer, the shadow beside them, and who did what."""

from typing import Any

from anyio import to_thread
from fastapi import APIRouter, Request

from service.records.accesses import recent
from service.refusals import Refusal, clean, of_error
from service.security.tokens import require
from service.web import schemas
from service.web.request import passage_of, server_of
from serving.model import Model

router = APIRouter(responses=schemas.ERRORS)


@router.get("/models")
def models(request: Request) -> dict[str, Any]:
    """List the models that answer, the default first."""
    require(passage_of(request).caller, "reader")
    return {"models": [model_fields(owner.model) for owner in server_of(request).house.owners]}


@router.get("/models/shadow")
def shadow(request: Request) -> dict[str, Any]:
    """Show how often the shadow model answered otherwise."""
    require(passage_of(request).caller, "operator")
    seen = server_of(request).house.comparison
    return {
        "n_windows": seen.n_windows, "n_other_class": seen.n_other_class, "n_failed": seen.n_failed,
        "largest_difference": seen.largest_difference,
    }  # fmt: skip


@router.post("/models/{name}/reload")
async def reload(request: Request, name: str) -> dict[str, Any]:
    """Open a model's folder again; no request is dropped, and a folder that is no bundle changes nothing."""
    require(passage_of(request).caller, "operator")
    house = server_of(request).house
    try:
        return model_fields(await to_thread.run_sync(lambda: house.reload(name)))
    except ValueError as error:
        raise of_error(error) or Refusal(422, "not_loaded", clean(str(error)), "the old one goes on") from error


@router.get("/accesses")
def accesses(request: Request) -> dict[str, Any]:
    """List the last requests."""
    require(passage_of(request).caller, "admin")
    names = ("at", "request_id", "subject", "role", "method", "route", "job_id", "study_id", "status")
    rows = recent(server_of(request).engine)
    return {"accesses": [{name: getattr(row, name) for name in names} for row in rows]}


def model_fields(model: Model) -> dict[str, Any]:
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
