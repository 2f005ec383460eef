import re
from pathlib import Path

from pipelines.report.advice import ADVICE, NOTES
from pipelines.stages.outcome import REASONS


def test_every_reason_says_what_to_do():
    assert set(ADVICE) == {reason for reasons in REASONS.values() for reason in reasons}


def test_every_bids_note_says_what_was_done():
    source = (Path(__file__).parents[3] / "signals" / "readers" / "bids.py").read_text()
    written = set(re.findall(r'notes\.append\("(\w+)"\)', source))
    assert written
    assert {name for name in NOTES if name.startswith("bids_")} == written
