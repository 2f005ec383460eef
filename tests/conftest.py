"""Where real recordings are found: CEREBEAM_REAL_DATA, a folder that holds real/ and awkward/."""

import os
from pathlib import Path

import pytest

from pipelines.intake.cards import read_cards

pytest_plugins = ["tests.toy_bank", "tests.toy_shards"]


def _folder(name):
    root = os.environ.get("CEREBEAM_REAL_DATA", "")
    if not root or not (Path(root) / name).is_dir():
        pytest.skip(f"CEREBEAM_REAL_DATA names no folder that holds {name}/")
    return Path(root) / name


@pytest.fixture
def real():
    """Recordings of ten sites."""
    return _folder("real")


@pytest.fixture
def awkward():
    """Odd and broken files."""
    return _folder("awkward")


@pytest.fixture(autouse=True, scope="session")
def _own_cache(tmp_path_factory):
    """Keep indexes that are built for old shard sets out of the home of whoever runs the tests."""
    os.environ["XDG_CACHE_HOME"] = str(tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="session")
def site_cards():
    """The example cards of the documentation: of the sites that the real recordings come from."""
    return read_cards([str(Path(__file__).parents[1] / "docs" / "sites")])
