"""Beam without the imports that it tries and no stage of ours needs; importing this before Beam does it.

Beam imports pandas, MongoDB's and Google's clients wherever they are installed: with the development install that is a
third of a run's start. With the base install there is nothing to leave out.
"""

import os
import sys
from typing import Any

import pipelines.local.chatter  # noqa: F401

UNUSED = ("google.cloud.bigquery", "google.cloud.bigquery_storage", "google.cloud.pubsub",
          "google.cloud.pubsub_v1", "google.cloud.dataflow", "google.cloud.dataflow_v1beta3", "pandas",
          "pymongo")  # fmt: skip

if "numpy" not in sys.modules:
    # What BLAS does is done on one thread (`signals.threads`); others that it starts with NumPy cannot
    # be forked.
    os.environ.setdefault("OMP_NUM_THREADS", "1")
_modules: dict[str, Any] = sys.modules
_hidden = [name for name in UNUSED if name not in _modules]
_modules.update(dict.fromkeys(_hidden))  # None makes an import fail at once, as if it were not installed
try:
    import apache_beam
    import apache_beam.runners.portability.fn_api_runner
    import apache_beam.runners.worker.sdk_worker_main  # noqa: F401
finally:
    for _name in _hidden:  # whoever else is in this process may use them
        del _modules[_name]
