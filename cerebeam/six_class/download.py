"""cerebeam six-class download: the HMS competition's files, through Kaggle's API, when it is called and never else.

Credentials are KAGGLE_USERNAME and KAGGLE_KEY, or ~/.kaggle/kaggle.json, which nobody else may read. The competition's
rules must have been accepted on its page. A download that broke off goes on where it stopped.
"""

import argparse
import base64
import json
import os
import stat
import sys
import urllib.error
import urllib.request
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from tqdm import tqdm

from signals.command_line import Parser
from signals.json_output import add_json, print_json

COMPETITION = "hms-harmful-brain-activity-classification"
API = "https://www.kaggle.com/api/v1"
_CHUNK, _TIMEOUT_S = 1 << 20, 60
_WHY = {
    401: "Kaggle does not know these credentials: make a new token on your account page",
    403: f"accept the rules on https://www.kaggle.com/c/{COMPETITION}/rules first, with this account",
    404: "Kaggle has no such competition, or does not show it to this account",
    429: "Kaggle asks for a pause: call this again in some minutes",
}


class DownloadError(ValueError):
    """A download that cannot be; one line that says what to do."""


@dataclass(frozen=True, repr=False)
class Credentials:
    """Name and key of a Kaggle account; neither is ever shown."""

    username: str
    key: str

    @property
    def header(self) -> str:
        """The value of the Authorization header."""
        return "Basic " + base64.b64encode(f"{self.username}:{self.key}".encode()).decode()


def credentials() -> Credentials:
    """Return those of the environment, else those of ~/.kaggle/kaggle.json; raises DownloadError."""
    username, key = os.environ.get("KAGGLE_USERNAME", ""), os.environ.get("KAGGLE_KEY", "")
    if username and key:
        return Credentials(username, key)
    path = Path(os.environ.get("KAGGLE_CONFIG_DIR", Path.home() / ".kaggle")) / "kaggle.json"
    try:
        mode = stat.S_IMODE(path.stat().st_mode)
        if mode & 0o077:
            raise DownloadError(f"{path} can be read by others (mode {mode:o}): chmod 600 {path}")
        fields = json.loads(path.read_text(encoding="utf-8"))
        return Credentials(str(fields["username"]), str(fields["key"]))
    except FileNotFoundError:
        raise DownloadError(f"no credentials: set KAGGLE_USERNAME and KAGGLE_KEY, or put a token into {path}") from None
    except (OSError, ValueError, KeyError, TypeError) as error:
        if isinstance(error, DownloadError):
            raise
        raise DownloadError(f"{path} holds no token ({type(error).__name__}): make a new one") from None


def download(output: Path, *, api: str = API) -> Path:
    """Return the folder with the competition's files, downloaded as one archive and unpacked; raises DownloadError."""
    account = credentials()
    output.mkdir(parents=True, exist_ok=True)
    archive = output / f"{COMPETITION}.zip"
    _fetch(f"{api}/competitions/data/download-all/{COMPETITION}", archive, account)
    unpack(archive, output)
    archive.unlink()
    return output


def _fetch(url: str, path: Path, account: Credentials) -> None:
    """Download a file, from where an earlier download stopped."""
    partial = path.with_name(path.name + ".part")
    have = partial.stat().st_size if partial.is_file() else 0
    request = urllib.request.Request(url, headers={"Authorization": account.header, "Range": f"bytes={have}-"})
    try:
        with urllib.request.urlopen(request, timeout=_TIMEOUT_S) as reply:
            if reply.status != 206:  # it sends everything, whatever was asked for
                have = 0
            total = have + int(reply.headers.get("Content-Length", 0))
            with partial.open("ab" if have else "wb") as file, tqdm(
                total=total, initial=have, unit="B", unit_scale=True, disable=not sys.stderr.isatty()
            ) as bar:  # fmt: skip
                while part := reply.read(_CHUNK):
                    file.write(part)
                    bar.update(len(part))
    except urllib.error.HTTPError as error:
        if error.code != 416:  # all of it was there before
            raise DownloadError(_WHY.get(error.code, f"Kaggle answers {error.code}: call this again")) from None
        total = have
    except (urllib.error.URLError, OSError) as error:
        raise DownloadError(f"Kaggle cannot be reached ({type(error).__name__}): call this again, it goes on") from None
    if partial.stat().st_size < total:
        raise DownloadError(f"the download broke off at {partial.stat().st_size} of {total} bytes: call this again")
    partial.replace(path)


def unpack(archive: Path, output: Path) -> None:
    """Unpack an archive; raises DownloadError for one that is damaged, or whose names lead out of the folder."""
    try:
        with zipfile.ZipFile(archive) as files:
            for name in files.namelist():
                if PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts or "\\" in name:
                    raise DownloadError("the archive holds a name that leads out of the folder: nothing was unpacked")
            files.extractall(output)
    except (zipfile.BadZipFile, EOFError, OSError) as error:
        archive.unlink(missing_ok=True)
        raise DownloadError(f"the archive is damaged ({type(error).__name__}): call this again") from None


def main(argv: Sequence[str] | None = None) -> int:
    """Run from the command line; returns 0, or 2 with one line on standard error."""
    parser = Parser(prog="cerebeam six-class download", description=__doc__)
    parser.add_argument("--output", type=Path, default=Path("data/hms"), help="folder for the files")
    add_json(parser, "the folder")
    parser.add_argument("--api", default=API, help=argparse.SUPPRESS)
    args = parser.parse_args(argv)
    try:
        folder = download(args.output, api=args.api)
    except DownloadError as error:
        print(f"cerebeam six-class download: {error}", file=sys.stderr)  # noqa: T201
        return 2
    if args.json:
        print_json({"output": folder})
    else:
        print(folder)  # noqa: T201
    return 0


if __name__ == "__main__":
    sys.exit(main())
