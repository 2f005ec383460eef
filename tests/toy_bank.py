"""A small bank of simulated patterns, by the real generators."""

from pathlib import Path

import pytest

from signals.patterns.bank import PATTERNS_FILE, Bank, read_arrays
from synthetic.bank import write_bank


@pytest.fixture(scope="session")
def toy_bank(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """48 patterns, eight of each class, and twelve held-out segments of two families."""
    return write_bank(tmp_path_factory.mktemp("bank") / "bank", seed=0, patterns=48, held_out=1)


@pytest.fixture(scope="session")
def toy_patterns(toy_bank: Path) -> Bank:
    """The patterns of `toy_bank`."""
    return read_arrays(toy_bank / PATTERNS_FILE, Bank)[0]
