"""Two nodes of two processes each: two torchrun agents that meet on one machine."""

import os
import re
import shlex
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import kubernetes_validate
import numpy as np
import pytest
import yaml

from training import pretrain

INFRA = Path(__file__).parents[2] / "infra" / "multinode"
KUBERNETES = ("1.31", "1.33")
TORCHRUN_OPTIONS = {"--nnodes", "--nproc-per-node", "--max-restarts", "--rdzv-id", "--rdzv-backend", "--rdzv-endpoint"}


def names(arguments: list[str]) -> set[str]:
    """Return the options before -m."""
    return {argument.split("=")[0] for argument in arguments[: arguments.index("-m")]}


def test_the_examples_start_agents_alike() -> None:
    documents = list(yaml.safe_load_all((INFRA / "train.yaml").read_text()))
    service, job = documents
    (container,) = job["spec"]["template"]["spec"]["containers"]
    assert names(container["args"]) == TORCHRUN_OPTIONS
    assert container["command"] == ["python", "-m", "torch.distributed.run"]
    # A pod of an indexed job is found as <job>-<index>.<subdomain>, where a headless service has that name.
    host = next(a for a in container["args"] if a.startswith("--rdzv-endpoint")).split("=")[1].split(":")[0]
    job_name, subdomain = job["metadata"]["name"], job["spec"]["template"]["spec"]["subdomain"]
    assert host == f"{job_name}-0.{subdomain}"
    assert service["metadata"]["name"] == subdomain
    assert service["spec"]["clusterIP"] == "None" or service["spec"]["clusterIP"] is None
    assert service["spec"]["selector"] == {"job-name": job_name}
    script = (INFRA / "train.sbatch").read_text()
    (command,) = re.findall(r"srun .*?\|\|", script.replace("\\\n", " "), re.S)
    arguments = shlex.split(command)
    start = arguments.index("torch.distributed.run") + 1
    assert names(arguments[start:]) == TORCHRUN_OPTIONS
    assert subprocess.run(["bash", "-n", str(INFRA / "train.sbatch")], check=False).returncode == 0


@pytest.mark.parametrize("version", KUBERNETES)
def test_the_job_fits_the_schemas_of_kubernetes(version: str) -> None:
    documents = list(yaml.safe_load_all((INFRA / "train.yaml").read_text()))
    for document in documents:
        kubernetes_validate.validate(document, version, strict=True)
    job = documents[1]
    job["spec"]["completion"] = job["spec"].pop("completions")  # the schemas are strict: a slip of the pen is noticed
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(job, version, strict=True)


def test_slurm_gives_the_run_time_to_save_and_one_agent_to_a_node() -> None:
    script = (INFRA / "train.sbatch").read_text()
    options = dict(re.findall(r"^#SBATCH --([\w-]+)=?(\S*)$", script, re.M))
    assert options["ntasks-per-node"] == "1"
    name, seconds = options["signal"].split("@")
    assert name == "TERM"
    assert int(seconds) >= 60  # docs/benchmarks.md: the slowest exit of the drill is below 5 s
    assert {"requeue", "open-mode"} <= set(options)


def test_two_agents_take_the_steps_of_one_process(
    toy_shards: Path, tmp_path: Path, metrics_of: Callable[[Path], list[dict[str, float]]]
) -> None:
    more = [
        "--tiny", "--schedule.steps", "3", "--model.dim", "32", "--model.depth", "1", "--model.stem-dim", "32",
        "--track.evaluate-windows", "1", "--shards", str(toy_shards), "--output",
    ]  # fmt: skip
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [
        sys.executable, "-m", "torch.distributed.run", "--nnodes=2", "--nproc-per-node=2", "--max-restarts=1",
        "--rdzv-id=test", "--rdzv-backend=c10d", f"--rdzv-endpoint=127.0.0.1:{port}", "-m", "training.pretrain",
        *more, str(tmp_path / "four"),
    ]  # fmt: skip
    agents = [
        subprocess.Popen(
            command, env={**os.environ, "OMP_NUM_THREADS": "1"}, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
        for _ in range(2)
    ]
    try:
        outputs = [agent.communicate(timeout=300)[0].decode() for agent in agents]
    finally:
        for agent in agents:
            agent.kill()
    assert [agent.returncode for agent in agents] == [0, 0], "\n".join(outputs)
    pretrain.main([*more, str(tmp_path / "one")])
    one, four = (metrics_of(tmp_path / name) for name in ("one", "four"))
    assert [line["order_crc"] for line in four] == [line["order_crc"] for line in one]
    np.testing.assert_allclose([line["loss"] for line in four], [line["loss"] for line in one], rtol=1e-4)
