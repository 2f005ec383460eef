"""Models by name, version and alias in MLflow: challenger, champion, archived; a flip of an alias is the rollback.

A version's artifact is the bundle itself; the results of the gates are in its tags, written at registration. Only a
version whose gates all hold becomes champion.
"""

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from service.registry.gates import as_tags, check_bundle, check_report, failures
from signals.bundles.bundle import BundleError, load_bundle

CHAMPION, CHALLENGER, ARCHIVED = "champion", "challenger", "archived"
_BUNDLE = "bundle"


class RegistryError(ValueError):
    """A registry that cannot be used, or a step that is refused; one line."""


@dataclass(frozen=True)
class Version:
    """A registered version."""

    name: str
    number: str
    digest: str


class Registry:
    """MLflow's registry at a URI."""

    def __init__(self, uri: str) -> None:
        """Open it, making a SQLite file where there is none; raises RegistryError."""
        try:
            from mlflow import MlflowClient
        except ImportError:
            raise RegistryError("MLflow is not installed: pip install 'cerebeam[service]'") from None
        logging.getLogger("mlflow").setLevel(logging.WARNING)  # it tells of every table it makes
        if uri.startswith("sqlite:///"):
            Path(uri.removeprefix("sqlite:///")).parent.mkdir(parents=True, exist_ok=True)
        self._uri = uri
        self._client = MlflowClient(tracking_uri=uri, registry_uri=uri)

    def register(self, name: str, bundle: Path, *, facts: Path | None) -> Version:
        """Store a bundle as a new version, the challenger; raises BundleError, RegistryError."""
        checked = load_bundle(bundle)
        tags = as_tags([*check_bundle(checked), *check_report(facts)], facts)
        digest = str(checked.about["digest"])
        run = self._client.create_run(self._experiment(name), run_name=digest[:12])
        self._client.log_artifacts(run.info.run_id, str(bundle), _BUNDLE)
        if facts is not None:
            self._client.log_artifact(run.info.run_id, str(facts), "report")
        self._client.set_terminated(run.info.run_id)
        if not self._client.search_registered_models(f"name = '{_safe(name)}'"):
            self._client.create_registered_model(name)
        version = self._client.create_model_version(
            name, f"{run.info.artifact_uri}/{_BUNDLE}", run.info.run_id, tags=tags | {"digest": digest}
        )
        self._client.set_registered_model_alias(name, CHALLENGER, version.version)
        return Version(name, str(version.version), digest)

    def promote(self, name: str, number: str | None = None) -> Version:
        """Make a version the champion, the challenger without a number; the former champion is archived.

        Raises RegistryError, which names every gate that does not hold.
        """
        version = self._version(name, CHALLENGER) if number is None else self._numbered(name, number)
        if failed := failures(version.tags):
            raise RegistryError(f"{name} version {version.version} is not promoted; " + "; ".join(failed))
        self._check_artifact(version)
        former = self._by_alias(name, CHAMPION)
        if former is not None and former.version == version.version:
            raise RegistryError(f"{name} version {version.version} is the champion already")
        if former is not None:
            self._client.set_registered_model_alias(name, ARCHIVED, former.version)
        self._client.set_registered_model_alias(name, CHAMPION, version.version)
        return _described(version)

    def rollback(self, name: str) -> Version:
        """Exchange the champion and the version that was it before; raises RegistryError where there was none."""
        champion, former = self._version(name, CHAMPION), self._by_alias(name, ARCHIVED)
        if former is None:
            raise RegistryError(f"{name} has no earlier champion to go back to")
        self._check_artifact(former)
        self._client.set_registered_model_alias(name, CHAMPION, former.version)
        self._client.set_registered_model_alias(name, ARCHIVED, champion.version)
        return _described(former)

    def bundle_of(self, name: str, alias: str = CHAMPION) -> Path:
        """Return the folder of a version's bundle, fetched if it is not on this machine; raises RegistryError."""
        return self._artifact(self._version(name, alias))

    def _check_artifact(self, version: Any) -> None:
        """Raise RegistryError where what is stored is not what was registered."""
        try:
            digest = load_bundle(self._artifact(version)).about["digest"]
        except (BundleError, OSError) as error:
            raise RegistryError(f"version {version.version} cannot be used: {error}") from None
        if digest != version.tags.get("digest"):
            raise RegistryError(f"version {version.version} holds another bundle than was registered")

    def _artifact(self, version: Any) -> Path:
        from mlflow.artifacts import download_artifacts

        return Path(download_artifacts(artifact_uri=version.source, tracking_uri=self._uri))

    def _experiment(self, name: str) -> str:
        found = self._client.get_experiment_by_name(name)
        if found is not None:
            return str(found.experiment_id)
        folder = None
        if self._uri.startswith("sqlite:///"):  # beside the database, not in whatever folder this was called from
            folder = (Path(self._uri.removeprefix("sqlite:///")).resolve().parent / "mlartifacts").as_uri()
        return str(self._client.create_experiment(name, artifact_location=folder))

    def _version(self, name: str, alias: str) -> Any:
        found = self._by_alias(name, alias)
        if found is None:
            raise RegistryError(f"{name} has no {alias}: cerebeam register, then promote")
        return found

    def _numbered(self, name: str, number: str) -> Any:
        from mlflow.exceptions import MlflowException

        try:
            return self._client.get_model_version(name, number)
        except MlflowException:
            raise RegistryError(f"{name} has no version {number}") from None

    def _by_alias(self, name: str, alias: str) -> Any:
        from mlflow.exceptions import MlflowException

        try:
            return self._client.get_model_version_by_alias(name, alias)
        except MlflowException:
            return None


def _described(version: Any) -> Version:
    return Version(version.name, str(version.version), version.tags["digest"])


def _safe(name: str) -> str:
    if not name.replace("-", "").replace("_", "").isalnum():
        raise RegistryError(f"{name!r} is no name: letters, digits, - and _")
    return name
