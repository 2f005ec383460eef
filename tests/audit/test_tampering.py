"""Each row of the table in docs/audit.md, played by an attacker."""

import errno
import os
import random
from pathlib import Path

import pytest

from audit.chain import GENESIS, AuditError, Event, Head, encode_row, parse_row
from audit.checkpoints import Checkpoint, write_checkpoint
from audit.keys import SIGNING, load_signing_key
from audit.log import AuditLog
from audit.verification import verify

N_PLACES = 200
EVENT = Event(actor="r-1", action="GET")


def edit(lines, rng):
    place = rng.randrange(len(lines))
    line = bytearray(lines[place])
    byte = rng.randrange(len(line) - 1)  # number, code, JSON and the blanks between them
    line[byte] ^= 1 << rng.randrange(7)
    return [*lines[:place], bytes(line), *lines[place + 1 :]]


def insert(lines, rng):
    place = rng.randrange(len(lines) + 1)
    return [*lines[:place], rng.choice(lines), *lines[place:]]


def delete(lines, rng):
    start = rng.randrange(len(lines))
    return lines[:start] + lines[start + rng.randint(1, 3) :]


def reorder(lines, rng):
    a, b = rng.sample(range(len(lines)), 2)
    changed = list(lines)
    changed[a], changed[b] = changed[b], changed[a]
    return changed


def truncate(lines, rng):
    data = b"".join(lines)
    return [data[: rng.randrange(len(data))]]


@pytest.mark.parametrize("attack", [edit, insert, delete, reorder, truncate])
def test_found_wherever_it_happens(written, attack):
    lines = written.path.read_bytes().splitlines(keepends=True)
    assert len(lines) == 61
    assert written.verify() == ()
    rng = random.Random(7)
    for _ in range(N_PLACES):
        changed = attack(lines, rng)
        assert changed != lines
        written.path.write_bytes(b"".join(changed))
        assert written.verify(), changed


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (lambda lines: lines[:5] + lines[8:], "rows 5 to 7 are missing before row 8"),
        (lambda lines: [*lines[:5], lines[3], *lines[5:]], "row 3 stands where row 5 belongs: inserted or moved"),
        (lambda lines: [*lines[:5], lines[5].replace(b"GET", b"PUT"), *lines[6:]], "row 5 was changed"),
        (lambda lines: lines[:40], "the end is missing: 40 rows, where a checkpoint counts 61"),
        (lambda lines: [*lines, b"61 "], "after row 60: a row that was cut"),
    ],
)
def test_problem_names_the_row(written, change, problem):
    lines = written.path.read_bytes().splitlines(keepends=True)
    written.path.write_bytes(b"".join(change(lines)))
    assert any(problem in line for line in written.verify())


@pytest.mark.parametrize(
    "change",
    [
        lambda line: line[:3] + line[3:67].upper() + line[67:],
        lambda line: b"0" + line,
        lambda line: b" " + line,
        lambda line: line.replace(b" ", b"  ", 1),
    ],
)
def test_a_row_is_written_in_one_way_only(written, change):
    lines = written.path.read_bytes().splitlines(keepends=True)
    assert change(lines[12]) != lines[12]
    written.path.write_bytes(b"".join([*lines[:12], change(lines[12]), *lines[13:]]))
    assert written.verify()


def rewritten(written, n_rows=61):
    """The log with one actor replaced, by somebody who has the chain's key."""
    head, lines = Head(), []
    for line in written.path.read_bytes().splitlines(keepends=True)[:n_rows]:
        _, _, body = parse_row(line)
        changed, head = encode_row(written.key, head, body.replace(b"r-3", b"r-4"))
        lines.append(changed)
    written.path.write_bytes(b"".join(lines))


def test_the_key_of_the_chain_does_not_help_against_checkpoints(written):
    rewritten(written)
    assert verify(written.path, written.key).problems == ()  # what the table admits: without checkpoints nothing shows
    assert any("is not the one that checkpoint" in problem for problem in written.verify())


