"""A raw EDF to answers where torch, Beam and TensorFlow cannot be had."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
_FORBID = """
import sys
HEAVY = {"torch", "apache_beam", "tensorflow", "transformers", "torch_geometric", "onnx", "sklearn", "pandas"}

class Forbid:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in HEAVY:
            raise ImportError(f"{name} is not to be had here")

sys.meta_path.insert(0, Forbid())
from serving.predict import main
sys.exit(main(sys.argv[1:]))
"""


def check(result):
    assert result.returncode == 0, result.stderr
    (answer,) = (json.loads(line) for line in result.stdout.splitlines())
    assert (answer["start_s"], answer["stop_s"]) == (0.0, 50.0)
    assert sum(answer["class_probabilities"].values()) == pytest.approx(1.0)
    return answer


def test_answers_where_heavy_packages_are_forbidden(served):
    command = [sys.executable, "-c", _FORBID, str(served.bundle), str(served.edf), "--json"]
    answer = check(subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=120, check=False))
    assert len(answer["class_probabilities"]) == 6


def test_the_hook_does_forbid():
    code = _FORBID.replace("from serving.predict import main", "import torch")
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert "torch is not to be had here" in result.stderr


@pytest.mark.slow
def test_answers_in_a_clean_environment(served, tmp_path):
    uv = Path(sys.executable).parent / "uv"
    clean = tmp_path / "clean"
    python = clean / "bin" / "python"
    env = {**os.environ, "UV_FIND_LINKS": os.environ.get("PIP_FIND_LINKS", "")}
    env.pop("PYTHONPATH", None)
    source = tmp_path / "source"
    ignored = shutil.ignore_patterns(".venv", ".git", "build", "*.egg-info", "__pycache__")
    shutil.copytree(ROOT, source, ignore=ignored)
    needs = ["-c", str(ROOT / "constraints.txt"), "-r", str(ROOT / "serving" / "requirements.txt")]
    for command in (
        [uv, "venv", "-q", "--python", sys.executable, clean],
        [uv, "pip", "install", "-q", "--python", python, *needs],
        [uv, "pip", "install", "-q", "--python", python, "--no-deps", str(source)],
    ):
        subprocess.run([str(part) for part in command], env=env, check=True, timeout=300)
    heavy = "import torch", "import apache_beam"
    for line in heavy:
        gone = subprocess.run([str(python), "-c", line], env=env, cwd=tmp_path, capture_output=True, check=False)
        assert gone.returncode == 1, line
    command = [str(clean / "bin" / "cerebeam"), "predict", str(served.bundle), str(served.edf), "--json"]
    clean_answer = check(subprocess.run(command, capture_output=True, text=True, env=env, cwd=tmp_path, check=False))
    here = [sys.executable, "-m", "serving.predict", str(served.bundle), str(served.edf), "--json"]
    assert clean_answer == check(subprocess.run(here, capture_output=True, text=True, cwd=ROOT, check=False))
