"""What is refused before a body is read: tokens, sizes, rates, floods; and that nothing of a client is logged."""

import base64
import json
import logging
import socket
import threading
import time
from contextlib import ExitStack

import httpx
import jwt
import orjson
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from jwt.algorithms import ECAlgorithm, RSAAlgorithm

from service.answering.admission import Admission, Rate
from service.logs import Lines
from service.refusals import Refusal
from service.security.tokens import ROLES, KeysError, Verifier
from tests.service.awaiting import awaited
from tests.service.live import start

NOW = 1_795_000_000


@pytest.fixture(scope="module")
def keys(tmp_path_factory):
    """Private keys by kid, and the file of their public ones."""
    private = {"rsa": rsa.generate_private_key(65537, 2048), "ec": ec.generate_private_key(ec.SECP256R1())}
    path = tmp_path_factory.mktemp("keys") / "jwks.json"
    public = [
        json.loads(RSAAlgorithm.to_jwk(private["rsa"].public_key())) | {"kid": "rsa", "alg": "RS256"},
        json.loads(ECAlgorithm.to_jwk(private["ec"].public_key())) | {"kid": "ec", "alg": "ES256"},
    ]
    path.write_text(json.dumps({"keys": public}))
    return private, path


def token(keys, *, kid="rsa", algorithm="RS256", key=None, **changes):
    claims = {"sub": "Miller", "role": "reader", "iss": "cerebeam", "aud": "cerebeam", "exp": time.time() + 60}
    claims = {name: value for name, value in (claims | changes).items() if value is not None}
    return jwt.encode(claims, key or keys[0][kid], algorithm=algorithm, headers={"kid": kid})


