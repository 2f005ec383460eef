"""The runner of one machine: Beam's FnApiRunner, whose worker processes are ours."""

import sys

from apache_beam.runners.portability.fn_api_runner import FnApiRunner
from apache_beam.transforms.environments import Environment, SubprocessSDKEnvironment

from pipelines.local import nursery


class LocalRunner(FnApiRunner):
    """FnApiRunner that forks its workers under --direct_running_mode=multi_processing, or starts
    `pipelines.local.worker`.

    Asked for by name, since Beam's DirectRunner of this version first tries to download another runner.
    """

    @property
    def _default_environment(self) -> Environment | None:
        return self._environment

    @_default_environment.setter
    def _default_environment(self, environment: Environment | None) -> None:
        # Beam sets this when it runs and has no option for the command; where a later version stops doing so, its own
        # workers start, only more slowly.
        if isinstance(environment, SubprocessSDKEnvironment) and nursery.is_open():
            environment = nursery.ForkedEnvironment()
        elif isinstance(environment, SubprocessSDKEnvironment):
            environment = SubprocessSDKEnvironment.from_command_string(f"{sys.executable} -m pipelines.local.worker")
        self._environment = environment
