"""The bundle of a run, on this machine or on any file system that Beam knows, as a model that answers."""

import tempfile
from functools import lru_cache
from pathlib import Path, PurePosixPath

from pipelines.runs import storage
from serving.model import Model, open_model
from signals.bundles.bundle import Bundle, BundleError, load_bundle


def name_of(uri: str) -> str:
    """Return the name that answers carry: that of the bundle's folder, as the service names it."""
    return PurePosixPath(uri.rstrip("/")).name


def read_bundle(uri: str) -> Bundle:
    """Return the bundle in a folder; raises BundleError as `load_bundle`, and for an encoder."""
    bundle = load_bundle(_here(uri))
    _ = bundle.classes
    return bundle


@lru_cache(maxsize=1)
def scorer(uri: str, digest: str) -> Model:
    """Return the model of a bundle, opened once per process, on one thread.

    Raises BundleError for a bundle that is not the one of this digest any more: a run answers with one model.
    """
    model = open_model(_here(uri), name=name_of(uri), threads=1)
    if model.digest != digest:
        raise BundleError(f"{uri} was exchanged while the run was under way: its digest is not {digest[:12]}")
    return model


@lru_cache(maxsize=4)
def _here(uri: str) -> Path:
    """Return the bundle's folder on this machine: a copy of a remote one, which lasts as long as the process."""
    if not storage.is_remote(uri):
        return Path(uri)
    paths = storage.list_files(uri)
    if not paths:
        raise BundleError(f"{uri} is no bundle: there is nothing")
    folder = tempfile.TemporaryDirectory(prefix="cerebeam-bundle-")
    _COPIES.append(folder)
    for path in paths:
        copy = Path(folder.name) / path.removeprefix(storage.join(uri, ""))
        copy.parent.mkdir(parents=True, exist_ok=True)
        with storage.open_file(path) as file:
            copy.write_bytes(file.read())
    return Path(folder.name)


_COPIES: list[tempfile.TemporaryDirectory[str]] = []
