"""The whole system, from files to records that outlive the server."""

import httpx
import pytest

from cerebeam.run import main
from tests.service.live import start


@pytest.mark.slow
def test_the_whole_system(tmp_path, things, capsys):
    """Files, shards, training, report, bundle, registry, API, an answer, a restart: the records are there."""
    out, uri = tmp_path / "out", f"sqlite:///{tmp_path / 'mlflow.db'}"
    options = ["--quick", "--skip-download", "--no-serve", "--output", str(out), "--registry", uri]
    assert main(options) == 0
    assert (out / "report" / "report.html").is_file()
    live = start(tmp_path, [out / "bundle"])
    reply = httpx.post(f"{live.url}/predict", json={"eeg_data": things.array.tolist()}, timeout=30)
    assert sum(reply.json()["class_probabilities"].values()) == pytest.approx(1)
    job = httpx.post(f"{live.url}/jobs?name=a.edf", content=things.edf.read_bytes(), timeout=30).json()
    assert httpx.get(f"{live.url}/jobs/{job['id']}?wait_s=30", timeout=40).json()["state"] == "done"
    answers = httpx.get(f"{live.url}/jobs/{job['id']}/answers").json()
    assert live.end() == 0
    again = start(tmp_path, [out / "bundle"])
    assert httpx.get(f"{again.url}/jobs/{job['id']}/answers").json() == answers
    assert again.end() == 0
    capsys.readouterr()
    assert main(options) == 0  # everything was done before
    assert capsys.readouterr().out.count("done before") >= 6
