"""Uploads and answers lie encrypted, are read back, and what was changed is refused."""

import io
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import httpx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import select, text

from service.jobs.uploads import Places
from service.records import jobs
from service.records.database import open_database, transaction
from service.records.embeddings import embeddings_of, keep
from service.records.tables import WindowAnswer
from service.refusals import Refusal
from service.security.encryption import (
    MAGIC,
    MEMORY,
    EncryptedWriter,
    EncryptionError,
    Keys,
    decrypted,
    dump_json,
    load_json,
    load_keys,
    readable,
    sweep,
)
from signals.readers.digests import source_sha256
from signals.readers.registry import open_recording
from signals.recording.recording import UnreadableError
from tests.service.live import start
from tests.signals.readers.formats.test_identities import WRITERS

ROOT = Path(__file__).parents[2]
OLD, NEW = Keys([b"o" * 32]), Keys([b"n" * 32, b"o" * 32])
CONTENT = {"predicted_class": "Seizure", "start_s": 0.0}
PART = 64 * 1024
HEADER, SEALED = 28, PART + 16  # bytes: 8 magic, 4 name, 16 salt; a part and its tag


def encrypt(data, keys=OLD, step=10_000):
    file = io.BytesIO()
    writer = EncryptedWriter(file, keys)
    for place in range(0, len(data), step):
        writer.write(data[place : place + step])
    writer.finish()
    return file.getvalue()


def decrypt(data, keys=OLD):
    return b"".join(decrypted(io.BytesIO(data), keys))


