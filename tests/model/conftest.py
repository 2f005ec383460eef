"""The toy shards of tests/training, for whoever needs windows of 50 s here."""

import importlib.util
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def write_toy():
    """Return a writer of six windows of one site."""
    spec = importlib.util.spec_from_file_location("toy", Path(__file__).parent.parent / "training" / "conftest.py")
    toy = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(toy)

    def write(folder, *, window_s=50.0, **options):
        return toy.write_toy_shards(folder, n_sites=1, n_subjects=1, n_windows=6, window_s=window_s, **options)

    return write
