"""make bench-service: the API under load, overload, hostile bodies and faults; docs/results/serving.md has the figures.

    python -m benchmarks service [--bundle DIR] [--parts segment throughput overload hostile schema soak]
        [--seconds 20] [--soak-s 540] [--postgres]

Clients and server share the machine. The bundle is by default the encoder of size "tiny" with random weights,
which costs what a trained one costs; nothing of the answers' quality is measured here.
"""

import argparse
import asyncio
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import numpy as np
import orjson

from benchmarks.benches.load import hostile
from benchmarks.benches.load.clients import Tally, closed_loop, one_request, open_loop, request_bytes
from benchmarks.benches.load.server import ROOT, Process, as_json, service
from benchmarks.benches.load.soak import soak
from benchmarks.harness import figure, machine
from signals.modality import EEG_1020
from signals.readers.registry import open_recording
from signals.windows.profiles import SIX_CLASS
from synthetic.recordings.one_window import write_segment

BEFORE = "c268330"
"""The commit whose path a segment's time is compared with."""
OLD_BUNDLE = """
import sys
from pathlib import Path

import torch
from model.classifier import new_classifier
from model.encoder import Encoder, sized
from model.export import export, load_models
from signals.modality import EEG_1020
from signals.normalise import Normaliser
from signals.profiles import SIX_CLASS
from signals.tasks import TASKS
from tests.training.conftest import write_toy_shards

torch.manual_seed(0)
made = Path(sys.argv[1])
shards = write_toy_shards(made / "shards", n_sites=1, n_subjects=2, n_windows=6, window_s=50.0)
model = new_classifier(
    Encoder(sized("tiny")), TASKS["six-class"], EEG_1020, Normaliser(kind="window"), dropout=0.1,
    profile=SIX_CLASS.to_dict(), provenance={"manifest_digest": "m", "train_subjects": [], "pretrain_subjects": []},
)
model.save_pretrained(made / "model")
export(load_models([made / "model"]), [shards], made / "tiny", n_windows=24)
"""
"""What makes a bundle of that commit's own tiny encoder: it cannot read today's."""
PARTS = ("segment", "throughput", "overload", "hostile", "schema", "soak")


def plain(bundle: Path) -> Callable[[int], list[str]]:
    """Return the command of the plain handler."""
    return lambda port: [sys.executable, "-m", "benchmarks.benches.load.plain", str(bundle.resolve()), str(port)]


def as_binary(x: np.ndarray, name: str) -> bytes:
    """Return the same window by the Open Inference Protocol."""
    tensor = {"name": "eeg", "datatype": "FP32", "shape": [1, *x.shape], "parameters": {"binary_data_size": x.nbytes}}
    head = orjson.dumps({"inputs": [tensor]})
    return request_bytes(
        f"/v2/models/{name}/infer", head + x.astype("<f4").tobytes(), Inference_Header_Content_Length=str(len(head))
    )


