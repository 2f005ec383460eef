"""Where the models that answer come from: folders, and names with an alias in the registry."""

from collections.abc import Callable
from pathlib import Path

from service.settings import Models

Source = Callable[[], Path]
"""The folder of a model's bundle as it is now."""


def sources(models: Models) -> dict[str, Source]:
    """Return where each model's bundle is found, by name, folders first.

    An alias is looked up at every call, so that a promotion takes effect at the next reload. Raises ValueError for two
    models of one name, RegistryError for an alias that is not there when its folder is asked for.
    """
    found: dict[str, Source] = {}
    for path in models.bundles:
        _add(found, path.name, _folder(path))
    for entry in models.registered:
        name, _, alias = entry.partition("@")
        _add(found, name, _alias(models.registry, name, alias or "champion"))
    return found


def _add(found: dict[str, Source], name: str, source: Source) -> None:
    if name in found:
        raise ValueError(f"two bundles have the same name, {name}: rename one")
    found[name] = source


def _folder(path: Path) -> Source:
    return lambda: path


def _alias(uri: str, name: str, alias: str) -> Source:
    def look_up() -> Path:
        from service.registry.registry import Registry  # MLflow takes seconds to import

        return Registry(uri).bundle_of(name, alias)

    return look_up
