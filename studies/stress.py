"""Stress: how predictions change as recordings get worse, through the very preparation that pipeline and server share.

    python -m studies.stress --model OUT/folds/* --shards DIR --input FOLDER --output stress.parquet

Recordings of the shard set are found again by their sha256, disturbed (`synthetic.perturb`), planned and prepared anew,
and predicted. Level 0 is the shard set itself; the command refuses to start where the undisturbed recording does not
give its windows bit for bit. A model predicts only subjects that it was not trained on: give the models of
studies.loso's folds.

Exit code 75: a signal stopped it; the same command goes on after the last level.
"""

import shutil
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
from tqdm import tqdm

from evaluation.scenarios.stress import write_stress
from evaluation.schemas.predictions import Predictions
from signals.files import file_sha256
from signals.recording.recording import UnreadableError
from signals.version import code_version
from studies.engine.bench import Bench, Fitted, Method, Params
from studies.engine.command import line_of, run_command
from studies.engine.parts import Parts, parts_folder
from studies.engine.study import Design, part_of, run_study
from studies.stressing.disturbances import Stress, stresses
from studies.stressing.ward import Source, Ward, predict_windows
from synthetic.perturb import NotPossibleError
from training.command import fail, parsed
from training.corpus.splits import Fold
from training.fitting.inference import predict

PROG = "cerebeam stress"
UNDISTURBED = "undisturbed"


def design_of(command: "StressCommand") -> tuple[Ward, Design]:
    """Return what predicts whom, and the study: levels are its models, saved models and their strangers its folds."""
    ward = Ward(command.model, command.shards, command.input, per_site=command.recordings_per_site)
    known = stresses(ward.profile)
    if unknown := sorted(set(command.kinds) - set(known)):
        raise ValueError(f"unknown stress {unknown[0]!r}; stresses are {', '.join(known)}")
    models = {UNDISTURBED: Method(fit=_plain(ward), seeded=False)} | {
        level_key(name, level): Method(
            fit=_at_level(ward, known[name], level, command.seed), seeded=False, may_refuse=True
        )
        for name in command.kinds or known
        for level in known[name].levels
    }
    folds = [
        Fold(name=f"model{number}", train=np.zeros(0, int), test=np.concatenate(rows))
        for number in range(len(ward.models))
        if (rows := [source.rows for source in ward.sources if source.model == number])
    ]
    config = {
        "models": [file_sha256(path / "model.safetensors") for path in command.model], "seed": command.seed,
        "manifest_digest": ward.data.shards.manifest.digest, "per_site": command.recordings_per_site,
        "code_version": code_version(),
    }  # fmt: skip
    parts = Parts(parts_folder(command.output), config)
    return ward, Design(bench=Bench(ward.data, None, parts.folder / "logs"), folds=folds, models=models, parts=parts)


def _reopened(command: "StressCommand") -> Design:
    return design_of(command)[1]


def level_key(name: str, level: float) -> str:
    """Return the name of a stress at a level, as the study's models have it."""
    return f"{name} at {level:g}"


def _plain(ward: Ward) -> Callable[[Bench, np.ndarray, Params, int], Fitted]:
    def fit(bench: Bench, rows: np.ndarray, params: Params, seed: int) -> Fitted:
        def predicted(test: np.ndarray) -> np.ndarray:
            sources = ward.sources_of(test)
            parts = [predict(ward.models[s.model], ward.data.shards, ward.data.windows[s.rows])[0] for s in sources]
            return np.concatenate(parts)

        return Fitted(predict=predicted)

    return fit


def _at_level(
    ward: Ward, stress: Stress, level: float, own_seed: int
) -> Callable[[Bench, np.ndarray, Params, int], Fitted]:
    """Return predictions of recordings at a level; windows without an answer are nan, and why is among the facts."""

    def fit(bench: Bench, rows: np.ndarray, params: Params, seed: int) -> Fitted:
        silent: dict[str, int] = {}

        def predicted(test: np.ndarray) -> np.ndarray:
            place = {int(row): n for n, row in enumerate(test)}
            answers = np.full((len(test), len(ward.data.task.classes)), np.nan)
            for source in ward.sources_of(test):
                answered, probs, reasons = _disturbed(ward, source, stress, level, own_seed)
                if len(answered):
                    answers[[place[int(row)] for row in answered]] = probs
                for reason, n in reasons.items():
                    silent[reason] = silent.get(reason, 0) + n
            return answers

        return Fitted(predict=predicted, facts={"refused": silent})

    return fit


