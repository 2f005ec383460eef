"""Bills of materials: valid by CycloneDX's own schema, complete, with licences that a hospital may run."""

import json
import re
from importlib import metadata
from pathlib import Path

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

from cerebeam.compliance.sbom import SERVER, SbomError, main, packages, requirements_of
from signals.files import file_sha256
from tests.small_bundle import write_small_bundle

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def server():
    return packages(requirements_of(SERVER))


def valid(path):
    text = path.read_text(encoding="utf-8")
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(text) is None
    return json.loads(text)


def test_the_servers_bill_has_every_package_that_is_required(server, tmp_path, capsys):
    assert main(["code", "--output", str(tmp_path / "code.json")]) == 0
    assert "without a stated licence: none" in capsys.readouterr().out
    bill = valid(tmp_path / "code.json")
    versions = {row["name"]: row["version"] for row in bill["components"]}
    assert versions == {name: metadata.version(name) for name in versions}
    # Whatever a package of the bill asks for stands in the bill too.
    edges = {row["ref"]: set(row.get("dependsOn", ())) for row in bill["dependencies"]}
    assert set(edges) - {"cerebeam"} == set(versions)
    assert set().union(*edges.values()) <= set(versions)
    assert {"onnxruntime", "fastapi", "starlette", "psycopg-binary", "cryptography"} <= set(versions)
    assert not set(versions) & {"torch", "apache-beam", "tensorflow", "tensorflow-cpu", "transformers", "triton"}


def test_the_bill_has_the_versions_that_are_pinned(server):
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pinned = {re.sub("[-_.]+", "-", line.split("==")[0].lower()): line.split("==")[1] for line in lines if "==" in line}
    assert {one.name for one in server} - set(pinned) == set()
    assert {one.name for one in server if pinned[one.name] != one.version} == set()


def test_no_licence_of_the_server_requires_its_source(server):
    # psycopg is under the LGPL, which asks nothing of who imports it unchanged.
    copyleft = [
        one for one in server if re.search(r"\bA?GPL|General Public", one.licence) and "LGPL" not in one.licence
    ]
    assert [(one.name, one.licence) for one in copyleft if "Lesser" not in one.licence] == []
    assert [one.name for one in server if not one.licence] == []


def test_a_bundles_bill_has_each_file_with_its_digest(tmp_path):
    bundle = write_small_bundle(tmp_path / "small")
    assert main(["bundle", str(bundle), "--output", str(tmp_path / "bundle.json")]) == 0
    bill = valid(tmp_path / "bundle.json")
    files = {row["name"]: row["hashes"][0]["content"] for row in bill["components"]}
    assert files == {path.name: file_sha256(path) for path in bundle.iterdir()}
    model = bill["metadata"]["component"]
    assert (model["type"], model["name"]) == ("machine-learning-model", "small")
    assert model["version"] == json.loads((bundle / "bundle.json").read_text())["digest"]


def test_bad_input_is_one_line(tmp_path, capsys):
    (tmp_path / "r.txt").write_text("# nothing\nno-such-package-of-ours\n")
    assert main(["code", "--requirements", str(tmp_path / "r.txt"), "--output", str(tmp_path / "x")]) == 2
    assert main(["code", "--requirements", str(tmp_path / "none"), "--output", str(tmp_path / "x")]) == 2
    assert main(["bundle", str(tmp_path), "--output", str(tmp_path / "x")]) == 2
    assert main(["code", "--requirements", str(tmp_path / "r.txt"), "--output", "/proc/x/y"]) == 2
    (tmp_path / "no.txt").write_text("<svg>\n")
    assert main(["code", "--requirements", str(tmp_path / "no.txt"), "--output", str(tmp_path / "x")]) == 2
    assert capsys.readouterr().err.count("\n") == 5
    assert not (tmp_path / "x").exists()
    for argv in (["bundle", "--output", "x"], ["code", "y", "--output", "x"]):
        with pytest.raises(SystemExit):
            main(argv)
    with pytest.raises(SbomError, match="not installed here"):
        packages(["no-such-package-of-ours"])
