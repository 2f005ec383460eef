"""A page as PDF, by headless Chromium where it is installed; without it, browsers print the page."""

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from service.refusals import Refusal

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
_LONGEST_S = 60


def to_pdf(html: str) -> bytes:
    """Return a page as PDF; raises Refusal 501 "no_browser" where no Chromium is installed, 500 where it fails."""
    browser = next((path for name in BROWSERS if (path := shutil.which(name))), None)
    if browser is None:
        raise Refusal(501, "no_browser", "no Chromium is installed here", "open the report and print it")
    with tempfile.TemporaryDirectory(prefix="cerebeam-report-") as folder:
        source, target = Path(folder) / "report.html", Path(folder) / "report.pdf"
        source.write_text(html, encoding="utf-8")
        command = [
            browser, "--headless", "--disable-gpu", "--no-pdf-header-footer", f"--user-data-dir={folder}/profile",
            f"--print-to-pdf={target}", *(["--no-sandbox"] if os.geteuid() == 0 else []), source.as_uri(),
        ]  # fmt: skip
        try:
            subprocess.run(command, timeout=_LONGEST_S, check=True, capture_output=True, stdin=subprocess.DEVNULL)
            return target.read_bytes()
        except (subprocess.SubprocessError, OSError) as error:
            raise Refusal(500, "no_pdf", f"Chromium made no PDF ({type(error).__name__})", "print the page") from error
