"""The worker process of a local run: Beam's own, without the imports that it tries and no stage of ours needs.

Beam imports pandas, MongoDB's and Google's clients wherever they are installed: with the development install that is
more than half of a worker's start. Workers elsewhere have the base install, so they start without these anyhow.
"""

import logging
import os
import sys
from typing import Any

import pipelines.chatter  # noqa: F401

os.environ.setdefault(
    "OMP_NUM_THREADS", "1"
)  # before NumPy: threads of BLAS beside other workers only make them slower

UNUSED = ("google.cloud.bigquery", "google.cloud.bigquery_storage", "google.cloud.pubsub", "google.cloud.pubsub_v1",
          "google.cloud.dataflow", "google.cloud.dataflow_v1beta3", "pandas", "pymongo")  # fmt: skip


def main(argv: list[str]) -> None:
    """Serve the runner that the environment names until it closes the connection."""
    modules: dict[str, Any] = sys.modules
    modules.update(dict.fromkeys(UNUSED))  # None makes an import fail at once, as if it were not installed
    # A warning during Beam's imports would otherwise open a handler to the terminal, and Beam then logs INFO to it.
    logging.getLogger().addHandler(logging.NullHandler())
    from apache_beam.runners.worker import sdk_worker_main

    sdk_worker_main.main(argv)


if __name__ == "__main__":
    main(sys.argv)
