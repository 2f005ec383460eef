"""The worker process of a local run that cannot be forked (`pipelines.local.nursery`): Beam's own, quicker to start."""

import logging
import sys

import pipelines.local.lean_beam  # noqa: F401


def main(argv: list[str]) -> None:
    """Serve the runner that the environment names until it closes the connection."""
    from apache_beam.runners.worker import sdk_worker_main

    # Beam sends all that is logged to the runner; any other handler would print it as well.
    logging.getLogger().handlers[:] = [logging.NullHandler()]
    sdk_worker_main.main(argv)


if __name__ == "__main__":
    main(sys.argv)
