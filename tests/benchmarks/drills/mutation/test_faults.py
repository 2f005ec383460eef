"""Which faults a line gives, and which are none."""

from pathlib import Path

import pytest

from benchmarks.drills.mutation.edits import KINDS
from benchmarks.drills.mutation.exclusions import Line, excluded_lines, stale
from benchmarks.drills.mutation.faults import candidates, changes, draw, room_candidates

ROOT = Path(__file__).parents[4]
# kind, a file, the lines that it becomes
CASES = [
    ("comparison", "y = a < b", {"y = a >= b"}),
    ("comparison", "y = a is not b", {"y = a is b"}),
    ("comparison", "y = (a) not in (b)", {"y = (a) in (b)"}),
    ("boundary", "y = n_left < n_right", {"y = n_left <= n_right"}),
    ("boundary", "y = start_s < stop_s", set()),
    ("boundary", "y = share > 0.5", set()),
    ("arithmetic", "y = a - b * c", {"y = a + b * c", "y = a - b / c"}),
    ("arithmetic", "y = a // 4", {"y = (-(-(a) // (4)))"}),
    ("arithmetic", "y += x", {"y -= x"}),
    ("constant", "y = f(2, 1)", {"y = f(3, 1)", "y = f(2, 2)", "y = f(2, 0)"}),
    ("constant", "y = f(True)", {"y = f(False)"}),
    ("constant", "y = [0.0, 2.5, 262_144]",
     {"y = [1.0, 2.5, 262_144]", "y = [0.0, 5.0, 262_144]", "y = [0.0, 2.5, 524288]"}),
    ("constant", "def f(x, *, n=3): return x", {"def f(x, *, n=4): return x"}),
    ("swapped", "y = f(a, b, a)", {"y = f(b, a, a)", "y = f(a, a, b)"}),
    ("swapped", "y = f(lo=a, hi=b)", {"y = f(lo=b, hi=a)"}),
    ("swapped", "y = max(a, b)", set()),
    ("swapped", "a, b = [], []", set()),
    ("swapped", "p = Parser(prog='a', description='b')", set()),
    ("swapped", "try:\n    f()\nexcept (KeyError, ValueError):\n    g()", set()),
    ("swapped", "y = x[i][j]", {"y = x[j][i]"}),
    ("swapped", "y = f'{µ} of {b}'", {"y = f'{b} of {µ}'"}),
    ("dropped", "x[2] = 5", {"pass"}),
    ("dropped", "x = x.strip()", {"pass"}),
    ("dropped", "x = 5", set()),
    ("dropped", "raise ValueError", {"pass"}),
    ("negated", "y = [x for x in z if x]", {"y = [x for x in z if (not (x))]"}),
    ("negated", "y = a if not b else c", {"y = a if b else c"}),
    ("boolean", "y = a and b and c", {"y = a or b and c", "y = a and b or c"}),
    ("opposite", "y = np.argmin(x.start)", {"y = np.argmax(x.start)", "y = np.argmin(x.stop)"}),
    ("opposite", "y = row['best']", {'y = row["worst"]'}),
    ("slice", "y = x[i:j]", {"y = x[(i) + 1:j]", "y = x[i:(j) - 1]"}),
    ("returned", "def f(x): return x.size > 3", {"def f(x): return not (x.size > 3)"}),
    ("keyword", "y = f(x, axis=1, out=z)", {"y = f(x, out=z)", "y = f(x, axis=1)"}),
    ("keyword", "y = f(axis=1)", {"y = f()"}),
    ("keyword", "y = open(x, encoding='utf-8')", set()),
    ("keyword", "y = zip(x, z, strict=True)", set()),
    ("keyword", "p.add_argument('-x', help='a number', default=n)", {"p.add_argument('-x', help='a number')"}),
    ("table", "y = {1: 2, 3: 4}", {"y = {3: 4}", "y = {1: 2}", "y = {1: 4, 3: 2}"}),
    ("table", "y = ('a', 'b')", {"y = ('b', 'a')"}),
    ("table", "y = x in ('a', 'b')", set()),
    ("table", "y = x not in ['a', 'b']", set()),
    ("table", "y = ((1, x), (2, z))", set()),
    ("table", "y = ((1, 2), (3, 4))", {"y = ((2, 1), (3, 4))", "y = ((1, 2), (4, 3))"}),
    ("table", "y = (5, 6, 7)", {"y = (6, 7)", "y = (5, 7)", "y = (5, 6)", "y = (6, 5, 7)", "y = (5, 7, 6)"}),
]  # fmt: skip