@settings(max_examples=30, deadline=None)
@given(
    st.sampled_from([0, 1, PART - 1, PART, PART + 1, 2 * PART, 3 * PART + 7]),
    st.sampled_from([1, 999, PART, PART + 1, 5 * PART]),
)
def test_any_length_in_any_pieces_comes_back(n_bytes, step):
    data = os.urandom(n_bytes)
    sealed = encrypt(data, step=max(step, n_bytes // 50 + 1))
    assert decrypt(sealed) == data
    # A last part always, also of nothing: its length is known from the layout alone.
    assert len(sealed) == HEADER + n_bytes + 16 * max(1, -(-n_bytes // PART))


def swapped(data):
    first, second = data[HEADER : HEADER + SEALED], data[HEADER + SEALED : HEADER + 2 * SEALED]
    return data[:HEADER] + second + first + data[HEADER + 2 * SEALED :]


@pytest.mark.parametrize(
    "attack",
    [
        lambda data: data[: HEADER + SEALED],  # the end left out at a part's border
        lambda data: data[:-1],
        lambda data: data[:HEADER],
        lambda data: data + b"x",
        lambda data: data + data[-40:],
        lambda data: data[:HEADER] + data[HEADER + SEALED :],
        lambda data: data[: HEADER + SEALED] + data[HEADER:],
        swapped,
        lambda data: data[:12] + bytes(16) + data[28:],  # another salt
        lambda data: data[:100] + bytes([data[100] ^ 1]) + data[101:],
        lambda data: encrypt(b"x" * 3 * PART)[: HEADER + SEALED] + data[HEADER + SEALED :],  # parts of another file
    ],
)
def test_what_was_changed_is_refused(attack):
    data = encrypt(os.urandom(2 * PART + 100))
    with pytest.raises(EncryptionError):
        decrypt(attack(data))


def test_an_earlier_key_still_opens_and_a_missing_one_is_named():
    assert decrypt(encrypt(b"abc", OLD), NEW) == b"abc"
    with pytest.raises(EncryptionError, match="not in system.encryption_keys"):
        decrypt(encrypt(b"abc", NEW), OLD)
    assert load_json(NEW, dump_json(OLD, {"a": [1]})) == {"a": [1]}
    assert load_json(OLD, '{"plain": 1}') == {"plain": 1}
    with pytest.raises(EncryptionError, match="set system.encryption_keys"):
        load_json(None, dump_json(OLD, {}))
    sealed = json.loads(dump_json(OLD, {"a": 1}))
    base64 = sealed["aes-256-gcm"]
    sealed["aes-256-gcm"] = base64[:30] + ("A" if base64[30] != "A" else "B") + base64[31:]
    with pytest.raises(EncryptionError, match="changed"):
        load_json(OLD, json.dumps(sealed))
    assert dump_json(OLD, {}) != dump_json(OLD, {})  # a nonce is used once
    assert "o" * 32 not in repr(NEW)


@pytest.mark.parametrize(
    "content", ["", "abc", "z" * 64, "0" * 63, "0" * 64 + "\n" + "0" * 64, "0" * 64 + "\nabc", "é" * 64]
)
def test_files_that_hold_no_keys(tmp_path, content):
    path = tmp_path / "keys"
    path.write_text(content, encoding="utf-8")
    path.chmod(0o600)
    with pytest.raises(EncryptionError):
        load_keys(path)


def test_a_key_file_that_everybody_may_read(tmp_path):
    path = tmp_path / "keys"
    path.write_text("a" * 64 + "\n" + "b" * 64)
    path.chmod(0o604)
    with pytest.raises(EncryptionError, match="chmod o="):
        load_keys(path)
    path.chmod(0o640)
    assert load_keys(path).newest == bytes.fromhex("a" * 64)
    with pytest.raises(EncryptionError, match="No such file"):
        load_keys(tmp_path / "none")


@pytest.fixture
def memory(tmp_path, monkeypatch):
    folder = Path(tempfile.mkdtemp(dir=MEMORY))
    monkeypatch.setattr("service.security.encryption.MEMORY", folder)
    yield folder
    shutil.rmtree(folder)


def test_a_recording_is_read_from_memory_and_nothing_of_it_stays(things, tmp_path, memory):
    assert subprocess.run(["stat", "-f", "-c", "%T", MEMORY], capture_output=True, text=True).stdout == "tmpfs\n"
    path = tmp_path / "x.edf"
    path.write_bytes(encrypt(things.edf.read_bytes()))
    with readable(path, OLD) as place:
        x = open_recording(str(place)).read(range(19), segment=0)
        assert place.parent.parent == memory
        assert place.parent.stat().st_mode & 0o777 == 0o700
        sweep()  # of another worker: what is in use stays
        assert place.exists()
    assert (x == open_recording(str(things.edf)).read(range(19), segment=0)).all()
    assert list(memory.iterdir()) == []
    places = Places(tmp_path, None, None)
    with pytest.raises(Refusal) as refused, places.opened("x.edf", is_upload=True):
        pass
    assert refused.value.code == "upload_not_decrypted"


def test_what_a_killed_worker_leaves_in_memory_is_removed_by_the_next(things, tmp_path, memory):
    path = tmp_path / "x.edf"
    path.write_bytes(encrypt(things.edf.read_bytes()))
    program = (
        "import sys, time; from pathlib import Path; import service.security.encryption as e\n"
        "e.MEMORY = Path(sys.argv[2])\n"
        "with e.readable(Path(sys.argv[1]), e.Keys([b'o' * 32])): print('open', flush=True); time.sleep(60)\n"
    )
    command = [sys.executable, "-c", program, str(path), str(memory)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "open\n"
        sweep()
        assert len(list(memory.glob("*/x.edf"))) == 1
        process.kill()
    assert len(list(memory.glob("*/x.edf"))) == 1
    sweep()
    assert list(memory.iterdir()) == []


@pytest.mark.parametrize("name", sorted(WRITERS.keys() - {"wfdb", "persyst"}))  # those lie in several files
def test_every_reader_takes_a_recording_from_memory(tmp_path, name):
    # HDF5, pyxdf and others ask for the real path of what they open.
    write, library = WRITERS[name]
    pytest.importorskip(library)
    (tmp_path / "whole").mkdir()
    (tmp_path / "sealed").mkdir()
    whole = write(tmp_path / "whole")
    alone = tmp_path / whole.name  # what is uploaded is this one file
    alone.write_bytes(whole.read_bytes())
    sealed = tmp_path / "sealed" / whole.name
    sealed.write_bytes(encrypt(whole.read_bytes()))
    outcomes = []
    with readable(sealed, OLD) as place:
        for path in (alone, place):
            try:
                recording = open_recording(str(path))
                outcomes.append((source_sha256(path), np.asarray(recording.read(range(4), segment=0)).tolist()))
            except UnreadableError as error:
                outcomes.append(error.reason)
    assert outcomes[0] == outcomes[1]
    assert len(outcomes[0]) == 2 or name == "nihon"  # its header alone is refused, either way


@pytest.mark.parametrize("kind", ["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])
def test_answers_lie_encrypted_in_the_records(request, tmp_path, kind):
    url = f"sqlite:///{tmp_path / 'records.db'}" if kind == "sqlite" else request.getfixturevalue("postgres")
    plain, engine = open_database(url), open_database(url, keys=OLD)

    def written(at):
        job = jobs.accept(at, jobs.new_job(owner="o", file="f", is_upload=False, model="m", hop_s=1), most_waiting=9)
        with transaction(at) as session:
            session.add(WindowAnswer(job_id=job.id, start_s=0.0, stop_s=1.0, answer=CONTENT))
            keep(session, job.id, np.ones((1, 2), dtype=np.float32))
        return job.id

    def read(at, job_id):
        with transaction(at) as session:
            return session.scalars(select(WindowAnswer.answer).where(WindowAnswer.job_id == job_id)).one()

    before, after = written(plain), written(engine)
    assert read(engine, before) == read(engine, after) == CONTENT  # what was there stays readable
    with plain.connect() as connection:
        rows = dict(connection.execute(text("select job_id, cast(answer as text) from answers")).tuples().all())
        vectors = dict(connection.execute(text("select job_id, cast(vectors as text) from embeddings")).tuples().all())
    assert "Seizure" in rows[before]
    assert set(json.loads(rows[after])) == set(json.loads(vectors[after])) == {"aes-256-gcm"}
    assert embeddings_of(engine, [before, after])[after].tolist() == [[1.0, 1.0]]
    assert read(open_database(url, keys=NEW), after) == CONTENT
    for keys in (None, Keys([b"x" * 32])):
        with pytest.raises(Refusal) as refused:
            read(open_database(url, keys=keys), after)
        assert refused.value.code == "records_unavailable"


def test_a_live_service_keeps_neither_signal_nor_probability_in_clear(things, tmp_path):
    key = tmp_path / "keys"
    key.write_text("ab" * 32)
    key.chmod(0o600)
    live = start(tmp_path, [things.bundle], f"system.encryption_keys={key}", "system.job_timeout_s=300")
    try:
        # Signals of a second file wait while the first is answered: what lies on the disk meanwhile is encrypted.
        content = things.edf.read_bytes()
        posts = [httpx.post(f"{live.url}/jobs", params={"name": "a.edf"}, content=content, timeout=30) for _ in "ab"]
        seen = [path.read_bytes() for path in (tmp_path / "var" / "uploads").glob("*.edf")]
        assert seen
        assert all(data.startswith(MAGIC) and content[256:300] not in data for data in seen)
        for post in posts:
            url, until = f"{live.url}/jobs/{post.json()['id']}", time.monotonic() + 60
            while httpx.get(f"{url}?wait_s=5", timeout=20).json()["state"] != "done" and time.monotonic() < until:
                pass
            [row] = httpx.get(f"{url}/answers", timeout=20).json()["predictions"]
        stored = b"".join(path.read_bytes() for path in (tmp_path / "var").glob("records.db*"))
        assert b"aes-256-gcm" in stored
        assert row["class_probabilities"]
        assert b"class_probabilities" not in stored
    finally:
        live.end()
