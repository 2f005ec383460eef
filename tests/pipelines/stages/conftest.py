"""One planned recording, for stages that take its blocks."""

from dataclasses import replace

import pytest

from pipelines.intake.inputs import FileRef
from pipelines.stages.plan_files import plan_file
from signals.windows.profiles import PRETRAIN
from tests.pipelines.conftest import write_edf


@pytest.fixture(scope="package")
def planned(tmp_path_factory):
    """A planned file of 65 s, in blocks of two windows."""
    path = write_edf(tmp_path_factory.mktemp("planned") / "a.edf")
    ref = FileRef(str(path), "north", "Erika Mustermann", 50.0, ())
    return plan_file(ref, replace(PRETRAIN, block_s=20.0), "secret")
