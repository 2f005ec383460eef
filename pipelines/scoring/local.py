"""An archive's run on several processes of this machine, over the functions of `pipelines.scoring.transforms`."""

from collections import Counter, defaultdict
from functools import partial

from pipelines.local import workers
from pipelines.scoring.options import ScoreRun
from pipelines.scoring.parts import PartKey, PartResult, answer_part, part_of
from pipelines.scoring.summary import Finish
from signals.windows.blocks import Block


def run_local(score: ScoreRun, finish: Finish) -> None:
    """Run the whole chain on `run.n_workers` processes."""
    with workers(score.run) as stages:
        accepted, refused, blocks = stages.plan()
        parts = defaultdict[PartKey, list[Block]](list)
        for block in blocks:
            parts[part_of(block)].append(block)
        sizes = {key: sum(len(block.starts) for block in of_part) for key, of_part in parts.items()}
        work = partial(answer_part, finish.output, score.scoring)
        # Long ones first; of one recording in order, so that its pages are still in memory.
        order = sorted(parts, key=lambda key: (-sizes[key], key))
        results = list[PartResult]()
        with stages.bar("score", "windows", sum(sizes.values())) as bar:
            for result in stages.each("score", work, [(key, parts[key]) for key in order]):
                results.append(result)
                stages.counters["score"] += Counter(elements=result.n_answered, kept=int(result.was_kept))
                bar.update(result.n_planned)
    finish(results, accepted, refused)
