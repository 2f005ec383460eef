"""A run on several processes of this machine, over the same functions as `pipelines.transforms` and without Beam.

A worker process imports neither Beam nor torch, so it starts in a second; a file to plan and a shard to write are what
it takes at a time. Shards are the same bytes as those of any Beam runner.
"""

import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from functools import partial
from typing import Any, TypeVar

from tqdm import tqdm

from pipelines.options import Run, set_beam_options
from pipelines.report.traces import Example
from pipelines.runs import storage
from pipelines.stages.anomaly import score_block
from pipelines.stages.copies import Rank, is_used, of_several, ranked, without_copies
from pipelines.stages.example_traces import read_example, smallest_hash
from pipelines.stages.finish import Finish
from pipelines.stages.outcome import Refused
from pipelines.stages.plan_files import Accepted, plan_file
from pipelines.stages.write_shards import ShardKey, ShardResult, write_shard
from signals.processes import process_pool
from signals.shards.sharding import block_seconds, by_site, chunk_seconds, cut_site, shard_key
from signals.windows.blocks import Block

T = TypeVar("T")
Shards = dict[ShardKey, list[Block]]


class WorkerError(RuntimeError):
    """A worker process that ended before its work did."""


def run_local(run: Run, finish: Finish) -> tuple[str, dict[str, dict[str, int]]]:
    """Run the whole chain on `run.n_workers` processes; returns what ran it and the counters of the stages."""
    with workers(run) as stages:
        accepted, refused, blocks = stages.plan()
        results = _write(stages, shards_of(blocks, run.shard_mb), finish.output)
        examples = _examples(stages, blocks)
    finish(results, accepted, refused, examples)
    return f"{run.n_workers} local processes", stages.counted()


@contextmanager
def workers(run: Run) -> Iterator["Stages"]:
    """Give the stages of a run in a pool of processes; raises WorkerError where one of them dies."""
    remote = any(storage.is_remote(place) for place in (run.output, *(file.uri for file in run.inputs.files)))
    begin = (run.beam_args if remote else None,)
    try:
        with process_pool(run.n_workers, method="forkserver", initializer=_begin_worker, initargs=begin) as pool:
            yield Stages(run, pool)
    except BrokenProcessPool as error:
        raise WorkerError("a worker process was killed or crashed") from error


def _begin_worker(beam_args: Sequence[str] | None) -> None:
    if beam_args is not None:  # files lie where only Beam can open them
        from pipelines.runs.remote import register_remote

        set_beam_options(beam_args)
        register_remote()


def shards_of(blocks: Iterable[Block], shard_mb: float) -> Shards:
    """Return the blocks of each shard."""
    blocks = list(blocks)
    chunks = Counter[tuple[str, str]]()
    for block in blocks:
        key, seconds = chunk_seconds(block, shard_mb)
        chunks[key] += seconds  # type: ignore[assignment]  # seconds are floats
    sites = defaultdict[str, list[tuple[str, float]]](list)
    for site, chunk in map(by_site, chunks.items()):
        sites[site].append(chunk)
    firsts = dict(cut_site(site, shard_mb) for site in sites.items())
    shards = defaultdict[ShardKey, list[Block]](list)
    for block in blocks:
        shards[shard_key(block, firsts, shard_mb)[0]].append(block)
    return shards


class Stages:
    """What works in the pool: planning, and any function over many calls."""

    def __init__(self, run: Run, pool: ProcessPoolExecutor) -> None:
        self.run, self._pool = run, pool
        self.counters = defaultdict[str, Counter[str]](Counter)

    def plan(self) -> tuple[list[Accepted], list[Refused], list[Block]]:
        """Return the files that are used, the files and labels that are not, and all blocks."""
        accepted, refused, blocks = list[Accepted](), list[Refused](), list[Block]()
        work = partial(plan_file, profile=self.run.profile, salt=self.run.salt, keep=self.run.keep)
        with self.bar("plan", "files", len(self.run.inputs.files)) as bar:
            for planned in self.each("plan", work, [(ref,) for ref in self.run.inputs.files]):
                refused += planned.labels
                if isinstance(planned.file, Refused):
                    refused.append(planned.file)
                    self.counters["quarantine"][planned.file.reason] += 1
                else:
                    accepted.append(planned.file)
                blocks += planned.blocks
                self.counters["plan"] += Counter(elements=1)
                bar.update(1)
        ranks = defaultdict[str, list[Rank]](list)
        for recording_id, rank in map(ranked, accepted):
            ranks[recording_id].append(rank)
        used = dict(pair for each in ranks.items() for pair in of_several(each))
        files, copies = without_copies(accepted, used)
        return files, [*refused, *copies], [block for block in blocks if is_used(block, used, self.run.salt)]

    def each(self, stage: str, work: Callable[..., T], calls: Sequence[tuple[Any, ...]]) -> Iterator[T]:
        """Yield what the calls return, as they end."""
        futures: list[Future[tuple[T, int]]] = [self._pool.submit(_timed, work, *call) for call in calls]
        for future in as_completed(futures):
            result, milliseconds = future.result()
            self.counters[stage]["milliseconds"] += milliseconds
            yield result

    def bar(self, what: str, unit: str, total: float) -> tqdm:
        """Return a progress bar of a stage."""
        name = f"{what} {self.run.profile.name}"
        return tqdm(desc=name, unit=unit, total=total, unit_scale=True, disable=None)

    def counted(self) -> dict[str, dict[str, int]]:
        """Return the counters by stage."""
        return {name: dict(sorted(self.counters[name].items())) for name in sorted(self.counters)}


def _write(stages: Stages, shards: Shards, output: str) -> list[ShardResult]:
    """Return what became of each shard, the longest begun first."""
    seconds = {key: sum(map(block_seconds, blocks)) for key, blocks in shards.items()}
    order = sorted(shards, key=lambda key: (-seconds[key], key))
    work = partial(_score_and_write, output, stages.run.shard_mb, stages.run.autoencoder)
    results = []
    with stages.bar("write", "s EEG", sum(seconds.values())) as bar:
        for result, n_seconds in stages.each("write", work, [(key, shards[key]) for key in order]):
            results.append(result)
            if shard := result.shard:
                stages.counters["write"] += Counter(elements=shard.n_windows, bytes=shard.n_bytes)
            stages.counters["write"] += Counter(kept=int(result.was_kept))
            bar.update(n_seconds)
    return results


def _examples(stages: Stages, blocks: Iterable[Block]) -> list[Example]:
    """Return the example of each site that has a window."""
    sites = defaultdict[str, list[Block]](list)
    for block in blocks:
        sites[block.plan.site_id].append(block)
    chosen = [(smallest_hash(of_site),) for of_site in sites.values()]
    outcomes = list(stages.each("example", read_example, chosen))
    stages.counters["example"] += Counter(row.reason for row in outcomes if isinstance(row, Refused))
    examples = [example for example in outcomes if isinstance(example, Example)]
    stages.counters["example"] += Counter(elements=len(examples))
    return examples


def _timed(work: Callable[..., T], *args: Any) -> tuple[T, int]:
    started = time.perf_counter()
    result = work(*args)
    return result, round((time.perf_counter() - started) * 1000)


def _score_and_write(
    output: str, shard_mb: float, autoencoder: str | None, key: ShardKey, blocks: list[Block]
) -> tuple[ShardResult, float]:
    if autoencoder is not None:
        blocks = [score_block(block, autoencoder) for block in blocks]
    return write_shard(output, shard_mb, key, blocks), sum(map(block_seconds, blocks))
