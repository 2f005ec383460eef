"""Rules and dashboards: every metric exists, promtool agrees, and a real alert goes the whole way."""

import http.server
import json
import os
import re
import shutil
import subprocess
import threading
import time

import httpx
import pytest
import yaml

from service.monitoring.boards import (
    FOLDER,
    BoardError,
    dangling,
    metrics_of,
    read_board,
    read_boards,
    rule_expressions,
    series_of,
)
from service.monitoring.page import main as draw_boards
from service.web.metrics import LEFT, Metrics, left_text
from tests.service.live import free_port, start

DRIFT = """# HELP cerebeam_drift_found 1 where the fact has drifted
# TYPE cerebeam_drift_found gauge
cerebeam_drift_found{site="north",fact="mains_hz"} 1
cerebeam_drift_found{site="north",fact="rate_hz"} 0
# TYPE cerebeam_drift_psi gauge
cerebeam_drift_psi{site="north",fact="mains_hz"} 2.5
# TYPE cerebeam_drift_p_value gauge
cerebeam_drift_p_value{site="north",fact="mains_hz"} 1e-09
# TYPE cerebeam_drift_recordings gauge
cerebeam_drift_recordings{site="north"} 21
# TYPE cerebeam_drift_compared_seconds gauge
cerebeam_drift_compared_seconds 1700000000
"""
"""As `evaluation.drift.exposition` writes it: a test of tests/cerebeam holds the two against each other."""
TOOLS = ("prometheus", "promtool", "prometheus-alertmanager", "amtool")
needs_tools = pytest.mark.skipif(
    not all(map(shutil.which, TOOLS)), reason="Prometheus or Alertmanager is not installed"
)


def known_series(folder):
    """Every series that a server hands out, that a command leaves for it, that rules record, and Prometheus' own."""
    (folder / LEFT).mkdir()
    (folder / LEFT / "drift.prom").write_text(DRIFT)
    families = [(f.name, f.type) for f in Metrics().registry.collect()]
    families += [(name, "gauge") for name in re.findall(r"^# TYPE (\w+)", left_text(folder).decode(), re.M)]
    return series_of(families) | {name for name in rule_expressions() if ":" in name} | {"up", "ALERTS"}


def test_every_query_and_rule_names_metrics_that_exist(tmp_path):
    known = known_series(tmp_path)
    queries = [query.expr for board in read_boards() for panel in board.panels for query in panel.queries]
    assert len(queries) >= 15
    assert dangling(queries, known) == []
    assert dangling(rule_expressions().values(), known) == []
    # A record that nothing reads is computed for nobody.
    read = set().union(*map(metrics_of, [*queries, *rule_expressions().values()]))
    assert {name for name in rule_expressions() if ":" in name} <= read


@pytest.mark.parametrize(
    "expr",
    ["sum(cerebeam_request_total)", "cerebeam_requests_bucket", "route:cerebeam_requests:rate5m", "vector(1)",
     'rate(cerebeam_requests_total{code="cerebeam_jobs"}[5m]) / cerebeam_nothing'],
)  # fmt: skip
def test_a_query_of_no_metric_is_noticed(tmp_path, expr):
    assert dangling([expr], known_series(tmp_path)) == [expr]


def test_names_in_texts_are_no_metrics():
    assert metrics_of('sum by (code) (up{a="cerebeam_b"}) + site:cerebeam_drift:facts') == {
        "up", "site:cerebeam_drift:facts",
    }  # fmt: skip


def test_dashboards_are_provisioned_to_where_compose_puts_them():
    compose = yaml.safe_load((FOLDER.parents[1] / "docker-compose.yml").read_text())["services"]["grafana"]
    mounted = {volume.split(":")[1]: volume.split(":")[0] for volume in compose["volumes"]}
    provisioning = FOLDER / "grafana" / "provisioning"
    (provider,) = yaml.safe_load((provisioning / "dashboards" / "cerebeam.yml").read_text())["providers"]
    assert mounted[provider["options"]["path"]] == "./infra/monitoring/grafana/dashboards"
    assert mounted["/etc/grafana/provisioning"] == "./infra/monitoring/grafana/provisioning"
    (source,) = yaml.safe_load((provisioning / "datasources" / "prometheus.yml").read_text())["datasources"]
    assert compose["ports"] == ["127.0.0.1:3001:3000"]
    uids = set()
    for path in (FOLDER / "grafana" / "dashboards").glob("*.json"):
        fields = json.loads(path.read_text())
        uids.add(fields["uid"])
        assert {panel["datasource"]["uid"] for panel in fields["panels"]} == {source["uid"]}
        places = [(p["gridPos"]["x"], p["gridPos"]["y"]) for p in fields["panels"]]
        assert len(set(places)) == len(places)
    assert len(uids) == 2


def test_a_dashboard_that_is_none_is_one_line(tmp_path):
    (tmp_path / "a.json").write_text('{"panels": [{}]}')
    with pytest.raises(BoardError, match=r"a\.json is no dashboard"):
        read_board(tmp_path / "a.json")


@pytest.mark.parametrize(
    "text",
    ["cerebeam_drift_found{", "cerebeam_requests_total 5\n", "up 1\n", "", "\xff\n" * 5, DRIFT + "x 1\n",
     "cerebeam_drift_found 1\n" * 60_000],
)  # fmt: skip
def test_a_bad_file_of_a_command_costs_no_other_measure(tmp_path, text):
    (tmp_path / LEFT).mkdir()
    (tmp_path / LEFT / "bad.prom").write_text(text, encoding="latin-1")
    assert left_text(tmp_path) == b""
    (tmp_path / LEFT / "good.prom").write_text(DRIFT)
    assert left_text(tmp_path) == DRIFT.encode()


