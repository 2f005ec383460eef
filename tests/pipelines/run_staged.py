"""Run a staged pipeline as a worker with nothing but the base install would; not a test by itself.

python run_staged.py SDIST_FOLDER PIPELINE_PROTO
"""

import logging
import re
import sys
from importlib import metadata
from pathlib import Path


def installed_with(requirement: str, extras: tuple[str, ...]) -> set[str]:
    """Return the distributions that come with one, by its own metadata."""
    found, todo = set(), [(requirement, extras)]
    while todo:
        name, extras = todo.pop()
        try:
            requires = metadata.requires(name) or []
        except metadata.PackageNotFoundError:
            continue  # for another platform or Python
        for line in requires:
            needed, _, marker = line.partition(";")
            if "extra ==" in marker and not any(f"'{e}'" in marker or f'"{e}"' in marker for e in extras):
                continue
            match = re.match(r"\s*([A-Za-z0-9._-]+)\s*(?:\[([^\]]*)\])?", needed)
            wanted = (canonical(match[1]), tuple((match[2] or "").replace(" ", "").split(",")))
            if wanted[0] not in found:
                found.add(wanted[0])
                todo.append(wanted)
    return found


def canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


class OnlyBase:
    """An import hook that refuses packages that the base install does not bring."""

    def __init__(self, base: set[str]) -> None:
        self.refused = {
            top for top, dists in metadata.packages_distributions().items() if not base & set(map(canonical, dists))
        }

    def find_spec(self, name: str, path: object = None, target: object = None) -> None:
        if name.partition(".")[0] in self.refused:
            raise ModuleNotFoundError(f"{name} is not in the base install", name=name)


def main(folder: str, proto: str) -> None:
    rooms = {"signals", "pipelines", "cerebeam", "model", "training", "evaluation", "serving"}
    base = installed_with("cerebeam", ()) | installed_with("apache-beam", ("gcp",)) | {"apache-beam", "setuptools"}
    hook = OnlyBase(base)
    hook.refused -= rooms
    assert {"torch", "sklearn", "pandas", "onnxruntime", "tensorflow", "pytest", "pyedflib"} <= hook.refused
    sys.meta_path.insert(0, hook)
    sys.path.insert(0, folder)

    from apache_beam.internal.gcp import auth

    auth._Credentials._credentials_init = True
    from apache_beam.io.filesystems import FileSystems
    from apache_beam.options.pipeline_options import PipelineOptions
    from apache_beam.portability import python_urns
    from apache_beam.portability.api import beam_runner_api_pb2
    from apache_beam.runners.portability.fn_api_runner import FnApiRunner

    logging.disable(logging.WARNING)
    pipeline = beam_runner_api_pb2.Pipeline.FromString(Path(proto).read_bytes())
    for environment in pipeline.components.environments.values():
        environment.urn, environment.payload = python_urns.EMBEDDED_PYTHON, b""
        del environment.dependencies[:]
    FileSystems.set_options(PipelineOptions([]))
    FnApiRunner().run_via_runner_api(pipeline, PipelineOptions([])).wait_until_finish()
    import pipelines.stages.write_shards

    assert pipelines.stages.write_shards.__file__.startswith(folder), pipelines.stages.write_shards.__file__
    heavy = hook.refused & set(sys.modules)
    assert not heavy, heavy


if __name__ == "__main__":
    main(*sys.argv[1:])
