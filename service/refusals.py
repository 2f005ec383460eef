"""What a request is refused with: one form everywhere, {error, code, hint}."""

from signals.bundles.bundle import BundleError
from signals.recording.recording import READ_REASONS, UnreadableError


class Refusal(Exception):
    """A request that gets no answer, and what its sender can do about it."""

    def __init__(self, status: int, code: str, error: str, hint: str = "", retry_after_s: float | None = None) -> None:
        """Take the HTTP status, a code for programs (a reader's reason code as it is), one sentence, and advice.

        Nothing of the request stands in the sentence unless it was checked.
        """
        super().__init__(code)
        self.status, self.code, self.error, self.hint = status, code, error, hint
        self.retry_after_s = retry_after_s

    def __reduce__(self) -> tuple[type["Refusal"], tuple[object, ...]]:
        """Let it cross from one process to another whole."""
        return Refusal, (self.status, self.code, self.error, self.hint, self.retry_after_s)

    @property
    def body(self) -> dict[str, str]:
        """The JSON object that the sender gets."""
        return {"error": self.error, "code": self.code, "hint": self.hint}


def busy(retry_after_s: float = 1.0) -> Refusal:
    """Return the refusal of work that could not be answered in time."""
    return Refusal(
        503, "busy", "the server has more work than it can answer in time", "send it again after Retry-After seconds",
        retry_after_s,
    )  # fmt: skip


def too_late() -> Refusal:
    """Return the refusal of work whose deadline has passed."""
    return Refusal(504, "deadline_exceeded", "the deadline passed before the answer", "give it more time, or send less")


def of_error(error: Exception) -> Refusal | None:
    """Return the refusal that a recording's or a bundle's error is; None for any other."""
    if isinstance(error, Refusal):
        return error
    if isinstance(error, UnreadableError):
        return Refusal(422, error.reason, clean(error.detail), READ_REASONS[error.reason])
    if isinstance(error, BundleError):
        return Refusal(422, "does_not_fit", clean(str(error)), "GET /models shows what each model takes")
    return None


def clean(text: str, longest: int = 300) -> str:
    """Return text on one line without control characters, cut to a length."""
    return "".join(c if c.isprintable() else " " for c in text)[:longest]
