"""Publish a pretrained encoder: `python -m training.publish --run DIR --output DIR`.

Copies the encoder of a finished pretraining with its skill and reconstruction into an empty folder, whole or not at
all. An encoder that adds nothing to what needs no network, in any part of its skill that was measured
(`training.objectives.skill`), is refused.
"""

import os
import shutil
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from signals.command_line import Parser
from signals.json_output import add_json, print_json
from training.command import check_model_dir, run_main
from training.objectives.latent_validation import describe, have_collapsed, read_latents
from training.objectives.skill import Skill, read_skill
from training.provenance import SUBJECTS_FILE

PROG = "cerebeam publish"


def check_skill(run: Path) -> Skill:
    """Return a run's skill; raises ValueError, naming the parts, where it is at or below 0 or was not measured.

    Raises ValueError too where the latents that it learnt from have collapsed.
    """
    skill, latents = read_skill(run), read_latents(run)
    if have_collapsed(latents):
        raise ValueError(f"{run} is not published: {describe(latents)}")
    if not skill.measured:
        raise ValueError(f"{run} has no skill that could be measured: its held-out windows were too few")
    if skill.lacking:
        parts = ", ".join(f"{name} {value:+.3f}" for name, value in skill.lacking.items())
        raise ValueError(f"{run} is not published: its network adds nothing to what needs none ({parts})")
    return skill


def publish(run: Path, output: Path) -> Skill:
    """Copy a run's encoder into a new folder; raises ValueError where its skill is refused or the folder is there."""
    skill, encoder = check_skill(run), check_model_dir(run / "encoder")
    if not (encoder / SUBJECTS_FILE).is_file():
        raise FileNotFoundError(f"{encoder} does not list who it was trained on ({SUBJECTS_FILE})")
    if output.exists():
        raise ValueError(f"{output} exists: choose another --output")
    partial = output.with_name(f"{output.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    shutil.copytree(encoder, partial)
    if (run / "reconstruction.parquet").is_file():
        shutil.copy(run / "reconstruction.parquet", partial / "reconstruction.parquet")
    os.replace(partial, output)
    return skill


def main(argv: Sequence[str] | None = None) -> None:
    """Run from the command line."""
    parser = Parser(prog=PROG, description=(__doc__ or "").partition(":")[0])
    parser.add_argument("--run", type=Path, required=True, help="folder of a finished pretraining")
    parser.add_argument("--output", type=Path, required=True, help="new folder of the published encoder")
    add_json(parser, "the folder, and the encoder's skill")
    given = parser.parse_args(sys.argv[1:] if argv is None else argv)

    def work() -> None:
        skill = publish(given.run, given.output)
        if given.json:
            print_json({"output": given.output, **asdict(skill)})
        else:
            print(f"{given.output}: {skill}")  # noqa: T201

    run_main(PROG, work)


if __name__ == "__main__":
    main()
