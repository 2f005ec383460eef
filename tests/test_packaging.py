"""What an installation brings: by the requirements of setup.py, followed through those of the installed packages."""

import json
import re
import subprocess
import sys
import tarfile
import zipfile
from importlib.metadata import PackageNotFoundError, packages_distributions, requires
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from cerebeam.cli import BASE, EXTRAS

ROOT = Path(__file__).parents[1]
HEAVY = {
    "apache-beam",
    "torch",
    "transformers",
    "tensorflow-cpu",
    "fastapi",
    "sqlalchemy",
    "onnxruntime",
    "scikit-learn",
}


@pytest.fixture(scope="module")
def requirements():
    """Requirements by extra, "" for those of the base install."""
    code = "import json, setuptools, runpy; setuptools.setup = lambda **given: print(json.dumps({'': given['install_requires'], **given['extras_require']})); runpy.run_path('setup.py')"  # noqa: E501
    printed = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    return {extra: [Requirement(text) for text in texts] for extra, texts in json.loads(printed).items()}


def brought(wanted):
    """Return the names of all packages that requirements bring, in this environment's versions."""
    found, waiting = set(), [(canonicalize_name(one.name), frozenset(one.extras)) for one in wanted]
    seen = set()
    while waiting:
        name, extras = waiting.pop()
        if (name, extras) in seen:
            continue
        seen.add((name, extras))
        found.add(name)
        try:
            texts = requires(name) or []
        except PackageNotFoundError:
            continue
        for one in map(Requirement, texts):
            if one.marker is None or any(one.marker.evaluate({"extra": extra}) for extra in (*extras, "")):
                waiting.append((canonicalize_name(one.name), frozenset(one.extras)))
    return found


def test_a_library_that_is_missing_is_named_with_what_brings_it(requirements):
    modules = {}
    for module, names in packages_distributions().items():
        for name in names:
            modules.setdefault(canonicalize_name(name), set()).add(module)
    # protobuf's module is "google", which others share: it is missing with all the rest or not at all.
    base = {"google"} | BASE
    for extra in requirements.keys() - {"dev", "docs", "gcp", "tensorrt"}:  # tools, and what names its own extra
        wanted = base | EXTRAS.keys() if extra else base
        for one in requirements[extra]:
            found = modules.get(canonicalize_name(one.name), set())
            assert not found or found & wanted, f"{extra}: {one.name} gives {sorted(found)}"


@pytest.mark.parametrize(
    ("extra", "brings"),
    [
        ("", set()),
        ("serve", {"onnxruntime"}),
        ("beam", {"apache-beam"}),
        ("train", {"torch", "transformers", "onnxruntime", "scikit-learn"}),
        ("service", {"fastapi", "sqlalchemy", "onnxruntime"}),
        ("sites", set()),
        ("audit", set()),
        ("all", HEAVY - {"tensorflow-cpu"}),
    ],
)
def test_an_extra_brings_what_it_is_for_and_nothing_else_that_is_heavy(requirements, extra, brings):
    names = brought([*requirements[""], *(requirements[extra] if extra else [])])
    assert names & HEAVY == brings
    assert {"numpy", "scipy", "mne", "cramjam"} <= names


def test_the_walk_does_find_what_is_below(requirements):
    assert "pyarrow" in brought([Requirement("apache-beam[gcp]")])
    assert "google-cloud-storage" in brought([Requirement("apache-beam[gcp]")])
    assert "google-cloud-storage" not in brought([Requirement("apache-beam")])


def test_what_users_install_is_bounded_on_both_sides(requirements):
    calendar = {"fsspec"}  # it counts years
    for extra, wanted in requirements.items():
        if extra == "dev":
            continue
        for one in wanted:
            signs = {specifier.operator for specifier in one.specifier}
            assert "==" in signs or {">=", "<"} <= signs or one.name in calendar, f"{extra}: {one}"


def test_all_is_the_sum_of_the_others(requirements):
    everything = set(map(str, requirements["all"]))
    for extra in ("beam", "train", "serve", "service", "dashboard", "formats", "sites"):
        assert set(map(str, requirements[extra])) <= everything, extra


def test_wheel_and_sdist_build_with_what_the_code_reads(tmp_path):
    from benchmarks.benches.product.face import build

    wheel = build(tmp_path)
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    assert {"cerebeam/help/pages.json", "cerebeam/costs/prices.toml", "cerebeam/cli.py", "signals/version.py"} <= names
    assert any(name.startswith("service/viewer/static/") for name in names)
    assert not any(re.match(r"(tests|benchmarks|infra|docs)/", name) for name in names)
    with tarfile.open(next(tmp_path.glob("*.tar.gz"))) as archive:
        assert any(name.endswith("/cerebeam/help/pages.json") for name in archive.getnames())


def test_constraints_are_sorted_exact_versions():
    # Marks of a merge once stood in it, and pip refused the file.
    rows = [line for line in (ROOT / "constraints.txt").read_text().splitlines() if not line.startswith("#")]
    assert [row for row in rows if not re.fullmatch(r"[A-Za-z0-9._-]+==[\w.]+", row)] == []
    assert rows == sorted(rows, key=str.lower)