def segment(bundle: Path, work: Path, edf: Path, x: np.ndarray, rounds: int) -> None:
    """Print a segment's time through the service and by the path of an earlier commit, in turns."""
    old = work / BEFORE
    if not old.is_dir():
        archive = subprocess.run(["git", "archive", BEFORE], cwd=ROOT, capture_output=True, check=True).stdout
        with tarfile.open(fileobj=BytesIO(archive)) as files:
            files.extractall(old, filter="data")
    env = os.environ | {"PYTHONPATH": str(old), "OMP_NUM_THREADS": "1"}
    made = (work / "made-before").resolve()
    if not (made / "tiny" / "bundle.json").is_file():
        shutil.rmtree(made, ignore_errors=True)
        subprocess.run([sys.executable, "-c", OLD_BUNDLE, str(made)], cwd=old, env=env, check=True)
    command = [sys.executable, "-m", "serving.bench", str(made / "tiny"), "--segment", str(edf.resolve()), "--child"]
    before, now = [], []
    with Process(work, service(bundle, work)) as server:
        child = subprocess.Popen(command, cwd=old, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert child.stdin is not None
        assert child.stdout is not None
        child.stdout.readline()
        content = as_binary(x, bundle.name)
        for _ in range(rounds):
            for _ in range(5):
                status, seconds = asyncio.run(one_request(server.port, content, timeout_s=30))
                assert status == 200
                now.append(1e3 * seconds)
            child.stdin.write(json.dumps({"what": "segment", "size": 1, "repeats": 5}) + "\n")
            child.stdin.flush()
            before += [1e3 * s for s in json.loads(child.stdout.readline())["seconds"]]
        child.stdin.close()
        child.wait()
    figure("segment_ms_service", float(np.median(now)), "ms")
    figure("segment_ms_before", float(np.median(before)), "ms")
    figure("segment_speedup", float(np.median(before) / np.median(now)), "x")


def throughput(bundle: Path, work: Path, x: np.ndarray, seconds: float) -> None:
    """Print requests a second and latencies at 1, 8 and 64 clients, JSON and binary."""
    with Process(work, service(bundle, work, "deployment.max_wait_s=30")) as server:
        for kind, content in (("json", as_json(x)), ("binary", as_binary(x, bundle.name))):
            for clients in (1, 8, 64):
                tally = asyncio.run(closed_loop(server.port, content, clients=clients, seconds=seconds))
                name = f"{kind}_{clients}"
                figure(f"service_requests_per_s_{name}", len(tally.seconds) / seconds, "1/s")
                for percent in (50, 95, 99):
                    figure(f"service_p{percent}_ms_{name}", tally.percentile_ms(percent), "ms")


def overload(bundle: Path, work: Path, x: np.ndarray, seconds: float) -> None:
    """Print the answers within a second at four times the capacity, the service's and a plain handler's."""
    content, goodput = as_json(x), {}
    with Process(work, service(bundle, work, "deployment.max_wait_s=30")) as server:
        tally = asyncio.run(closed_loop(server.port, content, clients=8, seconds=seconds / 2))
        capacity = len(tally.seconds) / (seconds / 2)
    figure("service_capacity", capacity, "1/s")
    for name, command in (("service", service(bundle, work)), ("plain", plain(bundle))):
        with Process(work, command) as server:
            asyncio.run(closed_loop(server.port, content, clients=4, seconds=3))
            before = server.rss_mb()
            tally = asyncio.run(open_loop(server.port, content, per_s=4 * capacity, seconds=seconds))
            goodput[name] = sum(s <= 1.0 for s in tally.seconds) / seconds
            figure(f"goodput_{name}", goodput[name], "1/s")
            after = server.rss_mb()
            figure(f"memory_growth_{name}", after - before, "MB")
            if name == "service":
                _refusals(tally)
                # What fills queues and pools comes once; what is lost comes with every burst.
                asyncio.run(open_loop(server.port, content, per_s=4 * capacity, seconds=seconds))
                figure("memory_growth_service_again", server.rss_mb() - after, "MB")
    # Nothing is no denominator: a plain handler that answers nobody in time leaves no ratio.
    figure("service_vs_plain", goodput["service"] / goodput["plain"] if goodput["plain"] else float("nan"), "x")


def _refusals(tally: Tally) -> None:
    figure("service_refused", len(tally.refused_s), "requests")
    if tally.refused_s:
        figure("service_refusal_ms_p50", 1e3 * float(np.median(tally.refused_s)), "ms")
        figure("service_refusal_ms_p95", 1e3 * float(np.percentile(tally.refused_s, 95)), "ms")
    print(f"statuses {tally.statuses}")


def hostile_bodies(bundle: Path, work: Path, edf: Path, x: np.ndarray, n_bodies: int) -> None:
    """Print how often 500 bodies that mean harm did any."""
    token, jwks = _keys(work)
    options = ("deployment.profile=production", f"deployment.jwks={jwks}", "deployment.max_body_mb=8",
               "deployment.body_timeout_s=2")  # fmt: skip
    with Process(work, service(bundle, work, *options)) as server:
        harmed, kinds = hostile.run(
            server.port, as_json(x, token=token), edf.read_bytes(), n_bodies=n_bodies, token=token
        )
        statuses = re.findall(r'cerebeam_requests_total\{.*status="(5\d\d)"\} (\S+)', server.get("/metrics"))
        print(f"{sum(kinds.values())} bodies of {len(kinds)} kinds; statuses from 500 on: {statuses}")
        harmed += sum(float(n) for status, n in statuses if status == "500") > 0
        harmed += server.process.poll() is not None
    figure("hostile_harmed", harmed, "bodies")


def _keys(work: Path) -> tuple[str, Path]:
    """Return a reader's token and the file of the key that it was signed with."""
    import jwt
    from cryptography.hazmat.primitives.asymmetric import rsa
    from jwt.algorithms import RSAAlgorithm

    key, path = rsa.generate_private_key(65537, 2048), work / "jwks.json"
    public = json.loads(RSAAlgorithm.to_jwk(key.public_key())) | {"kid": "k", "alg": "RS256"}
    path.write_text(json.dumps({"keys": [public]}))
    claims = {"sub": "bench", "role": "reader", "iss": "cerebeam", "aud": "cerebeam", "exp": time.time() + 3600}
    return jwt.encode(claims, key, algorithm="RS256", headers={"kid": "k"}), path.resolve()


def schema(bundle: Path, work: Path, n_examples: int) -> None:
    """Print how many cases schemathesis sent, and how many answers were server errors."""
    with Process(work, service(bundle, work)) as server:
        command = [Path(sys.executable).parent / "schemathesis", "run", f"http://127.0.0.1:{server.port}/openapi.json",
                   "--checks", "not_a_server_error", "--max-examples", str(n_examples), "--seed", "1",
                   "--request-timeout", "20", "--phases", "examples,coverage,fuzzing"]  # fmt: skip
        done = subprocess.run([str(part) for part in command], capture_output=True, text=True, cwd=work, check=False)
        (work / "schemathesis.log").write_text(done.stdout + done.stderr)
        counts = re.findall(r'cerebeam_requests_total\{.*status="(\d+)"\} (\S+)', server.get("/metrics"))
        figure("schemathesis_cases", sum(float(n) for _, n in counts), "cases")
        figure("service_5xx", sum(float(n) for status, n in counts if status.startswith("5")), "answers")
        if done.returncode:
            print(f"schemathesis ended with {done.returncode}, see {work / 'schemathesis.log'}")


def tiny_bundle(folder: Path) -> Path:
    """Return a bundle of the encoder of size "tiny" with random weights, made if it is not there."""
    if (folder / "bundle.json").is_file():
        return folder
    import torch

    from model.classifier import new_classifier
    from model.encoder import Encoder
    from model.encoder_config import sized
    from model.export import export, load_models
    from signals.shards.normalise import Normaliser
    from signals.tasks import SIX_CLASS as TASK
    from tests.toy_shards import write_toy_shards

    torch.manual_seed(0)
    made = folder.parent / "made"
    shards = write_toy_shards(made / "shards", n_sites=1, n_subjects=2, n_windows=6, window_s=50.0)
    model = new_classifier(
        Encoder(sized("tiny")), TASK, EEG_1020, Normaliser(kind="window"), dropout=0.1, profile=SIX_CLASS.to_dict(),
        provenance={"manifest_digest": "m", "train_subjects": [], "pretrain_subjects": []},
    )  # fmt: skip
    model.save_pretrained(made / "model")
    export(load_models([made / "model"]), [shards], folder, n_windows=24)
    return folder


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--work", type=Path, default=Path("bench-output/service"), help="folder for what is made here")
    parser.add_argument("--bundle", type=Path, help="a six-class bundle; a random tiny encoder without")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS)
    parser.add_argument("--seconds", type=float, default=20.0, help="of each load")
    parser.add_argument("--rounds", type=int, default=10, help="of the segment's time, five each")
    parser.add_argument("--bodies", type=int, default=500)
    parser.add_argument("--examples", type=int, default=100, help="schemathesis' cases per operation")
    parser.add_argument("--soak-s", type=float, default=540.0)
    parser.add_argument("--postgres", action="store_true", help="soak with PostgreSQL, which crashes too")
    args = parser.parse_args()
    args.work.mkdir(parents=True, exist_ok=True)
    bundle, edf = args.bundle or tiny_bundle(args.work / "tiny"), args.work / "segment.edf"
    write_segment(edf, EEG_1020, window_s=SIX_CLASS.window_s)
    x = np.asarray(open_recording(str(edf)).read(range(19), segment=0))
    print(machine())
    parts: dict[str, Callable[[], None]] = {
        "segment": lambda: segment(bundle, args.work, edf, x, args.rounds),
        "throughput": lambda: throughput(bundle, args.work, x, args.seconds),
        "overload": lambda: overload(bundle, args.work, x, args.seconds),
        "hostile": lambda: hostile_bodies(bundle, args.work, edf, x, args.bodies),
        "schema": lambda: schema(bundle, args.work, args.examples),
        "soak": lambda: soak(bundle, args.work, edf, x, seconds=args.soak_s, postgres=args.postgres),
    }
    for name in args.parts:
        parts[name]()


if __name__ == "__main__":
    main()
