import pytest

from audit.chain import Event
from audit.keys import load_chain_key, load_signing_key
from audit.log import AuditLog, Sink
from cerebeam.compliance.audit_log import main


@pytest.fixture
def folder(tmp_path, capsys):
    assert main(["keys", str(tmp_path / "keys")]) == 0
    sink = Sink(folder=tmp_path / "sink", key=load_signing_key(tmp_path / "keys" / "signing.pem"))
    log = AuditLog(tmp_path / "a.log", load_chain_key(tmp_path / "keys" / "chain.key"), sink=sink)
    log.append(Event(actor="r-1", action="GET", resource="/health"))
    log.close()
    capsys.readouterr()
    return tmp_path


def command(folder, *more):
    return main(["verify", str(folder / "a.log"), "--key-file", str(folder / "keys" / "chain.key"), *more])


def with_checkpoints(folder):
    return ["--checkpoints", str(folder / "sink"), "--public-key", str(folder / "keys" / "public.pem")]


def test_verify_states_what_is_proven(folder, capsys):
    assert command(folder, *with_checkpoints(folder)) == 0
    assert capsys.readouterr().out.endswith("whole, 2 rows; 1 checkpoints prove its first 2 rows\n")
    assert command(folder) == 0
    assert "its end is not proven: no checkpoints given" in capsys.readouterr().out


def test_a_changed_log_exits_with_1(folder, capsys):
    (folder / "a.log").write_bytes((folder / "a.log").read_bytes().replace(b"r-1", b"r-2"))
    assert command(folder, *with_checkpoints(folder)) == 1
    assert "row 1 was changed" in (out := capsys.readouterr().out)
    assert "NOT WHOLE" in out


def test_keys_are_secret_and_never_overwritten(folder, capsys):
    assert main(["keys", str(folder / "keys")]) == 2
    assert "keys are never overwritten" in capsys.readouterr().err
    modes = {path.name: path.stat().st_mode & 0o777 for path in (folder / "keys").iterdir()}
    assert modes == {"chain.key": 0o600, "signing.pem": 0o600, "public.pem": 0o644}
    (folder / "keys" / "chain.key").chmod(0o644)
    assert command(folder) == 2
    assert "may be read by everybody" in capsys.readouterr().err


def test_show_prints_the_last_rows(folder, capsys):
    assert main(["show", str(folder / "a.log"), "--last", "1"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("1 {")
    assert '"resource":"/health"' in out
    assert out.count("\n") == 1


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (lambda folder: (folder / "a.log").unlink(), "No such file"),
        (lambda folder: (folder / "keys" / "chain.key").write_text("ab"), "holds no key of 32 bytes"),
        (lambda folder: (folder / "keys" / "public.pem").write_text("ab"), "holds no Ed25519 public key"),
    ],
)
def test_bad_input_is_one_line_and_2(folder, capsys, change, problem):
    change(folder)
    assert command(folder, *with_checkpoints(folder)) == 2
    err = capsys.readouterr().err
    assert problem in err
    assert err.count("\n") == 1
