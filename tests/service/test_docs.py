"""The curl lines of docs/service.md, run as they stand."""

import json
import re
import shutil
import subprocess

import pytest

from tests.service.live import ROOT, start


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
def test_the_lines_of_the_page_work(things, tmp_path):
    page = (ROOT / "docs" / "service.md").read_text(encoding="utf-8")
    lines = re.search(r"```sh\n(.*?)```", page, re.S)[1].strip().splitlines()
    assert len(lines) == 8
    shutil.copy(things.edf, tmp_path / "segment.edf")
    (tmp_path / "segment.json").write_text(json.dumps({"eeg_data": things.array.tolist()}))
    live, job_id, replies = start(tmp_path, [things.bundle]), "", []
    for line in lines:
        command = line.replace("localhost:8000", f"127.0.0.1:{live.port}").replace("ID", job_id)
        run = subprocess.run(command, shell=True, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=True)
        replies.append(run.stdout)
        if "/jobs?" in line:
            job_id = json.loads(run.stdout)["id"]
    assert json.loads(replies[0]) == {"status": "live"}
    assert json.loads(replies[2])["predicted_class"]
    assert json.loads(replies[4])["state"] == "done"
    head, row = replies[5].strip().splitlines()
    assert head.startswith("start_s,stop_s")
    assert row.startswith("0.0,50.0")
    assert "cerebeam_requests_total" in replies[7]
    assert live.end() == 0
