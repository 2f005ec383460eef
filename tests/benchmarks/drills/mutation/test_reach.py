"""Which tests run for a fault, and in which order."""

from benchmarks.drills.mutation.faults import MODULE, Fault
from benchmarks.drills.mutation.reach import Reach, imports, mirrors, select

SECONDS = {
    "tests/a/test_slow.py::test_1": 9.0, "tests/a/test_x.py::test_1": 2.0, "tests/a/test_x.py::test_2": 1.0,
    "tests/a/test_quick.py::test_1": 0.1, "tests/a/test_quick.py::test_2": 0.2, "tests/a/test_none.py::test_1": 0.1,
}  # fmt: skip
ENTERED = {"a/x.py": {4: [t for t in SECONDS if "none" not in t and "x.py::test_1" not in t], 9: []},
           "a/y.py": {2: ["tests/a/test_slow.py::test_1"]}}  # fmt: skip


def chosen(function, *, path="a/x.py", importers=(), elsewhere=()):
    fault = Fault(path, 5, "constant", 0, 1, "2", function)
    mirror = ["tests/a/test_x.py"]
    return select(fault, Reach(SECONDS, ENTERED), mirror=mirror, importers=importers, elsewhere=elsewhere).groups


def test_mirror_first_then_the_quickest_file():
    assert chosen(4) == (
        ("tests/a/test_x.py::test_2",),
        ("tests/a/test_quick.py::test_1", "tests/a/test_quick.py::test_2", "tests/a/test_slow.py::test_1"),
    )


def test_a_line_that_runs_at_import_concerns_the_mirror_the_file_and_its_importers():
    mirror, rest = chosen(MODULE, importers=["a/y.py", "tests/a/test_none.py"])
    assert mirror == ("tests/a/test_x.py::test_1", "tests/a/test_x.py::test_2")
    assert set(rest) == {test for test in SECONDS if "test_x.py" not in test}
    # So does a function that is called at import only: the tracer notes it without a test.
    assert chosen(9, importers=["a/y.py", "tests/a/test_none.py"]) == (mirror, rest)


def test_only_what_no_test_of_the_room_enters_is_tried_elsewhere():
    assert chosen(7, elsewhere=["tests/b/test_z.py"]) == (("tests/b/test_z.py",),)
    assert chosen(4, elsewhere=["tests/b/test_z.py"]) == chosen(4)
    assert chosen(7) == ()


def test_imports_are_of_files_and_mirrors_of_places(tmp_path):
    both = "from a import x\nfrom a.z import f\n"
    files = {"a/x.py": "", "a/z.py": "import a.x\n", "tests/a/test_x.py": both, "tests/b/test_x.py": "import os\n"}
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    found = imports(tmp_path)
    assert found["tests/a/test_x.py"] == {"a/x.py", "a/z.py"}
    assert (found["a/z.py"], found["tests/b/test_x.py"]) == ({"a/x.py"}, set())
    assert mirrors(tmp_path, "a/x.py") == ["tests/a/test_x.py"]
    assert mirrors(tmp_path, "a/z.py") == []
