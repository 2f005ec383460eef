"""What is seen of a run while it goes, the same for every kind: trackers, use of the machine, a page of curves."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from training.corpus.steps import Batch
from training.monitors.run_page import write_run_page
from training.monitors.throughput import Monitor, forward_backward_flops
from training.monitors.tracking import Tracker, TrackerName, open_trackers
from training.trainer.saving import flat
from training.trainer.train import Trainer


@contextmanager
def monitored(
    path: Path,
    trainer: Trainer,
    sample: Batch,
    *,
    batch: int,
    config: Mapping[str, Any],
    also: Sequence[TrackerName] = (),
) -> Iterator[Tracker]:
    """Give the tracker of a run that logs to `path` (JSON lines), and write its page when the block ends.

    sample: a micro-batch like the run's, of which a step has `batch` windows in all.
    """
    processes = trainer.processes
    tracker = open_trackers(path, also=also, after_step=trainer.step, active=processes.is_main, config=flat(config))
    n_windows = len(next(iter(sample.values())))
    module = trainer.module if trainer.whole_copy is None else trainer.whole_copy.to(processes.device)
    flops = forward_backward_flops(module, sample, processes.device) * batch / n_windows
    try:
        yield Monitor(tracker, step_flops=flops, world_size=processes.world_size, device=processes.device)
    finally:
        tracker.close()
        if processes.is_main:
            write_run_page(path)
