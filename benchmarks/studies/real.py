"""Real recordings for benches: where they are, and shards of them."""

import os
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks.harness import module
from signals.readers.declaration import NOTHING_DECLARED
from signals.readers.registry import open_recording
from signals.recording.recording import Recording
from signals.sites.card import card_of
from signals.sites.card_file import read_card

SALT = "real"
"""One for all benches, so that the people of the pretraining are known again; the recordings are public."""
CARDS = Path(__file__).parents[2] / "docs" / "sites"
"""The documentation's site cards, of these recordings' sites."""
UNSEEN_SITE = "boston-iiic-sparcnet"
"""Six-class segments that nothing is ever trained or chosen on but the probes that leave them out."""


def real_folder() -> Path | None:
    """Return the folder of real recordings that CEREBEAM_REAL_DATA points to, or None."""
    root = os.environ.get("CEREBEAM_REAL_DATA", "")
    return Path(root) / "real" if root and (Path(root) / "real" / "labels.csv").is_file() else None


def opened(path: Path) -> Recording:
    """Return a real recording, read as its site's card declares."""
    card = card_of(str(path), (read_card(str(each)) for each in sorted(CARDS.glob("*.yaml"))))
    return open_recording(str(path), declared=card.declared if card else NOTHING_DECLARED)


def prepared(real: Path | None, output: Path, *, profile: str, site: str = "", settings: Sequence[str] = ()) -> Path:
    """Return shards of real recordings, made now unless they are there; ends the program without recordings.

    settings: of the profile, "NAME=VALUE".
    """
    if (output / "_COMPLETED").is_file():
        return output
    if real is None or not (real / "labels.csv").is_file():
        sys.exit("real recordings are needed: set CEREBEAM_REAL_DATA, or give --real a folder with labels.csv")
    inputs = [real / site] if site else sorted(folder for folder in real.iterdir() if folder.is_dir())
    module(
        "pipelines.preprocess", "--input", *inputs, "--labels", real / "labels.csv", "--profile", profile,
        "--output", output, "--salt", SALT, "--site-from", "label", "--site-card", CARDS,
        *(part for one in settings for part in ("--set", one)),
    )  # fmt: skip
    return output
