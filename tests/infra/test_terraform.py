"""Terraform's own formatting, validation and tests with mocked providers; only where its binary and provider are."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from tests.infra.test_chart import KUBERNETES

FOLDER = Path(__file__).parents[2] / "infra" / "terraform"
MODULES = sorted(path.name for path in (FOLDER / "modules").iterdir())
TERRAFORM = shutil.which("terraform")
EXAMPLES = sorted(path.name for path in (FOLDER / "examples").iterdir())
MIRROR = os.environ.get("CEREBEAM_TERRAFORM_MIRROR", "")
"""Folder of providers (terraform providers mirror); without it terraform cannot begin offline."""
needs_terraform = pytest.mark.skipif(TERRAFORM is None, reason="no terraform")
needs_provider = pytest.mark.skipif(
    TERRAFORM is None or not MIRROR, reason="no terraform, or CEREBEAM_TERRAFORM_MIRROR names no mirror of its provider"
)


def run(folder, tmp_path, *args):
    config = tmp_path / "terraformrc"
    config.write_text(f'provider_installation {{\n  filesystem_mirror {{ path = "{MIRROR}" }}\n}}\n')
    environment = {**os.environ, "TF_CLI_CONFIG_FILE": str(config), "CHECKPOINT_DISABLE": "1"}
    result = subprocess.run(
        [TERRAFORM, *args], cwd=folder, env=environment, capture_output=True, text=True, timeout=300, check=False
    )
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


@needs_terraform
def test_everything_is_formatted(tmp_path):
    run(FOLDER, tmp_path, "fmt", "-check", "-recursive", "-diff")


@needs_provider
@pytest.mark.slow  # it starts a provider of 700 MB
@pytest.mark.parametrize("module", MODULES)
def test_modules_pass_their_tests(tmp_path, module):
    shutil.copytree(FOLDER / "modules", tmp_path / "modules")
    run(tmp_path / "modules" / module, tmp_path, "init", "-input=false", "-no-color")
    out = run(tmp_path / "modules" / module, tmp_path, "test", "-no-color")
    assert "0 failed" in out


@needs_provider
@pytest.mark.slow
@pytest.mark.parametrize("example", EXAMPLES)
def test_examples_are_valid(tmp_path, example):
    shutil.copytree(FOLDER.parent, tmp_path / "infra")
    folder = tmp_path / "infra" / "terraform" / "examples" / example
    run(folder, tmp_path, "init", "-input=false", "-no-color")
    run(folder, tmp_path, "validate", "-no-color")


def test_there_is_an_example_for_each_use():
    assert EXAMPLES == ["hospital", "pilot", "pretraining"]
    used = "".join((FOLDER / "examples" / name / "main.tf").read_text(encoding="utf-8") for name in EXAMPLES)
    assert all(f'"../../modules/{module}"' in used for module in MODULES)


def test_the_cluster_has_what_the_chart_looks_for():
    # Labels and taints of nodes are the chart's affinity and tolerations.
    cluster = (FOLDER / "modules" / "cluster" / "main.tf").read_text(encoding="utf-8")
    values = yaml.safe_load((FOLDER.parent / "helm" / "cerebeam" / "values.yaml").read_text(encoding="utf-8"))
    label = values["pretraining"]["spotLabel"]
    assert f'labels          = {{ "{label["key"]}" = each.key }}' in cluster
    assert label["value"] in re.findall(r"^    ([a-z-]+) +=", cluster.split("gpu_groups")[1], flags=re.M)
    assert 'key    = "nvidia.com/gpu"' in cluster
    variables = (FOLDER / "modules" / "cluster" / "variables.tf").read_text(encoding="utf-8")
    assert set(re.search(r"contains\(\[(.+?)\], var.kubernetes_version", variables)[1].replace('"', "").split(", ")) <= set(KUBERNETES)  # fmt: skip  # noqa: E501


@pytest.mark.parametrize("module", MODULES)
def test_each_rule_for_an_input_has_a_run_that_breaks_it(module):
    variables = (FOLDER / "modules" / module / "variables.tf").read_text(encoding="utf-8")
    [tests] = (FOLDER / "modules" / module / "tests").glob("*.tftest.hcl")
    n_rules = {
        re.match(r'"(\w+)"', block)[1]: block.count("validation {")
        for block in re.split(r"^variable ", variables, flags=re.M)[1:]
    }
    broken = re.findall(r"expect_failures = \[var\.(\w+)\]", tests.read_text(encoding="utf-8"))
    assert {name: broken.count(name) for name, n in n_rules.items() if n} == {k: n for k, n in n_rules.items() if n}