def unsigned(header, claims):
    parts = [base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=").decode() for part in (header, claims)]
    return ".".join([*parts, ""])


def forged(keys):
    """Tokens that must not be taken, by what is wrong with them."""
    claims = {"sub": "x", "role": "admin", "iss": "cerebeam", "aud": "cerebeam", "exp": time.time() + 60}
    stranger = rsa.generate_private_key(65537, 2048)
    good = token(keys)
    return {
        "alg none": unsigned({"alg": "none", "typ": "JWT", "kid": "rsa"}, claims),
        "alg None": unsigned({"alg": "None", "kid": "rsa"}, claims),
        "another key": token(keys, key=stranger),
        "a public key as a secret": hmac_with_public_key(keys, claims),
        "a kid of another kind": token(keys, kid="ec", algorithm="RS256", key=keys[0]["rsa"]),
        "no kid": jwt.encode(claims, keys[0]["rsa"], algorithm="RS256"),
        "unknown kid": jwt.encode(claims, keys[0]["rsa"], algorithm="RS256", headers={"kid": "../../etc/passwd"}),
        "expired": token(keys, exp=time.time() - 60),
        "without an end": token(keys, exp=None),
        "not yet valid": token(keys, nbf=time.time() + 600),
        "of another issuer": token(keys, iss="evil"),
        "for another audience": token(keys, aud="billing"),
        "without a subject": token(keys, sub=None),
        "of an unknown role": token(keys, role="root"),
        "without a role": token(keys, role=None),
        "a changed claim": changed(good),
        "half of one": good[: len(good) // 2],
        "too long": good + "A" * 10_000,
        "nothing": "",
    }


def hmac_with_public_key(keys, claims):
    """The classic confusion: sign with HMAC, the secret being the public key that everybody knows."""
    import hashlib
    import hmac

    secret = RSAAlgorithm.to_jwk(keys[0]["rsa"].public_key()).encode()
    body = unsigned({"alg": "HS256", "kid": "rsa"}, claims)[:-1]
    mac = base64.urlsafe_b64encode(hmac.new(secret, body.encode(), hashlib.sha256).digest()).rstrip(b"=").decode()
    return f"{body}.{mac}"


def changed(good):
    head, claims, signature = good.split(".")
    fields = json.loads(base64.urlsafe_b64decode(claims + "=="))
    altered = base64.urlsafe_b64encode(json.dumps(fields | {"role": "admin"}).encode()).rstrip(b"=").decode()
    return f"{head}.{altered}.{signature}"


def test_forged_tokens_are_refused_and_good_ones_taken(keys):
    verifier = Verifier(keys[1], issuer="cerebeam", audience="cerebeam")
    for kid, algorithm in (("rsa", "RS256"), ("ec", "ES256")):
        caller = verifier.caller("Bearer " + token(keys, kid=kid, algorithm=algorithm, role="operator"))
        assert (caller.subject, caller.role) == ("Miller", "operator")
    bad = forged(keys)
    assert len(bad) == 19
    for what, one in bad.items():
        with pytest.raises(Refusal) as refused:
            verifier.caller(f"Bearer {one}")
        assert refused.value.status == 401, what
    for header in (None, "", "Basic abc", token(keys)):
        with pytest.raises(Refusal):
            verifier.caller(header)


def test_keys_can_be_rotated_and_a_half_written_file_keeps_the_old_ones(keys, tmp_path):
    path = tmp_path / "jwks.json"
    path.write_bytes(keys[1].read_bytes())
    verifier = Verifier(path, issuer="cerebeam", audience="cerebeam")
    path.write_text("{")
    assert verifier.caller("Bearer " + token(keys)).subject == "Miller"
    only = [key for key in json.loads(keys[1].read_text())["keys"] if key["kid"] == "ec"]
    path.write_text(json.dumps({"keys": only}))
    with pytest.raises(Refusal):
        verifier.caller("Bearer " + token(keys))
    assert verifier.caller("Bearer " + token(keys, kid="ec", algorithm="ES256")).role == "reader"
    for text in ("{}", '{"keys": []}', '{"keys": [{"kty": "oct", "k": "c2VjcmV0", "kid": "a", "alg": "HS256"}]}'):
        path.write_text(text)
        with pytest.raises(KeysError):
            Verifier(path, issuer="cerebeam", audience="cerebeam")


@pytest.fixture
def production(keys, serve):
    return serve("deployment.profile=production", f"deployment.jwks={keys[1]}")


def call(client, method, path, role=None, keys=None, **options):
    headers = options.pop("headers", {}) | ({"authorization": f"Bearer {token(keys, role=role)}"} if role else {})
    return awaited(client.request(method, path, headers=headers, **options))


def test_roles(production, keys):
    _, client = production
    needs = {
        ("GET", "/models"): "reader", ("GET", "/jobs"): "reader", ("GET", "/recordings"): "reader",
        ("GET", "/v2/models/small"): "reader", ("GET", "/models/shadow"): "operator",
        ("POST", "/models/small/reload"): "operator", ("GET", "/accesses"): "admin",
    }  # fmt: skip
    for (method, path), needed in needs.items():
        assert call(client, method, path).status_code == 401
        for role in ROLES:
            allowed = ROLES.index(role) >= ROLES.index(needed)
            assert call(client, method, path, role, keys).status_code == (200 if allowed else 403), (path, role)
    for path in ("/health", "/ready", "/metrics", "/docs", "/openapi.json", "/v2/health/live"):
        assert call(client, "GET", path).status_code == 200


def test_every_other_route_needs_a_token(production):
    _server, client = production
    paths = awaited(client.get("/openapi.json")).json()["paths"]
    open_paths = {"/health", "/ready", "/metrics", "/docs", "/v2/health/live", "/v2/health/ready"}
    assert len(paths) > 15
    for path, operations in paths.items():
        for method in operations:
            reply = call(client, method, path.replace("{", "").replace("}", ""), content=b"")
            assert (reply.status_code == 401) == (path not in open_paths), (method, path)


def test_jobs_of_others_are_not_there(production, keys, things):
    _server, client = production
    mine = {"authorization": f"Bearer {token(keys, sub='a')}"}
    job = call(client, "POST", "/jobs?name=x.edf", content=things.edf.read_bytes(), headers=mine).json()
    assert call(client, "GET", f"/jobs/{job['id']}", headers=mine).status_code == 200
    assert call(client, "GET", f"/jobs/{job['id']}", "reader", keys).status_code == 404
    assert call(client, "GET", "/jobs", "reader", keys).json() == {"jobs": []}
    assert call(client, "GET", f"/jobs/{job['id']}", "operator", keys).status_code == 200


def test_an_access_is_recorded_without_its_content(production, keys):
    _server, client = production
    call(client, "POST", "/predict?model=Miller", "reader", keys, content=b'{"eeg_data": [["Miller"]]}')
    call(client, "GET", "/jobs/Miller", "reader", keys)
    until = time.monotonic() + 5
    rows = []
    while len(rows) < 2 and time.monotonic() < until:
        rows = call(client, "GET", "/accesses", "admin", keys).json()["accesses"]
        rows = [row for row in rows if row["role"] == "reader"]
        time.sleep(0.05)
    assert [(row["route"], row["status"]) for row in rows] == [("/jobs/{job_id}", 404), ("/predict", 404)]
    assert {row["subject"] for row in rows} == {"Miller"}  # who it was is what the record is for


def test_no_log_line_holds_what_a_client_sent(production, keys, things, caplog):
    _server, client = production
    secret = "Miller\n\x1b[31m<b>"
    with caplog.at_level(logging.DEBUG):
        reader = token(keys, sub=secret)
        headers = {"authorization": f"Bearer {reader}"}
        call(client, "POST", "/predict", headers=headers, json={"eeg_data": things.array.tolist(), secret: 1})
        call(client, "POST", "/jobs", headers=headers, params={"name": secret + ".edf"}, content=b"0" * 500)
        call(client, "GET", "/jobs/" + "Miller", headers=headers)
        call(client, "POST", "/predict", headers=headers, json={"eeg_data": (1e6 * things.array).tolist()})
    formatter = Lines()
    lines = [formatter.format(record) for record in caplog.records if record.name.startswith("service")]
    assert len(lines) >= 4
    for line in lines:
        assert line.isprintable()
        assert "Miller" not in line
        assert reader not in line
        json.loads(line)


def test_a_failure_inside_shows_and_logs_no_content(serve, things, monkeypatch, caplog):
    server, client = serve()
    monkeypatch.setattr(
        server.answering.preparers, "submit", lambda *_, **__: (_ for _ in ()).throw(RuntimeError("signal of Miller"))
    )
    reply = awaited(client.post("/predict", json={"eeg_data": things.array.tolist()}))
    assert (reply.status_code, reply.json()["code"]) == (500, "internal_error")
    lines = [Lines().format(record) for record in caplog.records]
    assert "Miller" not in reply.text + "".join(line for line in lines if '"service' in line)
    assert any("RuntimeError" in line for line in lines)


def test_admission_refuses_who_would_wait_too_long(monkeypatch):
    now = [0.0]
    monkeypatch.setattr("service.answering.admission.time.monotonic", lambda: now[0])
    admission = Admission(max_wait_s=0.5, n_cores=2)
    for _ in range(200):
        with admission.work():
            now[0] += 0.05
    with ExitStack() as stack:
        while admission.n_working < 11:
            stack.enter_context(admission.work())
        # 11 times 0.05 s are more than half a second: for the next one, and before the next body is read.
        for entering in (admission.work, admission.place):
            with pytest.raises(Refusal) as refused, entering():
                pass
            assert (refused.value.status, refused.value.code) == (503, "busy")
    assert (admission.n_working, admission.n_inside) == (0, 0)


def test_bodies_that_arrive_slowly_keep_nobody_from_work(monkeypatch):
    now = [0.0]
    monkeypatch.setattr("service.answering.admission.time.monotonic", lambda: now[0])
    admission = Admission(max_wait_s=0.5, n_cores=2, most_inside=50)
    with ExitStack() as stack:
        for _ in range(50):
            stack.enter_context(admission.place())
            now[0] += 1.01
        with admission.work():  # one whose body is there
            pass
        with pytest.raises(Refusal), admission.place():
            pass


def test_no_body_is_read_that_could_not_be_answered(monkeypatch):
    """Twenty at 25 ms each fill the half second that one may wait: the next ones are refused unread."""
    now = [0.0]
    monkeypatch.setattr("service.answering.admission.time.monotonic", lambda: now[0])
    admission = Admission(max_wait_s=0.5, n_cores=2)
    with ExitStack() as stack:
        places = [stack.enter_context(admission.place()) for _ in range(21)]
        with pytest.raises(Refusal) as refused, admission.place():
            pass
        assert refused.value.code == "busy"
        # A body that has come is counted once, as work.
        works = [stack.enter_context(admission.work(place)) for place in places]
        with pytest.raises(Refusal), admission.place():
            pass
        assert len(works) == admission.n_working == 21
    assert (admission.n_working, admission.n_inside) == (0, 0)
    with admission.place():
        pass


def test_whoever_finds_a_core_free_gets_in(monkeypatch):
    now = [0.0]
    monkeypatch.setattr("service.answering.admission.time.monotonic", lambda: now[0])
    slow = Admission(max_wait_s=0.01, n_cores=1)
    for _ in range(3):
        with slow.work():
            now[0] += 1000.0
    with slow.place(), slow.work():
        assert slow.n_working == 1


def test_a_batch_costs_its_windows(monkeypatch):
    now = [0.0]
    monkeypatch.setattr("service.answering.admission.time.monotonic", lambda: now[0])
    admission = Admission(max_wait_s=0.5, n_cores=1)
    for _ in range(200):
        with admission.work() as work:
            work.n_windows = 10
            now[0] += 1.0
    with admission.work():
        assert admission.wait_s == pytest.approx(0.1, rel=1e-6)


def test_a_rate_is_per_caller():
    now = [0.0]
    rate = Rate(per_s=2, clock=lambda: now[0])
    for _ in range(4):
        rate.take("a")
    with pytest.raises(Refusal) as refused:
        rate.take("a")
    assert (refused.value.status, refused.value.retry_after_s) == (429, 0.5)
    rate.take("b")
    now[0] = 0.5
    rate.take("a")
    with pytest.raises(Refusal):
        rate.take("a")


@pytest.fixture(scope="module")
def live(things, tmp_path_factory):
    one = start(tmp_path_factory.mktemp("live"), [things.bundle], "deployment.max_body_mb=5",
                "deployment.max_upload_mb=6", "deployment.body_timeout_s=1")  # fmt: skip
    yield one
    assert one.end() == 0


def raw(live, *parts, pause=0.0, timeout=8.0):
    """Send bytes as they are; returns what came back until the server closed, or the time was over."""
    with socket.create_connection(("127.0.0.1", live.port), timeout=timeout) as one:
        for part in parts:
            try:
                one.sendall(part)
            except OSError:
                break
            time.sleep(pause)
        received = b""
        try:
            while not whole(received) and (more := one.recv(65536)):
                received += more
        except OSError:
            pass
    return received


def whole(reply):
    """Whether a reply is there with as many bytes as it announces."""
    head, end, body = reply.partition(b"\r\n\r\n")
    lengths = [int(line.split(b":")[1]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length")]
    return bool(end and lengths and len(body) >= lengths[0])


HEAD = b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"


def test_a_body_is_refused_by_its_declared_length_before_it_is_read(live):
    started = time.monotonic()
    reply = raw(live, HEAD + b"Content-Length: 9000000\r\n\r\n")
    assert b"413" in reply.split(b"\r\n")[0]
    assert b"body_too_large" in reply
    assert time.monotonic() - started < 3


def test_a_body_without_end_is_cut_off(live):
    chunk = b"10000\r\n" + b" " * 65536 + b"\r\n"
    reply = raw(live, HEAD + b"Transfer-Encoding: chunked\r\n\r\n", *[chunk] * 200)
    assert b"413" in reply.split(b"\r\n")[0]


def test_a_slow_body_is_refused(live):
    reply = raw(live, HEAD + b"Content-Length: 1000\r\n\r\n", b"{", timeout=8)
    assert b"408" in reply.split(b"\r\n")[0]
    assert b"slow_body" in reply


def requests(live, route, status):
    """Return how many requests of a route have ended with a status."""
    lines = httpx.get(f"{live.url}/metrics").text.splitlines()
    parts = ("cerebeam_requests_total{", f'route="{route}"', f'status="{status}"')
    return sum(float(line.split()[-1]) for line in lines if all(part in line for part in parts))


@pytest.mark.parametrize("path", ["/predict", "/jobs"])
def test_a_client_that_leaves_is_no_fault_of_the_server(live, path):
    before = {status: requests(live, path, status) for status in (499, 500)}
    with socket.create_connection(("127.0.0.1", live.port), timeout=5) as client:
        head = f"POST {path}?name=a.edf HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
        client.sendall(head.encode() + b"Content-Length: 100000\r\n\r\n{")
        time.sleep(0.2)
    until = time.monotonic() + 5
    while requests(live, path, 499) == before[499] and time.monotonic() < until:
        time.sleep(0.05)
    assert requests(live, path, 499) == before[499] + 1
    assert requests(live, path, 500) == before[500]


@pytest.mark.parametrize(
    "head",
    [
        HEAD + b"Content-Encoding: gzip\r\nContent-Length: 20\r\n\r\n" + b"\x1f\x8b" + b"0" * 18,
        HEAD + b"Content-Length: -5\r\n\r\n",
        b"\x00\x01\x02\r\n\r\n",
        b"GET /../../etc/passwd HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
        b"GET /%2e%2e/%2e%2e/etc/passwd HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
        HEAD + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\n{}",
        HEAD + b"X: " + b"a" * 200_000 + b"\r\n\r\n",
    ],
)
def test_requests_that_are_none_harm_nobody(live, head):
    reply = raw(live, head, timeout=4)
    assert b" 200 " not in reply.split(b"\r\n")[0]
    assert b"root:" not in reply
    assert httpx.get(f"{live.url}/health", timeout=5).status_code == 200


def test_an_upload_without_end_leaves_nothing(live):
    folder = live.log.parent / "var" / "uploads"
    chunk = b"10000\r\n" + b"0" * 65536 + b"\r\n"
    head = b"POST /jobs?name=x.edf HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    reply = raw(live, head, *[chunk] * 200)
    assert b"413" in reply.split(b"\r\n")[0]
    with socket.create_connection(("127.0.0.1", live.port)) as one:  # a client that dies
        one.sendall(head + chunk)
    until = time.monotonic() + 5
    while list(folder.iterdir()) and time.monotonic() < until:
        time.sleep(0.05)
    assert list(folder.iterdir()) == []
    assert httpx.get(f"{live.url}/jobs", timeout=5).json() == {"jobs": []}


def test_a_flood_is_refused_at_once_while_health_answers(live, things):
    body, statuses, seconds = orjson.dumps({"eeg_data": things.array.tolist()}), [], []

    def flood():
        with httpx.Client(timeout=30) as client:
            for _ in range(3):
                started = time.monotonic()
                reply = client.post(f"{live.url}/predict", content=body)
                statuses.append(reply.status_code)
                if reply.status_code == 503:
                    seconds.append(time.monotonic() - started)
                    assert int(reply.headers["retry-after"]) >= 1

    threads = [threading.Thread(target=flood) for _ in range(24)]
    for thread in threads:
        thread.start()
    assert httpx.get(f"{live.url}/health", timeout=5).status_code == 200
    for thread in threads:
        thread.join()
    assert set(statuses) <= {200, 503}
    assert statuses.count(200) > 3
    assert len(statuses) == 72