def _disturbed(
    ward: Ward, source: Source, stress: Stress, level: float, seed: int
) -> tuple[np.ndarray, np.ndarray, Counter[str]]:
    """Return rows, their probabilities, and why the other windows of the source gave no answer."""
    own = (seed, int(ward.recordings[source.rows[0]][:8], 16))
    try:
        made = dict(
            ward.windows(source, lambda r: stress.apply(r, level, own), shorter_s=level if stress.shorten else 0.0)
        )
    except NotPossibleError:
        return np.zeros(0, int), np.zeros((0, 0)), Counter({"not_possible": len(source.rows)})
    except UnreadableError as error:
        return np.zeros(0, int), np.zeros((0, 0)), Counter({error.reason: len(source.rows)})
    lost = Counter({"window_rejected": len(source.rows) - len(made)} if len(made) < len(source.rows) else {})
    if not made:
        return np.zeros(0, int), np.zeros((0, 0)), lost
    return np.array(list(made)), predict_windows(ward.models[source.model], list(made.values())), lost


def refused_at(design: Design, name: str, stress: Stress) -> dict[str, dict[str, int]]:
    """Return how many windows gave no answer, by level and reason."""
    refused: dict[str, dict[str, int]] = {}
    for level in stress.levels:
        silent: Counter[str] = Counter()
        for fold in design.folds:
            silent.update(part_of(design, level_key(name, level), fold, "seed0")["facts"]["refused"])
        if silent:
            refused[stress.name_of(level) or f"{level:g} {stress.unit}"] = dict(silent)
    return refused


def stress_rows(frame: pd.DataFrame, name: str, stress: Stress, *, model: str) -> Iterator[pd.DataFrame]:
    """Yield the rows of a stress at each level, the undisturbed ones as level 0, from those of the study."""
    for level in (0.0, *stress.levels):
        rows = frame[frame["model"] == (level_key(name, level) if level else UNDISTURBED)].drop(columns="fold")
        yield rows.assign(model=model, stress=name, level=level, unit=stress.unit, level_name=stress.name_of(level))


def run_stress(command: "StressCommand", *, command_line: str) -> None:
    """Write the stress file that a command line asks for."""
    ward, design = design_of(command)
    known, task = stresses(ward.profile), ward.data.task
    chosen = {name: known[name] for name in command.kinds or known}
    with tqdm(total=len(design.models), desc="stress", unit="level", disable=None) as bar:
        frame = run_study(
            design, jobs=command.jobs, reopen=partial(_reopened, command), finished=lambda name: bar.update()
        )
    levels = [rows for name, one in chosen.items() for rows in stress_rows(frame, name, one, model=ward.model_name)]
    meta = {
        "grouping": "stress",
        "manifest_digest": ward.data.shards.manifest.digest,
        "models": [str(path.name) for path in command.model],
        "n_recordings": len(ward.sources),
        "refused": {name: refused_at(design, name, one) for name, one in chosen.items()},
        "seed": command.seed,
        "command": command_line,
    }
    write_stress(command.output, Predictions(frame=pd.concat(levels), task=task.name, classes=task.classes, meta=meta))
    shutil.rmtree(design.parts.folder)


@dataclass(frozen=True, kw_only=True)
class StressCommand:
    """Predict recordings made worse, level by level."""

    model: tuple[Path, ...]
    """Folders of fine-tuned models."""
    shards: Path
    """Shard set with labels, made of the inputs."""
    input: tuple[Path, ...]
    """Folders or files of the recordings."""
    output: Path
    """Stress file to write."""
    kinds: tuple[str, ...] = ()
    """Names of stresses; all by default."""
    recordings_per_site: int | None = None
    """At most so many recordings of a site; all by default."""
    seed: int = 0
    """Of what is random in a stress."""
    jobs: int = 1
    """Processes."""


def main(argv: Sequence[str] | None = None) -> None:
    """Run from the command line."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    command, unknown = parsed(StressCommand, arguments, prog=PROG)
    if unknown:
        fail(PROG, f"unknown option {unknown[0]!r}; see --help")
    run_command(PROG, lambda: run_stress(command, command_line=line_of(PROG, arguments)))


if __name__ == "__main__":
    main()
