"""All corpora of `pipelines.corpora`: every module with `CORPUS` or `CORPORA` counts, and is named nowhere."""

import importlib
import pkgutil
from types import ModuleType

import pipelines.corpora
from pipelines.corpora.corpus import Corpus
from signals.readers.layouts.layout import declare


def discover(package: ModuleType = pipelines.corpora) -> tuple[Corpus, ...]:
    """Return the corpora of a package's modules, in order of the modules' names, and declare their csv forms.

    Raises TypeError for a module whose CORPUS or CORPORA is something else, ValueError for two that share a pattern.
    """
    corpora: list[Corpus] = []
    for module in sorted(pkgutil.iter_modules(package.__path__), key=lambda module: module.name):
        loaded = importlib.import_module(f"{package.__name__}.{module.name}")
        found = (*getattr(loaded, "CORPORA", ()), *([loaded.CORPUS] if hasattr(loaded, "CORPUS") else []))
        if strangers := [value for value in found if not isinstance(value, Corpus)]:
            raise TypeError(f"{loaded.__name__}: {strangers[0]!r} is no Corpus")
        corpora += found
    patterns = [corpus.pattern for corpus in corpora]
    if repeated := sorted({pattern for pattern in patterns if patterns.count(pattern) > 1}):
        raise ValueError(f"several corpora have the pattern {repeated[0]!r}")
    for corpus in corpora:
        for form in corpus.csv_forms:
            declare(form)
    return tuple(corpora)


CORPORA = discover()
"""Found when this module is imported, on a worker too, so that a worker knows the csv forms."""
