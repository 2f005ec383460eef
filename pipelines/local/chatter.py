"""Beam's remarks about things that no run of ours uses, kept off the terminal; importing this before Beam does it."""

import logging

_CHATTER = ("apitools not found", "compatible bson package", "No semi_persistent_directory found")
_SAID_BY = ("", "apache_beam.io.mongodbio", "apache_beam.runners.portability.local_job_service",
            "apache_beam.runners.worker.sdk_worker_main")  # fmt: skip


def is_news(record: logging.LogRecord) -> bool:
    """Return whether a log record says more than Beam's usual remarks."""
    message = record.getMessage()
    return not any(remark in message for remark in _CHATTER)


for _name in _SAID_BY:
    logging.getLogger(_name).addFilter(is_news)
# Each try to find credentials would print a traceback; what comes of the last one is said by another logger.
logging.getLogger("apache_beam.utils.retry").setLevel(logging.ERROR)
