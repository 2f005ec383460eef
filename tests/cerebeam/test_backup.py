import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing

import pytest

from audit.chain import Event
from audit.log import AuditLog
from audit.verification import verify as verify_log
from cerebeam.compliance.backup import BackupError, backups, create, main, restore, verify

WRITER = """
import sqlite3, sys
rows = sqlite3.connect(sys.argv[1])
rows.execute("PRAGMA journal_mode=WAL")
rows.execute("CREATE TABLE IF NOT EXISTS jobs (n INTEGER PRIMARY KEY)")
n = 0
while True:
    with rows:
        rows.execute("INSERT INTO jobs VALUES (?)", (n,))
    print(n, flush=True)
    n += 1
"""


@pytest.fixture
def data(tmp_path):
    folder = tmp_path / "var"
    (folder / "uploads").mkdir(parents=True)
    (folder / "uploads" / "a.edf").write_bytes(bytes(range(256)) * 40)
    (folder / "uploads" / ".b.edf.x.partial").write_bytes(b"half")
    with closing(sqlite3.connect(folder / "records.db")) as rows, rows:
        rows.execute("CREATE TABLE jobs (n INTEGER)")
        rows.executemany("INSERT INTO jobs VALUES (?)", [(n,) for n in range(100)])
    return folder


def numbers(database):
    with closing(sqlite3.connect(database)) as rows:
        return [n for (n,) in rows.execute("SELECT n FROM jobs ORDER BY n")]


def test_what_was_there_comes_back(data, tmp_path):
    backup = create(data, tmp_path / "backups")
    restore(backup, tmp_path / "again")
    assert (tmp_path / "again" / "uploads" / "a.edf").read_bytes() == bytes(range(256)) * 40
    assert numbers(tmp_path / "again" / "records.db") == list(range(100))
    assert sorted(p.name for p in (tmp_path / "again").rglob("*") if p.is_file()) == ["a.edf", "records.db"]
    assert (tmp_path / "again").stat().st_mode & 0o777 == 0o700


def test_a_database_in_use_then_killed_and_gone(tmp_path):
    # Rows that were committed before the backup began are all in it, without a hole; the writer goes on meanwhile.
    data = tmp_path / "var"
    data.mkdir()
    command = [sys.executable, "-c", WRITER, str(data / "records.db")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as writer:
        before = [int(writer.stdout.readline()) for _ in range(200)]
        backup = create(data, tmp_path / "backups")
        writer.send_signal(signal.SIGKILL)
        writer.stdout.read()
    (data / "records.db").unlink()
    restore(backup, tmp_path / "again")
    rows = numbers(tmp_path / "again" / "records.db")
    assert rows[: len(before)] == before
    assert rows == list(range(len(rows)))


def test_an_audit_log_in_a_backup_is_whole(data, tmp_path):
    log = AuditLog(data / "audit.log", bytes(32))
    for _ in range(5):
        log.append(Event(actor="a", action="GET"))
    restore(create(data, tmp_path / "backups"), tmp_path / "again")
    log.close()
    found = verify_log(tmp_path / "again" / "audit.log", bytes(32))
    assert found.problems == ()
    assert found.n_rows == 6
    AuditLog(tmp_path / "again" / "audit.log", bytes(32)).close()


@pytest.mark.parametrize("fault", ["bit", "cut", "gone", "manifest", "escape"])
def test_a_damaged_backup_restores_nothing(data, tmp_path, fault):
    backup = create(data, tmp_path / "backups")
    file = backup / "uploads" / "a.edf"
    content = file.read_bytes()
    if fault == "bit":
        file.write_bytes(content[:100] + bytes([content[100] ^ 1]) + content[101:])
    elif fault == "cut":
        file.write_bytes(content[:-1])
    elif fault == "gone":
        file.unlink()
    elif fault == "manifest":
        (backup / "backup.json").write_text('{"created": 1}')
    else:
        fields = json.loads((backup / "backup.json").read_text())
        fields["entries"][0]["path"] = "../../../etc/hostname"
        (backup / "backup.json").write_text(json.dumps(fields))
    with pytest.raises(BackupError):
        restore(backup, tmp_path / "again")
    assert not (tmp_path / "again").exists()
    assert not list(tmp_path.glob("again*"))


def test_nothing_is_overwritten(data, tmp_path):
    backup = create(data, tmp_path / "backups")
    with pytest.raises(BackupError, match="nothing is overwritten"):
        restore(backup, data)
    assert numbers(data / "records.db") == list(range(100))


def test_a_damaged_database_is_no_backup(data, tmp_path):
    content = bytearray((data / "records.db").read_bytes())
    content[4096 : 4096 + 200] = os.urandom(200)  # the page of the table
    (data / "records.db").write_bytes(content)
    with pytest.raises(BackupError, match=r"records\.db"):
        create(data, tmp_path / "backups")
    assert backups(tmp_path / "backups") == []


def test_a_backup_within_its_own_data_is_refused(data):
    with pytest.raises(BackupError, match="storage of its own"):
        create(data, data / "backups")
    with pytest.raises(BackupError, match="storage of its own"):
        create(data, data.parent)


def test_the_newest_are_kept(data, tmp_path):
    made = []
    for _ in range(4):
        made.append(create(data, tmp_path / "backups", keep=2))
        time.sleep(0.001)
    assert backups(tmp_path / "backups") == made[2:]
    assert verify(made[3]).entries == verify(made[2]).entries


def test_commands(data, tmp_path, capsys):
    assert main(["create", str(data), "--into", str(tmp_path / "backups")]) == 0
    assert main(["verify", str(tmp_path / "backups")]) == 0
    assert main(["restore", str(tmp_path / "backups"), "--to", str(tmp_path / "again")]) == 0
    assert capsys.readouterr().out.count("2 files") == 3
    assert main(["restore", str(tmp_path / "nothing"), "--to", str(tmp_path / "x")]) == 1
    assert main(["create", str(tmp_path / "nothing"), "--into", str(tmp_path / "x")]) == 1
    assert capsys.readouterr().err.count("\n") == 2
