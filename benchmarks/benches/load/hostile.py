"""500 bodies that mean harm, and whether the server or anybody else came to any."""

import asyncio
import base64
import gzip
import json
import random
import time
from collections.abc import Iterator

from benchmarks.benches.load.clients import one_request, request_bytes

_JSON_TYPE = {"Content_Type": "application/json"}


def requests(rng: random.Random, edf: bytes, token: str) -> Iterator[tuple[str, bytes]]:
    """Yield (kind, bytes of a request) without end, with a good token but where that is what is forged."""
    good = {"Authorization": f"Bearer {token}"}
    as_json = _JSON_TYPE | good
    head_of = f"POST /predict HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n".encode()
    while True:
        yield "broken JSON", request_bytes("/predict", _noise(rng, '{"eeg_data": [[1, 2], [3'), **as_json)
        yield "deep JSON", request_bytes("/predict", b"[" * rng.randrange(10, 200_000), **as_json)
        yield "NaN and Infinity", request_bytes("/predict", b'{"eeg_data": [[NaN, -Infinity, 1e999]]}', **as_json)
        rows = b"[1]," * rng.randrange(1000, 1_000_000)
        yield "10^6 channels", request_bytes("/predict", b'{"eeg_data": [' + rows + b"[1]]}", **as_json)
        yield (
            "gzip bomb",
            request_bytes("/predict", gzip.compress(bytes(5_000_000)), Content_Encoding="gzip", **as_json),
        )
        yield "wrong type", request_bytes("/predict", _noise(rng, "<x/>"), Content_Type="image/png", **good)
        chunks = b"".join(b"10000\r\n" + b" " * 65536 + b"\r\n" for _ in range(4))
        yield "chunks without end", head_of + b"Transfer-Encoding: chunked\r\n\r\n" + chunks
        yield "a length that lies", head_of + b"Content-Length: 99999999999\r\n\r\n{}"
        cut = edf[: rng.randrange(1, len(edf))]
        yield "truncated EDF", request_bytes("/jobs?name=a.edf", cut, **good)
        spoilt = bytearray(edf[: 256 * 25])
        for _ in range(20):
            spoilt[rng.randrange(len(spoilt))] = rng.randrange(256)
        yield "spoilt EDF", request_bytes("/jobs?name=b.edf", bytes(spoilt) + edf[256 * 25 :], **good)
        name = rng.choice(["../../../etc/passwd", "/etc/passwd", "a/../../b.edf", "..%2f..%2fetc", "\\\\x\\y.edf"])
        yield "path traversal", request_bytes("/jobs/recording", json.dumps({"recording": name}).encode(), **as_json)
        yield "traversal in a name", request_bytes(f"/jobs?name={'%2e%2e%2f' * 5}etc%2fpasswd", b"x", **good)
        head = base64.urlsafe_b64encode(b'{"alg":"none"}').rstrip(b"=").decode()
        claims = base64.urlsafe_b64encode(b'{"sub":"x","role":"admin"}').rstrip(b"=").decode()
        yield "alg none", request_bytes("/predict", b"{}", Authorization=f"Bearer {head}.{claims}.")
        binary = {"Inference_Header_Content_Length": str(rng.randrange(10**9))}
        expired = f"Bearer {token[:-8]}AAAAAAAA"
        yield "forged token", request_bytes("/predict", b"{}", Authorization=expired)
        yield "tensor that lies", request_bytes("/v2/models/x/infer", _noise(rng, '{"inputs": []}'), **binary, **good)
        yield "bytes", bytes(rng.randrange(256) for _ in range(200)) + b"\r\n\r\n"


def _noise(rng: random.Random, text: str) -> bytes:
    return text.encode() + bytes(rng.randrange(256) for _ in range(rng.randrange(1, 300)))


async def attack(
    port: int, good: bytes, edf: bytes, *, n_bodies: int, token: str, seed: int = 0
) -> tuple[int, dict[str, int]]:
    """Send bodies, a good request after every tenth; returns how often harm was done, and the bodies by kind.

    Harm: a status of 500, a 200 or 202 for what is none (but for uploads, which are judged later), a good request
    without its answer within 5 s.
    """
    kinds: dict[str, int] = {}
    harmed, source = 0, requests(random.Random(seed), edf, token)
    for number in range(n_bodies):
        kind, content = next(source)
        kinds[kind] = kinds.get(kind, 0) + 1
        status, _ = await one_request(port, content, timeout_s=3)
        if status == 500 or (status in (200, 202) and "EDF" not in kind):
            harmed += 1
            print(f"harm by {kind}: {status}")
        if number % 10 == 9:
            started = time.perf_counter()
            status, _ = await one_request(port, good, timeout_s=5)
            if status != 200:
                harmed += 1
                print(f"harm after {kind}: a good request got {status} in {time.perf_counter() - started:.1f} s")
    return harmed, kinds


def run(port: int, good: bytes, edf: bytes, *, n_bodies: int, token: str) -> tuple[int, dict[str, int]]:
    """Return `attack`'s result."""
    return asyncio.run(attack(port, good, edf, n_bodies=n_bodies, token=token))