def becomes(text, kind=None):
    octets = text.encode()
    return [fault.lines(octets)[1] for fault in candidates("x.py", octets) if kind in {None, fault.kind} and changes(fault, octets)]  # noqa: E501  # fmt: skip


@pytest.mark.parametrize(("kind", "text", "expected"), CASES)
def test_a_kind_gives_these_faults(kind, text, expected):
    assert set(becomes(text, kind)) == expected


def test_every_kind_is_tried():
    assert {kind for kind, _, expected in CASES if expected} == set(KINDS)


@pytest.mark.parametrize(
    "text",
    [
        '"""A docstring with 3 numbers."""',
        "x: Annotated[int, 3]",
        "def f(x: tuple[3, 4]) -> Literal[1, 2]: ...",
        "from a import b",
        "if TYPE_CHECKING:\n    x = 3",
        "if __name__ == '__main__':\n    main(3)",
        "logger.info('%d of %d', 3, 4)",
        "def __repr__(self): return f'{self.x + 1}'",
        "class A:\n    x: int = field(repr=False)",
        "assert len(x) == 3, f'{x + 1}'",
        "@lru_cache(maxsize=3)\nclass A: pass",
        "y = 1e-12",
        "y = 'text'",
        "def f(x): return None",
        "def f(x): return ''",
    ],
)
def test_lines_that_run_no_code_or_change_nothing_are_left_alone(text):
    assert becomes(text) == []


def test_of_an_error_only_that_it_is_raised_counts():
    assert becomes("raise ValueError(f'{x + 1} of {y}')") == ["pass"]


def test_a_fault_that_compiles_to_the_same_program_is_none():
    # `not not x` in a condition, and a doubled zero.
    (fault,) = [fault for fault in candidates("x.py", b"y = 2 * 0") if fault.text == "3"]
    assert not changes(fault, b"y = 2 * 0")


@pytest.mark.parametrize("room", ["signals", "evaluation/report", "pipelines/report"])
def test_every_fault_is_one_line_of_a_real_file(room):
    files = {fault.path: (ROOT / fault.path).read_bytes() for fault in room_candidates(ROOT, room)}
    assert len(files) > 4
    for fault in room_candidates(ROOT, room)[::17]:
        octets = files[fault.path]
        before, after = fault.lines(octets)  # raises if the number of lines differs
        assert before != after or not before
        assert octets.splitlines()[fault.line - 1].strip()


def test_one_fault_a_line_and_all_kinds_alike(tmp_path):
    path = tmp_path / "room" / "x.py"
    path.parent.mkdir()
    # One comparison stands among ten constants on the second line: still every second draw takes one of two kinds.
    path.write_text("x = 5\ny = z == [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]\n")
    drawn = [list(draw(tmp_path, "room", seed=seed)) for seed in range(300)]
    assert {tuple(sorted(fault.line for fault in faults)) for faults in drawn} == {(1, 2)}
    kinds = [fault.kind for faults in drawn for fault in faults if fault.line == 2]
    # comparison, constant and table, a third each; 3.5 standard deviations of 300 draws are 29.
    assert all(71 <= kinds.count(kind) <= 129 for kind in ("comparison", "constant", "table"))


def test_an_excluded_line_is_not_drawn_and_must_still_be_there(tmp_path):
    path = tmp_path / "room" / "x.py"
    path.parent.mkdir()
    path.write_text("def f(x):\n    return x.argmin(1)\n")
    lines = [Line("room/x.py", "return x.argmin(1)", "one row only", after="return x.argmin(0)")]
    texts = {fault.text for seed in range(40) for fault in draw(tmp_path, "room", seed=seed, exclusions=lines)}
    assert texts == {"argmax", "2", "None"}
    assert list(draw(tmp_path, "room", seed=0, exclusions=[Line("room/x.py", "return x.argmin(1)", "why")])) == []
    assert stale(lines, tmp_path) == []
    path.write_text("def f(x):\n    return x.argmin(2)\n")
    assert "has no line 'return x.argmin(1)'" in stale(lines, tmp_path)[0]
    assert "gives no reason" in stale([Line("room/x.py", "def f(x):", " ")], tmp_path)[0]


def test_the_exclusions_of_the_project_still_match():
    assert stale(excluded_lines(ROOT), ROOT) == []
