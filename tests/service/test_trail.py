"""Every access is a row of the audit log before its answer leaves; tickets open sockets once."""

import errno
import json
import os
import signal
import subprocess
import sys

import httpx
import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from audit.chain import AuditError, parse_row
from audit.keys import load_chain_key, load_public_key
from audit.log import AuditLog
from audit.verification import verify
from service.refusals import Refusal
from service.security.tickets import LIFETIME_S, Tickets
from service.security.tokens import ANYONE, Caller
from service.security.trail import open_trail
from service.settings import System
from tests.service.awaiting import awaited
from tests.service.live import ROOT, start
from tests.service.test_gate import call, keys, token  # noqa: F401


def rows_of(data):
    (log,) = (data / "audit").glob("*.log")
    assert verify(log, load_chain_key(data / "audit" / "keys" / "chain.key")).problems == ()
    return [json.loads(parse_row(line)[2]) for line in log.read_bytes().splitlines(keepends=True)]


def test_each_access_is_a_row_of_who_what_and_what_came_of_it(serve, keys, things, tmp_path):  # noqa: F811
    server, client = serve("deployment.profile=production", f"deployment.jwks={keys[1]}")
    job = call(client, "POST", "/jobs?name=x.edf", "reader", keys, content=things.edf.read_bytes()).json()
    call(client, "GET", f"/jobs/{job['id']}", "operator", keys)
    call(client, "POST", "/predict", "reader", keys, content=b"Miller Ann")
    call(client, "GET", "/models")
    call(client, "GET", "/health")
    server.trail.close()
    rows = [
        (row["actor"], row["role"], row["action"], row["resource"], row["outcome"]) for row in rows_of(tmp_path / "var")
    ]
    assert rows[1:] == [
        ("Miller", "reader", "POST", f"/jobs job={job['id']}", "202"),
        ("Miller", "operator", "GET", f"/jobs/{{job_id}} job={job['id']}", "200"),
        ("Miller", "reader", "POST", "/predict", "400 invalid_json"),
        ("-", "reader", "GET", "unmatched", "401 unauthorised"),
    ]
    assert "Ann" not in json.dumps(rows)


def test_no_answer_leaves_without_its_row(serve, things, monkeypatch):
    server, client = serve()
    body = {"eeg_data": things.array.tolist()}
    assert call(client, "POST", "/predict", json=body).status_code == 200

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("audit.log.os.write", full)
    reply = call(client, "POST", "/predict", json=body)  # admitted, computed, and not given out
    assert (reply.status_code, reply.json()["code"]) == (503, "audit_unavailable")
    assert "predicted_class" not in reply.text
    monkeypatch.undo()
    for method, path in (("POST", "/predict"), ("GET", "/jobs"), ("POST", "/jobs?name=a.edf")):
        reply = call(client, method, path)
        assert (reply.status_code, reply.json()["code"]) == (503, "audit_unavailable")
    assert call(client, "GET", "/health").status_code == 200
    assert call(client, "GET", "/ready").json()["code"] == "audit_unavailable"
    assert server.trail.ended


def test_an_answer_waits_for_the_disk(serve, monkeypatch):
    """The row is there when the answer is, and not only some time later."""
    _, client = serve()
    order, submit = [], AuditLog.submit
    fdatasync = os.fdatasync
    monkeypatch.setattr("audit.log.os.fdatasync", lambda fd: (fdatasync(fd), order.append("disk")))
    monkeypatch.setattr(AuditLog, "submit", lambda log, event: (order.append("row"), submit(log, event))[1])
    for _ in range(20):
        assert call(client, "GET", "/models").status_code == 200
        order.append("answer")
    assert order == ["row", "disk", "answer"] * 20


def test_rows_survive_kill_9_and_a_second_server_is_refused(things, tmp_path):
    live = start(tmp_path, [things.bundle])
    ids = [httpx.get(f"{live.url}/models").headers["x-request-id"] for _ in range(5)]
    command = [
        sys.executable,
        "-m",
        "service.serve",
        str(things.bundle),
        "--data",
        str(tmp_path / "var"),
        "--port",
        "1",
    ]
    second = subprocess.run(command, capture_output=True, text=True, timeout=60, cwd=tmp_path, check=False,
                            env=os.environ | {"PYTHONPATH": str(ROOT)})  # fmt: skip
    assert (second.returncode, second.stderr.count("\n")) == (2, 1)
    assert "is being written by another process" in second.stderr
    os.kill(live.process.pid, signal.SIGKILL)
    live.process.wait()
    written = [row["request"] for row in rows_of(tmp_path / "var")]
    assert [one for one in written if one in ids] == ids


def test_checkpoints_go_to_a_sink_and_foreign_keys_are_one_line(tmp_path):
    trail = open_trail(System(data=tmp_path, audit_sink=tmp_path / "sink"))
    trail.close()
    (log,), (sink,) = (tmp_path / "audit").glob("*.log"), (tmp_path / "sink").iterdir()
    folder = tmp_path / "audit" / "keys"
    found = verify(log, load_chain_key(folder / "chain.key"), checkpoints=sink,
                   public_key=load_public_key(folder / "public.pem"))  # fmt: skip
    assert (found.problems, found.n_checkpoints) == ((), 1)
    with pytest.raises(AuditError) as error:
        open_trail(System(data=tmp_path, audit_keys=tmp_path / "none"))
    assert "\n" not in str(error.value)


