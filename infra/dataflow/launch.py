"""What a flex template starts: a template's parameters to the pipeline's options.

A template knows no flags, so `resume=true` becomes --resume; and what the service passes as --labels are the job's
labels, where the pipeline's --labels is a file.
"""

import json
import sys

from pipelines.preprocess import main

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


if __name__ == "__main__":
    sys.exit(main(options_of(sys.argv[1:])))
