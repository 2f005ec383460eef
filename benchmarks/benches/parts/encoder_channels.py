"""Whole channels from the others: what an encoder learns of it on real recordings of people it is not scored on."""

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.harness import figure, module
from benchmarks.studies.real import CARDS, SALT, real_folder
from training.objectives.skill import Skill, read_skill

FULL_STEPS, SMALL_STEPS, BATCH = 1500, 10, 16
SITES = ("albany-eegmmidb", "kyiv-eegmat", "tehran-adhd", "frankfurt-rest", "leipzig-lemon", "sandiego-eeglab")
"""Sites of at least 15 of the 19 electrodes, recorded continuously."""
HELD_OUT, CHOOSE = 0.3, 0.2


def shards(output: Path) -> list[Path]:
    """Return the shard sets of the recordings at hand, made now unless they are there."""
    made = []
    for name in ("real", "more"):
        folder = Path(os.environ["CEREBEAM_REAL_DATA"]) / name
        inputs = [folder / site for site in SITES if (folder / site).is_dir()]
        if not inputs:
            continue
        made.append(output / f"shards-{name}")
        if not (made[-1] / "_COMPLETED").is_file():
            module(
                "pipelines.preprocess", "--input", *inputs, "--labels", folder / "labels.csv", "--output", made[-1],
                "--salt", SALT, "--site-from", "label", "--site-card", CARDS,
            )  # fmt: skip
    return made


@dataclass(frozen=True)
class Run:
    """A training on whole channels alone, and where it lies.

    without: a switch of the encoder that is turned off (`model.encoder_config`). choosing: a part of the training
    people stand in for the held-out ones, who stay unseen.
    """

    output: Path
    steps: int
    seed: int
    without: str = ""
    choosing: bool = False

    @property
    def folder(self) -> Path:
        """Where it lies."""
        name = f"{'choose' if self.choosing else 'score'}-{self.steps}-{self.seed}"
        return self.output / (f"{name}-without-{self.without}" if self.without else name)

    @property
    def encoder(self) -> Path:
        """The trained encoder, with its skill on held-out people."""
        return self.folder / "encoder"

    def train(self, sets: list[Path]) -> Skill:
        """Train, unless that is done, and return the skill."""
        if not (self.encoder / "skill.json").is_file():
            module(
                "training.pretrain", "--recipe", "eeg_tiny", "--shards", *sets, "--output", self.folder, "--seed",
                str(self.seed), "--objective.schedule-weights", "0", "0", "1", "--objective.contrastive", "0",
                "--schedule.steps", str(self.steps), "--optim.batch", str(BATCH), "--data.held-out-share",
                str(HELD_OUT), "--data.choose-share", str(CHOOSE if self.choosing else 0.0), "--track.skill-windows",
                "1000", *([f"--model.no-{self.without}"] if self.without else []),
            )  # fmt: skip
        return read_skill(self.encoder)


def channels(output: Path, *, steps: int = FULL_STEPS, seeds: int = 3, choosing: bool = False) -> None:
    """Print the skill of each seed with its interval over people, and their mean.

    0 is a ridge from the visible channels that was fitted on training people, 1 the same ridge fitted on the very
    recording (`training.objectives.skill`).
    """
    if real_folder() is None:
        print("  no real recordings: set CEREBEAM_REAL_DATA")
        return
    sets = shards(output)
    skills = [Run(output, steps, seed, choosing=choosing).train(sets) for seed in range(seeds)]
    print(
        f"  budget: {steps} steps of {BATCH} windows, {steps * BATCH} windows seen; 2-4 of 19 channels hidden in each"
    )
    for seed, skill in enumerate(skills):
        print(f"  seed {seed}: {skill.shown('channels')}, {skill.n_subjects} people, {skill.n_windows} windows")
    figure("encoder_channel_skill", float(np.mean([skill.channels for skill in skills])), "share")
    low, high = np.mean([skill.interval("channels") for skill in skills], axis=0)
    figure("encoder_channel_skill_low", float(low), "share")
    figure("encoder_channel_skill_high", float(high), "share")
