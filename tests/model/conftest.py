"""The toy shards of tests/training, for whoever needs windows of 50 s here."""

import pytest

from tests.toy_shards import write_toy_shards


@pytest.fixture(scope="session")
def write_toy():
    """Return a writer of six windows of one site."""

    def write(folder, *, window_s=50.0, **options):
        return write_toy_shards(folder, n_sites=1, n_subjects=1, n_windows=6, window_s=window_s, **options)

    return write
