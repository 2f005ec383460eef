"""The dashboard: what it reads, what it draws, and that a run that is going on can be looked at."""

import json
import time

import pytest

from service.dashboard import figures
from service.dashboard.app import main, new_dashboard
from service.dashboard.sources import FACTS, METRICS, facts_of, files_below, machine, measures, metrics_of
from service.settings import load_settings

FIGURE = {"value": 0.6, "low": 0.5, "high": 0.7, "reason": ""}
FACTS_OF = {
    "confusion": {
        "classes": ["Seizure", "Other"], "counts": [[8, 2], [1, 9]], "row_shares": [[0.8, 0.2], [0.1, 0.9]],
        "grave": [{"true": "Seizure", "predicted": "Other"}],
    },
    "curves": {"classes": [{"name": "Seizure", "roc": [[0, 0], [0.1, 0.8], [1, 1]]}]},
    "reliability": [
        {"confidence": None, "accuracy": None, "accuracy_low": None, "accuracy_high": None, "n_windows": 0},
        {"confidence": 0.7, "accuracy": 0.6, "accuracy_low": 0.4, "accuracy_high": 0.8, "n_windows": 20},
    ],
    "sites": {"encoder": [{"name": "a", "metrics": {"balanced_accuracy": FIGURE}}]},
    "models": {"encoder": {"metrics": {"balanced_accuracy": FIGURE | {"low": None, "high": None}}}},
}  # fmt: skip


@pytest.fixture
def runs(tmp_path):
    run = tmp_path / "runs" / "a"
    run.mkdir(parents=True)
    lines = [json.dumps({"step": i, "loss": 1 / i, "learning_rate": 1e-3, "note": "text"}) for i in range(1, 6)]
    (run / METRICS).write_text("\n".join(lines) + '\n{"step": 6, "lo')
    (run / FACTS).write_text(json.dumps(FACTS_OF))
    return tmp_path / "runs"


def test_a_run_that_goes_on_is_read_up_to_its_last_whole_line(runs):
    rows = metrics_of(runs, f"a/{METRICS}")
    assert [row["step"] for row in rows] == [1, 2, 3, 4, 5]
    assert "note" not in rows[0]
    with (runs / "a" / METRICS).open("a") as file:
        file.write('ss": 0.1}\n')
    assert metrics_of(runs, f"a/{METRICS}")[-1] == {"step": 6, "loss": 0.1}


def test_the_runs_of_a_study_are_shown_by_their_names(runs):
    folds = runs / "folds"
    folds.mkdir()
    for name in ("harbour.jsonl", "quarantine.jsonl"):
        (folds / name).write_text('{"step": 1, "loss": 0.5}\n')
    (folds / "harbour.html").write_text("<p>the page of the run</p>")
    assert sorted(files_below(runs, METRICS)) == [f"a/{METRICS}", "folds/harbour.jsonl"]
    assert metrics_of(runs, "folds/harbour.jsonl") == [{"step": 1, "loss": 0.5}]
    assert metrics_of(runs, "folds/quarantine.jsonl") == []  # no run: nothing draws it


def test_long_runs_are_thinned_and_keep_their_last_row(tmp_path):
    (tmp_path / METRICS).write_text("".join(json.dumps({"step": i, "loss": 1.0}) + "\n" for i in range(7001)))
    rows = metrics_of(tmp_path, METRICS)
    assert len(rows) <= 2001
    assert (rows[0]["step"], rows[-1]["step"]) == (0, 7000)


@pytest.mark.parametrize("name", ["../secret/metrics.jsonl", "/etc/passwd", "a/facts.json", "a", "a\0/metrics.jsonl"])
def test_only_runs_below_the_folder_are_read(runs, name):
    (runs.parent / "secret").mkdir()
    (runs.parent / "secret" / METRICS).write_text('{"step": 1}\n')
    assert metrics_of(runs, name) == []
    assert files_below(runs, METRICS) == [f"a/{METRICS}"]


def test_files_that_are_none(tmp_path):
    (tmp_path / FACTS).write_text("not json")
    assert facts_of(tmp_path, FACTS) == {}
    assert files_below(tmp_path / "nowhere", FACTS) == []


def test_charts_hold_the_reports_numbers(runs):
    facts = facts_of(runs, f"a/{FACTS}")
    matrix = figures.confusion(facts)
    assert matrix.data[0].z[0][1] == 0.2
    assert len(matrix.layout.shapes) == 1
    assert list(figures.roc(facts).data[0].y) == [0, 0.8, 1]
    assert list(figures.reliability(facts).data[0].error_y.array) == [pytest.approx(0.2)]
    assert list(figures.by_site(facts).data[0].y) == [0.6]
    assert list(figures.by_model(facts).data[0].error_y.array) == [0.0]
    course = figures.course(metrics_of(runs, f"a/{METRICS}"), ("loss", "nothing"), "Loss", "")
    assert [len(one.x) for one in course.data] == [5]


def test_without_facts_each_chart_names_the_reason():
    for chart in (figures.confusion, figures.roc, figures.reliability, figures.by_site, figures.by_model):
        assert "this report has n" in chart({}).layout.annotations[0].text


def test_the_page_and_its_callbacks(runs, tmp_path):
    settings = load_settings(None, [f"training.output={runs}", f"system.data={tmp_path}"], {})
    client = new_dashboard(settings).server.test_client()
    page = client.get("/").get_data(as_text=True)
    assert "https://" not in page
    layout = client.get("/_dash-layout").get_data(as_text=True)
    assert "Research use only" in layout
    assert client.get("/app").location == "http://127.0.0.1:8000/app"
    (training,) = [one for one in client.get("/_dash-dependencies").get_json() if "run-state" in one["output"]]
    names = ["loss", "rate", "accuracy", "speed", "memory", "cores"]
    outputs = [{"id": name, "property": "figure"} for name in names] + [{"id": "run-state", "property": "children"}]
    update = {
        "output": training["output"], "outputs": outputs, "changedPropIds": ["run.value"],
        "inputs": [{"id": "tick", "property": "n_intervals", "value": 1},
                   {"id": "run", "property": "value", "value": f"a/{METRICS}"}],
    }  # fmt: skip
    reply = client.post("/_dash-update-component", json=update)
    assert reply.status_code == 200, reply.get_data(as_text=True)[:500]
    drawn = reply.get_json()["response"]
    assert drawn["run-state"]["children"].startswith("Step 5, loss 0.2")
    assert drawn["loss"]["figure"]["data"][0]["name"] == "loss"
    names = [one["output"] for one in client.get("/_dash-dependencies").get_json()]
    assert any("system.children" in name for name in names)


def test_the_machine_and_a_server_that_is_not_there():
    here = machine()
    assert here.n_cores >= 1
    assert 0 < here.free_mb <= here.memory_mb
    began = time.monotonic()
    assert measures("http://127.0.0.1:9") == {}
    assert time.monotonic() - began < 4


def test_it_is_for_this_machine_alone(capsys, tmp_path):
    keys = tmp_path / "jwks.json"
    assert main(["--set", "deployment.profile=production", "--set", f"deployment.jwks={keys}"]) == 2
    assert "dev profile alone" in capsys.readouterr().err
