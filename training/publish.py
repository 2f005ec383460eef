"""Publish a pretrained encoder or a fitted model: `python -m training.publish --run DIR --output DIR`.

Copies the encoder of a finished pretraining with its skill, reconstruction and scores of planted truth into an empty
folder, whole or not at all. An encoder that adds nothing to what needs no network, in any part of its skill that was
measured (`training.objectives.skill`), or knows no more of planted truth than what knows nothing, is refused. Of a run
that hid nothing, planted truth alone decides. A control (`model.pretraining.trunks`) is no encoder and is refused.

With `--predictions FILE`, which `studies.predict` wrote of people whom the model has never seen, DIR is the folder of a
fitted model (`training.finetune`): it is copied with its scores on them and a card, unless a constant answer is as good
(`training.fitted_worth`).
"""

import os
import shutil
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from model.saved import check_model_dir
from signals.command_line import Parser
from signals.json_output import add_json, print_json
from training.command import run_main
from training.fitted_worth import FittedWorth, check_fitted, write_card
from training.objectives.latent_validation import describe, have_collapsed, read_latents
from training.objectives.planting.evaluation import ALL, TRUTH_FILE, Score, read_scores
from training.objectives.skill import SKILL_FILE, Skill, read_skill
from training.provenance import SUBJECTS_FILE, pretraining_config, trunk_of

PROG = "cerebeam publish"


@dataclass(frozen=True, kw_only=True)
class Worth:
    """What a run has learnt, as it was measured at its end."""

    skill: Skill | None
    """None for a run that hid nothing."""
    truth: Sequence[Score]
    """Of planted truth, over all families; empty for a run without."""

    def __str__(self) -> str:
        """Return a line for the skill, and one for each score."""
        return "\n".join(str(one) for one in (self.skill, *self.truth) if one is not None)


def check_worth(run: Path) -> Worth:
    """Return what a run has learnt; raises ValueError, naming the parts, where that is nothing or was not measured.

    Raises ValueError too for a control, and where the latents that it learnt from have collapsed.
    """
    if (trunk := trunk_of(run)) != "encoder":
        raise ValueError(f"{run} is not published: it trained the control {trunk}, and holds no encoder")
    truth, latents = [score for score in read_scores(run) if score.family == ALL], read_latents(run)
    if have_collapsed(latents):
        raise ValueError(f"{run} is not published: {describe(latents)}")
    if unlearnt := [score for score in truth if np.isfinite(score.value) and not score.is_learnt]:
        parts = ", ".join(f"{s.measure} {s.value:.3f}, trivial {s.trivial:.3f}" for s in unlearnt)
        raise ValueError(f"{run} is not published: of planted truth it knows no more than what knows nothing ({parts})")
    if truth and not any(np.isfinite(score.value) for score in truth):
        raise ValueError(f"{run} is not published: no measure of planted truth is defined for what it predicts")
    hid_nothing = bool(truth) and not (run / SKILL_FILE).is_file()
    return Worth(skill=None if hid_nothing else _skill(run), truth=truth)


def _skill(run: Path) -> Skill:
    skill = read_skill(run)
    if not skill.measured:
        raise ValueError(f"{run} has no skill that could be measured: its held-out windows were too few")
    if pretraining_config(run).get("objective", {}).get("knowledge") and "stretches" not in skill.measured:
        raise ValueError(
            f"{run} is not published: it learnt to describe stretches, and no held-out window could be described; give "
            "it held-out people with the 19 electrodes of the 10-20 system"
        )
    if skill.lacking:
        parts = ", ".join(f"{name} {value:+.3f}" for name, value in skill.lacking.items())
        raise ValueError(f"{run} is not published: its network adds nothing to what needs none ({parts})")
    return skill


def publish(run: Path, output: Path) -> Worth:
    """Copy a run's encoder into a new folder; raises ValueError where it is refused or the folder is there."""
    worth, encoder = check_worth(run), check_model_dir(run / "encoder")
    if not (encoder / SUBJECTS_FILE).is_file():
        raise FileNotFoundError(f"{encoder} does not list who it was trained on ({SUBJECTS_FILE})")
    with _whole(output) as partial:
        files = [file for file in encoder.iterdir() if file.is_file()]
        for file in [*files, *(run / name for name in ("reconstruction.parquet", TRUTH_FILE))]:
            if file.is_file():
                shutil.copyfile(file, partial / file.name)
    return worth


def publish_fitted(run: Path, predictions: Path, output: Path, *, about: str = "") -> FittedWorth:
    """Copy a fitted model with its scores and a card; raises ValueError where it is refused or the folder is there.

    about: sentences for the card on what the labels are.
    """
    worth = check_fitted(check_model_dir(run), predictions)
    with _whole(output) as partial:
        for name in ("config.json", "model.safetensors"):
            shutil.copyfile(run / name, partial / name)
        write_card(partial, worth, about=about)
    return worth


@contextmanager
def _whole(output: Path) -> Iterator[Path]:
    """Yield an empty folder that takes its name once all is in it; raises ValueError where the name is taken."""
    if output.exists():
        raise ValueError(f"{output} exists: choose another --output")
    partial = output.with_name(f"{output.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    yield partial
    os.replace(partial, output)


def main(argv: Sequence[str] | None = None) -> None:
    """Run from the command line."""
    parser = Parser(prog=PROG, description=(__doc__ or "").partition(":")[0])
    parser.add_argument(
        "--run", type=Path, required=True, help="folder of a finished pretraining, or of a fitted model"
    )
    parser.add_argument(
        "--predictions", type=Path, help="of a fitted model: its predictions of people it has never seen"
    )
    parser.add_argument("--about", default="", help="sentences for a fitted model's card: what its labels are")
    parser.add_argument("--output", type=Path, required=True, help="new folder of what is published")
    add_json(parser, "the folder, the encoder's skill, and its scores of planted truth; of a fitted model its scores")
    given = parser.parse_args(sys.argv[1:] if argv is None else argv)

    def work() -> None:
        if given.predictions is not None:
            fitted = publish_fitted(given.run, given.predictions, given.output, about=given.about)
            if given.json:
                print_json({"output": given.output, **asdict(fitted)})
            else:
                print(f"{given.output}: {fitted}")  # noqa: T201
            return
        worth = publish(given.run, given.output)
        if given.json:
            skill = {} if worth.skill is None else asdict(worth.skill)
            print_json({"output": given.output, **skill, "truth": [asdict(score) for score in worth.truth]})
        else:
            print(f"{given.output}: {worth}")  # noqa: T201

    run_main(PROG, work)


if __name__ == "__main__":
    main()