def test_rows_after_the_newest_checkpoint_can_be_cut_off(bench):
    log = bench.open(every_rows=1000)
    log.append(EVENT)
    log._fail("killed", [])  # no last checkpoint, as after a kill
    lines = bench.path.read_bytes().splitlines(keepends=True)
    bench.path.write_bytes(b"".join(lines[:-1]))
    # The table admits it; an empty folder is a problem of its own.
    assert bench.verify() == ("there is no checkpoint: the log's end is not proven",)


@pytest.mark.parametrize("number", [0, 3])
def test_a_checkpoint_taken_away(written, number):
    (written.folder / f"checkpoint-{number:012d}.json").unlink()
    assert f"checkpoint {number} is missing" in written.verify()


def test_a_checkpoint_changed_or_renamed(written):
    files = sorted(written.folder.iterdir())
    content = files[2].read_bytes()
    files[2].write_bytes(content.replace(b'"n_rows":', b'"n_rows":1'))
    assert any("is not signed" in problem for problem in written.verify())
    files[2].write_bytes(files[1].read_bytes())
    assert any("is not signed" in problem for problem in written.verify())
    files[2].write_bytes(content)
    assert written.verify() == ()


def test_a_log_of_the_same_key_in_its_place(written, tmp_path):
    twin = AuditLog(tmp_path / "twin.log", written.key)
    for _ in range(60):
        twin.submit(EVENT).result()
    twin.close()
    written.path.write_bytes((tmp_path / "twin.log").read_bytes())
    assert any("is not the one that checkpoint" in problem for problem in written.verify())


def test_another_key_verifies_nothing(written):
    assert len(verify(written.path, GENESIS).problems) == 20  # the first twenty of 61


def test_where_files_cannot_be_without_a_name(bench, monkeypatch):
    # As on a mounted bucket: neither nameless files nor hard links, and nothing may be deleted.
    def without(path, flags, *args, **options):
        if flags & os.O_TMPFILE == os.O_TMPFILE:
            raise OSError(errno.EOPNOTSUPP, "not supported")
        return real(path, flags, *args, **options)

    real = os.open
    monkeypatch.setattr("audit.checkpoints.os.open", without)
    for name in ("link", "unlink", "rename", "remove"):
        monkeypatch.setattr(f"audit.checkpoints.os.{name}", lambda *_, **__: pytest.fail("a bucket refuses that"))
    log = bench.open(every_rows=2)
    for _ in range(5):
        log.append(EVENT)
    log.close()
    assert bench.verify() == ()
    assert len(list(bench.folder.iterdir())) >= 2


def test_a_checkpoint_never_takes_the_place_of_another(written):
    taken = written.folder / "checkpoint-000000000000.json"
    before = taken.read_bytes()
    checkpoint = Checkpoint(number=0, log_id="x", at=0.0, head=Head())
    with pytest.raises(FileExistsError):
        write_checkpoint(written.folder, checkpoint, load_signing_key(written.keys / SIGNING))
    assert taken.read_bytes() == before
    assert {path.name[:11] for path in written.folder.iterdir()} == {"checkpoint-"}  # no half file beside them


def test_taking_one_checkpoint_away_does_not_let_the_log_be_shortened_to_the_ones_before(written):
    # The next start compared the log with the checkpoints before the first hole alone.
    (written.folder / "checkpoint-000000000002.json").unlink()
    lines = written.path.read_bytes().splitlines(keepends=True)
    written.path.write_bytes(b"".join(lines[:25]))
    with pytest.raises(AuditError, match="shorter than the log"):
        written.open()


def test_a_start_reads_the_newest_checkpoint_and_not_all(written, monkeypatch):
    # One every ten seconds makes three millions a year.
    reads = []
    read_bytes = Path.read_bytes
    monkeypatch.setattr(Path, "read_bytes", lambda path: reads.append(path.name) or read_bytes(path))
    written.open().close()
    assert len([name for name in reads if name.startswith("checkpoint-")]) == 1
