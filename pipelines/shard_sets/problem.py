"""What is wrong with a shard set."""


class Problem(ValueError):
    """The first thing found broken; the message is one line that names it."""
