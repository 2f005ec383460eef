"""The reference of schemas has each field of what is stored, as the classes have it now."""

from dataclasses import fields
from importlib import import_module

import pytest

from cerebeam.schemas import ROOT, STORED, schemas


def classes():
    for one in STORED:
        for name in one.classes:
            yield pytest.param(one.module, name, id=name)


@pytest.mark.parametrize(("module", "name"), classes())
def test_every_field_of_a_stored_class_is_named(module, name):
    kind = getattr(import_module(module.removesuffix(".py").replace("/", ".")), name)
    section = schemas().split(f"### {name}\n")[1].split("\n#")[0]
    listed = [line.split("`")[1] for line in section.splitlines() if line.startswith("| `")]
    assert listed == [field.name for field in fields(kind)]


def test_every_table_and_column_of_the_records_is_named():
    from service.records.tables import Base

    text = schemas().split("## The service's records")[1]
    for mapper in Base.registry.mappers:
        section = text.split(f"### {mapper.class_.__name__}\n")[1].split("\n#")[0]
        listed = {line.split("`")[1] for line in section.splitlines() if line.startswith("| `")}
        assert listed == {column.name for column in mapper.local_table.columns}


def test_cells_break_no_table():
    for line in schemas().splitlines():
        if line.startswith("| `"):
            assert line.replace("\\|", "").count("|") == 4, line
    assert all((ROOT / one.module).is_file() for one in STORED)
