"""Terraform's own formatting, validation and tests with mocked providers; only where its binary and provider are."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[2] / "infra" / "terraform"
MODULES = sorted(path.name for path in (FOLDER / "modules").iterdir())
TERRAFORM = shutil.which("terraform")
MIRROR = Path(os.environ.get("CEREBEAM_TERRAFORM_MIRROR", "/opt/tf-plugins"))
needs_terraform = pytest.mark.skipif(
    TERRAFORM is None or not MIRROR.is_dir(), reason="no terraform, or no mirror of the aws provider"
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


@needs_terraform
@pytest.mark.slow  # it starts a provider of 700 MB
@pytest.mark.parametrize("module", MODULES)
def test_modules_pass_their_tests(tmp_path, module):
    shutil.copytree(FOLDER / "modules", tmp_path / "modules")
    run(tmp_path / "modules" / module, tmp_path, "init", "-input=false", "-no-color")
    out = run(tmp_path / "modules" / module, tmp_path, "test", "-no-color")
    assert "0 failed" in out


@needs_terraform
@pytest.mark.slow
def test_the_pilot_is_valid(tmp_path):
    shutil.copytree(FOLDER, tmp_path / "terraform")
    run(tmp_path / "terraform" / "examples" / "pilot", tmp_path, "init", "-input=false", "-no-color")
    run(tmp_path / "terraform" / "examples" / "pilot", tmp_path, "validate", "-no-color")


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
