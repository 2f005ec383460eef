"""Numbers as headers spell them."""

import math

from signals.recording.recording import UnreadableError


def finite(text: object, what: str, *, above: float = -math.inf, at_most: float = 1e12) -> float:
    """Return a number of a header. Raises UnreadableError "corrupt_header" for text, NaN, and what is out of range."""
    try:
        value = float(str(text).strip())
    except ValueError:
        value = math.nan
    if not above < value <= at_most:
        raise UnreadableError("corrupt_header", f"{what} is missing or no number above {above:g}")
    return value


def whole(text: object, what: str, *, above: float = 0, at_most: float = 1e12) -> int:
    """Return a whole number of a header; raises as `finite`."""
    value = finite(text, what, above=above, at_most=at_most)
    if not value.is_integer():
        raise UnreadableError("corrupt_header", f"{what} is no whole number")
    return int(value)
