"""The competition's download against a local stand-in of Kaggle's API."""

import base64
import io
import json
import os
import threading
import zipfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from cerebeam.six_class.commands import main as six_class
from cerebeam.six_class.download import COMPETITION, DownloadError, credentials, main, unpack


def archive(files):
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as one:
        for name, data in files.items():
            one.writestr(name, data)
    return content.getvalue()


class Kaggle(BaseHTTPRequestHandler):
    """Answers as the API does: credentials, rules, ranges."""

    def do_GET(self):
        stand = self.server
        stand.requests.append((self.path, self.headers.get("Range")))
        wanted = "Basic " + base64.b64encode(b"ann:secret").decode()
        if self.headers.get("Authorization") != wanted or stand.status != 200:
            self.send_error(stand.status if self.headers.get("Authorization") == wanted else 401)
            return
        first = int(self.headers["Range"].removeprefix("bytes=").removesuffix("-"))
        if first >= len(stand.content):
            self.send_error(416)
            return
        body = stand.content[first:]
        self.send_response(206)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[: stand.cut] if stand.cut else body)

    def log_message(self, *_):
        pass


@pytest.fixture
def kaggle():
    server = ThreadingHTTPServer(("127.0.0.1", 0), Kaggle)
    server.content, server.status, server.cut, server.requests = archive({"train.csv": "eeg_id\n1\n"}), 200, 0, []
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def account(monkeypatch):
    monkeypatch.setenv("KAGGLE_USERNAME", "ann")
    monkeypatch.setenv("KAGGLE_KEY", "secret")


def call(kaggle, output, *more, command=main):
    arguments = ["--output", str(output), "--api", f"http://127.0.0.1:{kaggle.server_port}", *more]
    return command(arguments if command is main else ["download", *arguments])


def test_the_files_are_there_and_the_archive_is_gone(kaggle, account, tmp_path):
    assert call(kaggle, tmp_path / "hms", command=six_class) == 0
    assert [path.name for path in (tmp_path / "hms").iterdir()] == ["train.csv"]
    assert kaggle.requests == [(f"/competitions/data/download-all/{COMPETITION}", "bytes=0-")]


def test_a_download_that_broke_off_goes_on(kaggle, account, tmp_path, capsys):
    kaggle.content, kaggle.cut = archive({"train.csv": os.urandom(300_000).hex()}), 100_000
    assert call(kaggle, tmp_path) == 2
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    assert "call this again" in err
    have = (tmp_path / f"{COMPETITION}.zip.part").stat().st_size
    assert 0 < have <= 100_000
    kaggle.cut = 0
    assert call(kaggle, tmp_path) == 0
    assert kaggle.requests[-1][1] == f"bytes={have}-"
    assert (tmp_path / "train.csv").stat().st_size == 600_000


def test_all_of_it_was_there_before(kaggle, account, tmp_path, capsys):
    (tmp_path / f"{COMPETITION}.zip.part").write_bytes(kaggle.content)
    assert call(kaggle, tmp_path, "--json") == 0
    assert json.loads(capsys.readouterr().out) == {"output": str(tmp_path)}
    assert (tmp_path / "train.csv").is_file()


@pytest.mark.parametrize(
    ("status", "message"), [(403, "accept the rules"), (404, "no such competition"), (429, "pause"), (500, "500")]
)
def test_what_kaggle_refuses_is_one_line(kaggle, account, tmp_path, capsys, status, message):
    kaggle.status = status
    assert call(kaggle, tmp_path) == 2
    err = capsys.readouterr().err
    assert (err.count("\n"), message in err, "secret" in err) == (1, True, False)


def test_wrong_credentials_and_nobody_there(kaggle, account, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("KAGGLE_KEY", "wrong")
    assert call(kaggle, tmp_path) == 2
    assert "does not know these credentials" in capsys.readouterr().err
    assert main(["--output", str(tmp_path), "--api", "http://127.0.0.1:9"]) == 2
    assert "cannot be reached" in capsys.readouterr().err


def test_a_damaged_archive_is_not_kept(kaggle, account, tmp_path, capsys):
    kaggle.content = kaggle.content[:-30]
    assert call(kaggle, tmp_path) == 2
    assert "damaged" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["../x", "/etc/x", "a/../../x", "..\\x"])
def test_names_that_lead_out_unpack_nothing(tmp_path, name):
    (tmp_path / "a.zip").write_bytes(archive({"good.csv": "1", name: "2"}))
    (tmp_path / "out").mkdir()
    with pytest.raises(DownloadError, match="leads out of the folder"):
        unpack(tmp_path / "a.zip", tmp_path / "out")
    assert list((tmp_path / "out").iterdir()) == []


def test_a_token_file_must_be_ones_own(tmp_path, monkeypatch):
    monkeypatch.delenv("KAGGLE_USERNAME", raising=False)
    monkeypatch.delenv("KAGGLE_KEY", raising=False)
    monkeypatch.setenv("KAGGLE_CONFIG_DIR", str(tmp_path))
    with pytest.raises(DownloadError, match="set KAGGLE_USERNAME"):
        credentials()
    path = tmp_path / "kaggle.json"
    path.write_text(json.dumps({"username": "ann", "key": "secret"}))
    path.chmod(0o644)
    with pytest.raises(DownloadError, match=r"can be read by others \(mode 644\): chmod 600"):
        credentials()
    path.chmod(0o600)
    assert credentials().username == "ann"
    assert "secret" not in repr(credentials())
    for text in ("{", "[]", "{}"):
        path.write_text(text)
        with pytest.raises(DownloadError, match="holds no token"):
            credentials()
