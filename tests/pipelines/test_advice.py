from pipelines.advice import ADVICE
from signals.prepare import WINDOW_REASONS
from signals.recording import READ_REASONS


def test_every_reason_says_what_to_do():
    assert set(ADVICE) == set(READ_REASONS) | set(WINDOW_REASONS)