@needs_tools
def test_promtool_and_amtool_take_every_file():
    for command in (
        ["promtool", "check", "config", "prometheus.yml"],
        ["promtool", "check", "rules", "alerts.yml", "drift.yml", "recording.yml"],
        ["promtool", "test", "rules", "rules_test.yml"],
        ["amtool", "check-config", "alertmanager.yml"],
    ):
        done = subprocess.run(command, cwd=FOLDER, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, done.stdout + done.stderr


class Hook(http.server.BaseHTTPRequestHandler):
    """Keeps what Alertmanager posts."""

    def do_POST(self):
        self.server.posted.append(json.loads(self.rfile.read(int(self.headers["content-length"]))))
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_):
        pass


@pytest.fixture
def hook():
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Hook)
    server.posted = []
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture
def watched(things, hook, tmp_path):
    """A real server, a real Prometheus and a real Alertmanager with this project's files; their places alone differ."""
    ports = {name: free_port() for name in ("prometheus", "alertmanager")}
    live = start(tmp_path, [things.bundle])
    config = yaml.safe_load((FOLDER / "prometheus.yml").read_text())
    config["global"] = {"scrape_interval": "1s", "evaluation_interval": "1s"}
    config["rule_files"] = [str(FOLDER / name) for name in config["rule_files"]]
    config["alerting"]["alertmanagers"][0]["static_configs"] = [{"targets": [f"127.0.0.1:{ports['alertmanager']}"]}]
    config["scrape_configs"][0]["static_configs"] = [{"targets": [f"127.0.0.1:{live.port}"]}]
    (tmp_path / "prometheus.yml").write_text(yaml.safe_dump(config))
    alerts = yaml.safe_load((FOLDER / "alertmanager.yml").read_text())
    alerts["route"] |= {"group_wait": "0s", "group_interval": "1s"}
    for receiver in alerts["receivers"]:
        url = f"http://127.0.0.1:{hook.server_port}/{receiver['name']}"
        receiver["webhook_configs"] = [{"url": url}]
    (tmp_path / "alertmanager.yml").write_text(yaml.safe_dump(alerts))
    commands = (
        ["prometheus", f"--config.file={tmp_path / 'prometheus.yml'}", f"--storage.tsdb.path={tmp_path / 'tsdb'}",
         f"--web.listen-address=127.0.0.1:{ports['prometheus']}"],
        ["prometheus-alertmanager", f"--config.file={tmp_path / 'alertmanager.yml'}",
         f"--storage.path={tmp_path / 'alerts'}", f"--web.listen-address=127.0.0.1:{ports['alertmanager']}",
         "--cluster.listen-address="],
    )  # fmt: skip
    with (tmp_path / "watch.log").open("ab") as log:
        running = [subprocess.Popen(command, stdout=log, stderr=log, env=os.environ) for command in commands]
    yield live, f"http://127.0.0.1:{ports['prometheus']}"
    for one in running:
        one.kill()
        one.wait()
    live.end()


def until(what, seconds=240):
    end = time.monotonic() + seconds
    while not (found := what()):
        assert time.monotonic() < end
        time.sleep(0.2)
    return found


@pytest.mark.slow  # three servers are started
@needs_tools
def test_a_real_alert_reaches_a_webhook_and_every_query_is_answered(watched, hook, things, tmp_path):
    live, prometheus = watched
    (tmp_path / "var" / LEFT).mkdir(parents=True, exist_ok=True)
    (tmp_path / "var" / LEFT / "drift.prom").write_text(DRIFT)
    body = {"eeg_data": things.array.tolist()}
    for _ in range(3):
        httpx.post(f"{live.url}/predict", json=body, timeout=60)
    until(lambda: {post["receiver"] for post in hook.posted} & {"tickets"})
    fired = {(a["labels"]["alertname"], a["labels"].get("fact")) for post in hook.posted for a in post["alerts"]}
    assert ("DriftFound", "mains_hz") in fired
    assert ("DriftFound", "rate_hz") not in fired
    (one,) = {a["annotations"]["summary"] for p in hook.posted for a in p["alerts"]
              if a["labels"]["alertname"] == "DriftFound"}  # fmt: skip
    assert one == "mains_hz of site north is not what the model was trained on."
    # What Prometheus scraped of the real server has every metric that a dashboard names, but the two whose events this
    # test does not make. A rate has no value before its second scrape.
    queries = [query.expr for board in read_boards() for panel in board.panels for query in panel.queries]
    wanted = set().union(*map(metrics_of, queries)) - {"cerebeam_shadow_windows_total", "code:cerebeam_refusals:rate5m"}
    until(lambda: wanted <= _scraped(prometheus))
    output = tmp_path / "boards.html"
    assert draw_boards(["--prometheus", prometheus, "--output", str(output), "--minutes", "1"]) == 0
    html = output.read_text()
    assert html.count("<figure>") == sum(len(board.panels) for board in read_boards())
    assert "north mains_hz" in html
    assert 'class="error"' not in html
    # And where it goes away, somebody is called: within a minute by the rule, seen here as pending.
    live.kill()
    until(lambda: _state(prometheus, "ServiceDown") in ("pending", "firing"))
    assert draw_boards(["--prometheus", "http://127.0.0.1:1", "--output", str(tmp_path / "none.html")]) == 2
    assert not (tmp_path / "none.html").exists()


def _scraped(prometheus):
    return set(httpx.get(f"{prometheus}/api/v1/label/__name__/values", timeout=10).json()["data"])


def _state(prometheus, name):
    alerts = httpx.get(f"{prometheus}/api/v1/alerts", timeout=10).json()["data"]["alerts"]
    return next((alert["state"] for alert in alerts if alert["labels"]["alertname"] == name), None)
