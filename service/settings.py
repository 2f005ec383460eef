"""The configuration: one YAML file of five sections, each key overridable by environment and command line."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

ENVIRONMENT = "CEREBEAM_"
"""CEREBEAM_DEPLOYMENT_PORT=8080 sets deployment.port."""
LOOPBACK = ("127.0.0.1", "::1", "localhost")
SQLITE = "sqlite:///"
_QUEUES = ("redis://", "rediss://", "unix://")


class SettingsError(ValueError):
    """A configuration that cannot be used; the message is one line."""


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Dataset(_Section):
    """Where recordings come from."""

    recordings: Path | None = None
    """Folder whose recordings may be named in a request; None: uploads alone."""
    explanations: Path | None = None
    """Folder of folders that `cerebeam explain --output` wrote; the viewer shows them over the traces."""
    hms: Path = Path("data/hms")
    """Folder of the HMS competition, for download and training."""


class Models(_Section):
    """What answers."""

    bundles: tuple[Path, ...] = ()
    """Folders made by cerebeam export; the first answers where a request names none."""
    registered: tuple[str, ...] = ()
    """Models of the registry, NAME@ALIAS each; the champion without an alias. They come after `bundles`."""
    threads: int = Field(default=1, ge=1, le=64)
    """Of each model."""
    threads_alone: int = Field(default=2, ge=1, le=64)
    """Of each model for a request that comes alone, where these are more; at the cost of its graphs in memory twice."""
    registry: str = "sqlite:///var/mlflow.db"
    """MLflow's tracking and registry URI."""
    shadow: Path | None = None
    """A bundle that answers beside the first one; its answers are compared, never sent."""
    public_key: Path | None = None
    """File of the key that bundles must be signed with (cerebeam sign); None: unsigned ones are served too."""


class Training(_Section):
    """What `cerebeam run` trains with."""

    output: Path = Path("run-output")
    seed: int = 0


class Deployment(_Section):
    """What listens, to whom, and how much it takes."""

    profile: Literal["dev", "production"] = "dev"
    """"dev" needs no token and listens to this machine alone; "production" needs keys."""
    host: str = "127.0.0.1"
    port: int = Field(default=8000, ge=1, le=65535)
    cors_origins: tuple[str, ...] = ()
    jwks: Path | None = None
    """File of public keys (RFC 7517)."""
    issuer: str = "cerebeam"
    audience: str = "cerebeam"
    certificate: Path | None = None
    private_key: Path | None = None
    max_body_mb: float = Field(default=64.0, gt=0)
    max_upload_mb: float = Field(default=2048.0, gt=0)
    max_samples: int = Field(default=32, ge=1)
    """Of one /predict_batch."""
    max_wait_s: float = Field(default=0.6, gt=0)
    """Expected seconds from which a request is refused as busy."""
    max_jobs: int = Field(default=256, ge=1)
    """Waiting jobs."""
    requests_per_s: float = Field(default=200.0, gt=0)
    """Of one caller, on average."""
    body_timeout_s: float = Field(default=30.0, gt=0)
    """A body that takes longer is refused."""


class System(_Section):
    """Where it keeps things."""

    data: Path = Path("var")
    """Uploads and, by default, records."""
    database: str = ""
    """SQLAlchemy URL; empty: SQLite below `data`."""
    queue: str = ""
    """URL of Redis, through which workers learn of jobs at once; empty: they look into the records."""
    audit_keys: Path | None = None
    """Folder of `cerebeam audit keys`; None: below `data`, made at the first start."""
    audit_sink: Path | None = None
    """Folder for signed checkpoints of the audit log, on storage of its own; None: no checkpoints."""
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    workers: int = Field(default=0, ge=0, le=64)
    """Processes that prepare windows; 0: one per core."""
    job_memory_mb: int = Field(default=4096, ge=512)
    job_timeout_s: float = Field(default=3600.0, gt=0)
    encryption_keys: Path | None = None
    """File of keys that uploads and answers are encrypted with, 64 hexadecimal digits a line; None: they are not."""


class Settings(_Section):
    """All of it."""

    dataset: Dataset = Dataset()
    models: Models = Models()
    training: Training = Training()
    deployment: Deployment = Deployment()
    system: System = System()

    @model_validator(mode="after")
    def _protected(self) -> "Settings":
        if self.deployment.profile == "dev" and self.deployment.host not in LOOPBACK:
            raise ValueError(
                f"deployment.host={self.deployment.host} without tokens: the dev profile listens to 127.0.0.1 alone; "
                "set deployment.profile=production and deployment.jwks"
            )
        if self.system.queue and not self.system.queue.startswith(_QUEUES):
            raise ValueError(f"system.queue is no URL that begins with {' or '.join(_QUEUES)}")
        if self.deployment.profile == "production" and self.deployment.jwks is None:
            raise ValueError("deployment.profile=production needs deployment.jwks, a file of public keys")
        return self

    @property
    def database_url(self) -> str:
        """Where records are kept."""
        return self.system.database or f"{SQLITE}{(self.system.data / 'records.db').resolve()}"

    @property
    def n_workers(self) -> int:
        """Processes that prepare windows."""
        return self.system.workers or os.cpu_count() or 1


def load_settings(
    file: Path | None = None, overrides: Sequence[str] = (), environment: Mapping[str, str] = os.environ
) -> Settings:
    """Return the settings of a file, then those of the environment, then `overrides`, "section.key=value" each.

    Raises SettingsError in one line for an unreadable file, an unknown key, a wrong value, a contradiction.
    """
    values = _of_file(file) if file is not None else {}
    for section, fields in Settings.model_fields.items():
        annotation: Any = fields.annotation
        for key in annotation.model_fields:
            text = environment.get(f"{ENVIRONMENT}{section}_{key}".upper())
            if text is not None:
                _section(values, section)[key] = yaml.safe_load(text)
    for override in overrides:
        name, equals, text = override.partition("=")
        section, dot, key = name.partition(".")
        if not equals or not dot:
            raise SettingsError(f"{override!r} is not section.key=value")
        _section(values, section)[key] = yaml.safe_load(text)
    try:
        return Settings.model_validate(values)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(str(part) for part in first["loc"])
        raise SettingsError(f"{place or 'configuration'}: {first['msg'].removeprefix('Value error, ')}") from None


def _section(values: dict[str, Any], name: str) -> dict[str, Any]:
    section = values.setdefault(name, {})
    if not isinstance(section, dict):
        raise SettingsError(f"{name}: a section holds keys, not one value")
    return section


def _of_file(file: Path) -> dict[str, Any]:
    try:
        values = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise SettingsError(f"{file} cannot be read as YAML: {str(error).splitlines()[0]}") from None
    if not isinstance(values, dict | None):
        raise SettingsError(f"{file} holds no sections")
    return {} if values is None else values
