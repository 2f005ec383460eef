"""Shards and encoders of the tables over hearts: generated people, real records, real EEG; each is made once.

Nobody who is probed was pretrained on: real hearts are probed by encoders of generated ones, generated ones by an
encoder of real records, and the electroencephalograms of children who are in no pretraining.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.harness import figure, module
from benchmarks.studies.real import CARDS, SALT
from synthetic.heart.corpus import write_hearts
from training.hubert import pretrain_hubert
from training.recipes.hubert import ecg_hubert
from training.recipes.sections import changed
from training.trainer.stopping import RESUME_EXIT, StopRequest

EEG_SITES = (
    "albany-eegmmidb", "frankfurt-rest", "kyiv-eegmat", "leipzig-lemon", "sandiego-eeglab", "tehran-adhd",
)  # fmt: skip
"""Sites of real recordings that encoders of EEG see; the children of `ADHD` are other people."""
ADHD = "tehran-adhd"


@dataclass(frozen=True, kw_only=True)
class Corpora:
    """Shard sets and encoders below one folder; what is there already is not made again."""

    root: Path
    data: Path
    """Folder with real/, more/ and ecg/, as CEREBEAM_REAL_DATA names it."""
    people: int
    """Generated people a site."""
    steps: int
    """Steps of each pretraining."""

    def generated(self) -> Path:
        """Return shards of generated hearts at four sites."""
        folder = self.root / "generated"
        if not (folder / "manifest.json").is_file():
            write_hearts(folder, n_people=self.people, seed=11)
        return folder

    def hearts(self) -> Path:
        """Return shards of all real records of leads."""
        return self._prepared("hearts", [self.data / "ecg"], "ecg-rhythm", "--site-from", "folder")

    def eeg(self) -> Path:
        """Return shards of the EEG that is pretrained on."""
        real = self.data / "real"
        return self._prepared("eeg", [real / site for site in EEG_SITES], "pretrain", *_labels(real))

    def children(self) -> Path:
        """Return shards of the EEG that is probed."""
        more = self.data / "more"
        return self._prepared("children", [more / ADHD], "pretrain", *_labels(more))

    def encoder(self, name: str, *shards: Path) -> Path:
        """Return an encoder that was pretrained on shard sets, all with the same recipe and number of steps."""
        run = self.root / "encoders" / name
        if not (run / "encoder" / "model.safetensors").is_file():
            module("training.pretrain", "--recipe", "eeg_tiny", "--shards", *shards, "--output", run,
                   "--schedule.steps", str(self.steps))  # fmt: skip
        return run / "encoder"

    def hubert(self, name: str, shards: Path) -> Path:
        """Return a HuBERT that was pretrained on a shard set, for as many steps of as many windows as encoders are.

        Leaves the program where a signal stopped it; it goes on from its last checkpoint.
        """
        run = self.root / "hubert" / name
        if not (run / "units.json").is_file():
            recipe = changed(ecg_hubert(), schedule={"steps": self.steps})
            with StopRequest().listening() as stop:
                if not pretrain_hubert(shards, run, recipe, stop=stop):
                    raise SystemExit(RESUME_EXIT)
            found = json.loads((run / "units.json").read_text(encoding="utf-8"))
            figure(f"ecg_hubert_units_{name}", found["accuracy"], "share")
            figure(f"ecg_hubert_units_{name}_commonest", found["accuracy_commonest"], "share")
        return run / "encoder"

    def _prepared(self, name: str, inputs: Sequence[Path], profile: str, *options: str | Path) -> Path:
        output = self.root / name
        if not (output / "_COMPLETED").is_file():
            module("pipelines.preprocess", "--input", *inputs, "--profile", profile, "--output", output,
                   "--salt", SALT, *options)  # fmt: skip
        return output


def _labels(folder: Path) -> tuple[str | Path, ...]:
    return ("--labels", folder / "labels.csv", "--site-from", "label", "--site-card", CARDS)