def test_a_ticket_is_used_once_and_not_for_long():
    now = [0.0]
    tickets = Tickets(clock=lambda: now[0])
    one, late = tickets.new(ANYONE), tickets.new(Caller("a", "reader"))
    assert one != late
    assert tickets.take(one) == ANYONE
    now[0] = LIFETIME_S - 0.01
    assert tickets.take(late).subject == "a"
    late = tickets.new(ANYONE)
    now[0] += LIFETIME_S
    for bad in (one, late, "", "x" * 10_000, "\ud800"):
        with pytest.raises(Refusal) as refused:
            tickets.take(bad)
        assert refused.value.status == 401


def test_one_caller_cannot_take_all_tickets():
    now = [0.0]
    tickets = Tickets(clock=lambda: now[0])

    def hoard():
        for _ in range(1000):
            tickets.new(Caller("greedy", "reader"))

    with pytest.raises(Refusal) as refused:
        hoard()
    assert refused.value.status == 429
    assert tickets.take(tickets.new(ANYONE)) == ANYONE
    now[0] = LIFETIME_S
    assert tickets.new(Caller("greedy", "reader"))


@pytest.fixture(scope="module")
def live(things, keys, tmp_path_factory):  # noqa: F811
    one = start(tmp_path_factory.mktemp("live"), [things.bundle], "deployment.profile=production",
                f"deployment.jwks={keys[1]}", "deployment.cors_origins=['https://viewer.example.org']")  # fmt: skip
    yield one
    assert one.end() == 0


def call_live(live, keys, method, path, *, subject="Miller", **options):  # noqa: F811
    headers = {"authorization": f"Bearer {token(keys, sub=subject)}"}
    return httpx.request(method, f"{live.url}{path}", headers=headers, timeout=30, **options)


def socket_to(live, job_id, ticket, **options):
    return connect(f"ws://127.0.0.1:{live.port}/jobs/{job_id}/progress?ticket={ticket}", **options)


def test_a_socket_shows_a_job_to_its_end(live, keys, things):  # noqa: F811
    assert call_live(live, keys, "POST", "/tickets").status_code == 201
    job = call_live(live, keys, "POST", "/jobs?name=a.edf", content=things.edf.read_bytes()).json()
    ticket = call_live(live, keys, "POST", "/tickets").json()["ticket"]
    with socket_to(live, job["id"], ticket) as socket:
        states = [json.loads(message) for message in socket]
    assert states[-1]["state"] == "done"
    assert {one["id"] for one in states} == {job["id"]}
    assert socket.close_code == 1000
    refused = {
        "used": ({"ticket": ticket}, 401),
        "none": ({"ticket": ""}, 401),
        "a token": ({"ticket": token(keys)}, 401),
    }
    for what, (given, status) in refused.items():
        with pytest.raises(InvalidStatus) as error, socket_to(live, job["id"], **given):
            pass
        assert error.value.response.status_code == status, what
        assert json.loads(error.value.response.body)["code"] == "unauthorised"
    lines = live.log.read_text()
    assert ticket not in lines
    assert "Miller" not in lines


def test_a_page_of_another_origin_and_somebody_elses_job_are_refused(live, keys, things):  # noqa: F811
    job = call_live(live, keys, "POST", "/jobs?name=a.edf", content=things.edf.read_bytes()).json()
    for origin, opens in (
        ("https://evil.example.org", False), ("null", False), (f"http://127.0.0.1:{live.port}", True),
        ("https://viewer.example.org", True),
    ):  # fmt: skip
        ticket = call_live(live, keys, "POST", "/tickets").json()["ticket"]
        if opens:
            with socket_to(live, job["id"], ticket, origin=origin) as socket:
                assert json.loads(socket.recv())["id"] == job["id"]
            continue
        with pytest.raises(InvalidStatus) as error, socket_to(live, job["id"], ticket, origin=origin):
            pass
        assert error.value.response.status_code == 403
    ticket = call_live(live, keys, "POST", "/tickets", subject="Other").json()["ticket"]
    with pytest.raises(InvalidStatus), socket_to(live, job["id"], ticket):
        pass


def test_sockets_leave_rows_too(serve, things, tmp_path):
    server, client = serve()

    async def knock(path, query):
        sent = []
        scope = {"type": "websocket", "path": path, "query_string": query, "headers": [], "extensions": {},
                 "raw_path": path.encode(), "root_path": "", "subprotocols": []}  # fmt: skip

        async def receive():
            return {"type": "websocket.connect"}

        async def send(message):
            sent.append(message)

        await client._transport.app(scope, receive, send)
        return sent

    ticket = server.tickets.new(ANYONE)
    assert awaited(knock("/jobs/0/progress", b"ticket=" + ticket.encode()))[0]["type"] == "websocket.close"
    awaited(knock("/jobs/0/progress", b""))
    server.trail.close()
    rows = [(row["actor"], row["action"], row["resource"], row["outcome"]) for row in rows_of(tmp_path / "var")][1:]
    assert rows == [
        ("local", "SOCKET", "/jobs/{job_id}/progress", "403"),
        ("-", "SOCKET", "unmatched", "403 unauthorised"),
    ]
