"""What a flex template starts: a template's parameters to the pipeline's options.

A template knows no flags, so `resume=true` becomes --resume; and what the service passes as --labels are the job's
labels, where the pipeline's --labels is a file. Parameters with a bundle are those of `metadata-score.json`: an archive
is answered, not prepared.
"""

import json
import sys
from importlib import import_module

_FLAGS = ("resume", "overwrite")
_RENAMED = {
    "label_file": "labels",
    "salt_file": "salt-file",
    "site_from": "site-from",
    "shard_mb": "shard-mb",
    "max_quarantined": "max-quarantined",
}


def options_of(parameters: list[str]) -> list[str]:
    """Return the command line for the parameters that a template is launched with, each --name=value."""
    options: list[str] = []
    for parameter in parameters:
        name, _, value = parameter.removeprefix("--").partition("=")
        if name in _FLAGS:
            options += [f"--{name}"] * (value.lower() == "true")
        elif name == "labels":
            options += [f"--label={key}={label}" for key, label in json.loads(value).items()]
        elif name == "input":
            options += ["--input", *value.split()]
        else:
            options.append(f"--{_RENAMED.get(name, name)}={value}")
    return options


def pipeline_of(parameters: list[str]) -> str:
    """Return the module that a template's parameters are for."""
    is_score = any(parameter.startswith("--bundle=") for parameter in parameters)
    return "pipelines.score" if is_score else "pipelines.preprocess"


if __name__ == "__main__":
    sys.exit(import_module(pipeline_of(sys.argv[1:])).main(options_of(sys.argv[1:])))
