"""What a fitted task model is worth on windows of people whom it has never seen: the gate before it is published."""

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import pandas as pd

from evaluation.measures.bootstrap import Difference, differences, draws, estimates
from evaluation.measures.intervals import Estimate
from evaluation.measures.tallies import tally
from evaluation.schemas.predictions import Predictions, read_predictions, targets
from model.saved import TaskModel, load_task_model, model_name
from signals.files import file_sha256
from signals.windows.labels import UNKNOWN_SOURCE
from training.recipes.model_shape import ENCODER

N_BOOT = 2000
SCORES_FILE = "scores.json"
_CARD = """# Cerebeam {model}, {task}

{n_params:.2f} million parameters. Windows of {window_s:g} s, {n_chans} channels at {sfreq:g} Hz, become shares of
{classes}.

{about}Fitted to {source} labels of {n_fitted} people, whom `config.json` lists by hashes; shards {digest}, code {code}.

| {n_windows} windows of {n_people} people at {n_sites} sites, none of them seen | value | 95% over people |
|---|---:|---|
| balanced accuracy (a constant answer: {chance:.3f}) | {accuracy} |
| KL to the labels, nats | {kl_cells} |
| KL less that of the best constant answer | {gain} |

Research use only. Not a medical device: nobody has tested it for a diagnosis, and these scores say nothing of your
recordings.

    cerebeam finetune --recipe {recipe} --start-from FOLDER --shards DIR --task {task} --no-encoder --output OUT # go on
    python -m studies.predict --model FOLDER --shards DIR --output predictions.parquet       # use it as it is
    cerebeam export --model FOLDER --shards DIR --output BUNDLE                              # without torch
"""


@dataclass(frozen=True, kw_only=True)
class FittedWorth:
    """Scores of a model on a predictions file, with 95% intervals over people."""

    model: str
    task: str
    n_windows: int
    n_people: int
    n_sites: int
    balanced_accuracy: tuple[float, float, float]
    """Value, low, high."""
    kl: tuple[float, float, float]
    """To the votes or labels, nats."""
    kl_less_constant: tuple[float, float, float]
    """Paired, less that of the best constant answer: the mean target of these very windows."""

    def __str__(self) -> str:
        """Return one line."""
        accuracy, kl, gain = (
            f"{value:.3f} [{low:.3f}, {high:.3f}]"
            for value, low, high in (self.balanced_accuracy, self.kl, self.kl_less_constant)
        )
        return (
            f"{self.model} on {self.n_windows} windows of {self.n_people} people at {self.n_sites} sites that it has "
            f"never seen: balanced accuracy {accuracy}, KL {kl}, less the best constant {gain}"
        )


def check_fitted(run: Path, predictions: Path) -> FittedWorth:
    """Return what a fitted model is worth; raises ValueError, saying why, where that is nothing or cannot be told.

    run: folder of the model. predictions: what `studies.predict` wrote of it, and of it alone, on people whom neither
    its fitting nor its pretraining has seen.
    """
    model, held = load_task_model(run), read_predictions(predictions)
    if held.meta.get("models_sha256") != [file_sha256(run / "model.safetensors")]:
        raise ValueError(
            f"{predictions} is not of the model in {run}: write it with python -m studies.predict --model {run}"
        )
    if seen := sorted(_seen(model, held)):
        raise ValueError(f"{run} has seen {len(seen)} people or recordings of {predictions}, e.g. {seen[0]}")
    worth = scores(held, model_name(model))
    chance = 1 / len(held.classes)
    if not (worth.kl_less_constant[2] < 0 and worth.balanced_accuracy[1] > chance):
        raise ValueError(f"{run} is not published: it knows no more than a constant answer ({worth})")
    return worth


def _seen(model: TaskModel, held: Predictions) -> Iterator[str]:
    """Yield people and recordings that stand on both sides; raises ValueError where it is not known who was seen."""
    about = model.config.provenance
    for kind, column in (("subjects", "subject_id"), ("recordings", "recording_id")):
        lists = [about.get(f"{stage}_{kind}") for stage in ("train", "pretrain")]
        if any(one is None for one in lists):
            raise ValueError(f"the model does not list the {kind} that it has seen: fit it anew")
        yield from set(held.frame[column]) & {name for one in lists for name in one or ()}


def scores(held: Predictions, name: str) -> FittedWorth:
    """Return the scores of a model of a file beside those of the best constant answer."""
    frame = held.of(name)
    mine, constant = tally(frame, held.classes), tally(_constant(frame, held.classes), held.classes)
    of_mine = draws(mine, n_boot=N_BOOT, seed=0)
    found = estimates(mine, of_mine)
    gap = differences((mine, of_mine), (constant, draws(constant, n_boot=N_BOOT, seed=0)))["kl"]
    return FittedWorth(
        model=name, task=held.task, n_windows=len(frame), n_people=frame["subject_id"].nunique(),
        n_sites=frame["site_id"].nunique(),
        balanced_accuracy=_triple(found["balanced_accuracy"]), kl=_triple(found["kl"]), kl_less_constant=_triple(gap),
    )  # fmt: skip


def _constant(frame: pd.DataFrame, classes: tuple[str, ...]) -> pd.DataFrame:
    mean = targets(frame, classes).mean(axis=0)
    return frame.assign(**{f"prob_{name}": mean[k] for k, name in enumerate(classes)})


def _triple(estimate: Estimate | Difference) -> tuple[float, float, float]:
    return round(estimate.value, 6), round(estimate.low, 6), round(estimate.high, 6)


def write_card(folder: Path, worth: FittedWorth, *, about: str = "") -> None:
    """Write scores.json and README.md beside a fitted model; about: what its labels and those of its scores are."""
    model = load_task_model(folder)
    config, provenance = model.config, model.config.provenance
    cells = (worth.balanced_accuracy, worth.kl, worth.kl_less_constant)
    accuracy, kl, gain = (f"{value:.3f} | [{low:.3f}, {high:.3f}]" for value, low, high in cells)
    text = _CARD.format(
        **asdict(worth), accuracy=accuracy, kl_cells=kl, gain=gain, chance=1 / len(config.classes),
        about=f"{about}\n\n" if about else "", n_params=sum(p.numel() for p in model.parameters()) / 1e6,
        window_s=config.window_s, n_chans=len(model.modality.ch_names), sfreq=model.modality.sfreq,
        classes=", ".join(config.classes), n_fitted=len(provenance["train_subjects"]),
        source=provenance.get("label_source", UNKNOWN_SOURCE), digest=provenance["manifest_digest"][:16],
        code=provenance["code_version"], recipe="scratch" if worth.model == ENCODER else worth.model,
    )  # fmt: skip
    (folder / SCORES_FILE).write_text(json.dumps(asdict(worth), indent=1) + "\n", encoding="utf-8")
    (folder / "README.md").write_text(text, encoding="utf-8")
