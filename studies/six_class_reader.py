"""A six-class reader that learnt from generators alone, as one bundle: `cerebeam six-class build` runs it.

    python -m studies.six_class_reader --corpus SHARDS --output BUNDLE [--network DIR ...] [--train-network DIR]

SHARDS is what `synthetic.critical_corpus` wrote. Members learn from its families to learn from: a regression, trees and
small networks on pattern features, and networks on samples (`--network`, saved models; `--train-network` trains one
into a folder, and goes on where it stopped). Which of them stay, how they are combined and calibrated is decided on the
other families, one left out at a time, on whole windows and on ten seconds. Nothing real has any influence.
"""

import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from signals.bundles.bundle import BundleError
from signals.command_line import Parser, whole
from studies.reading.bundling import write_reader
from studies.reading.choice import choose, tables
from studies.reading.members import Fitted, fit_members, predictor_of
from studies.reading.rows import Reading, held_out
from training.command import run_main
from training.fitting.fit import Fitting
from training.parallel.distributed import start_processes
from training.recipes.finetuning import FinetuneRecipe, resnet_gru
from training.recipes.sections import changed
from training.trainer.stopping import RESUME_EXIT

PROG = "studies.six_class_reader"
N_PARITY = 100
"""Held-out windows, each whole and short, on which graphs are compared with models."""


@dataclass(frozen=True, kw_only=True)
class ReaderCommand:
    """What a reader is made of."""

    corpus: Path
    output: Path
    """Folder of the bundle; must not exist yet."""
    networks: tuple[Path, ...] = ()
    """Saved networks that join the members."""
    train_network: Path | None = None
    """Folder of a ResNet1D-GRU to train first, or to go on training."""
    seed: int = 0


def network_recipe(seed: int) -> FinetuneRecipe:
    """Return the recipe of the network on samples: hospitals are to differ in response, time and montage."""
    recipe = changed(
        resnet_gru(), schedule={"epochs": 18, "patience": 6},
        augment={"equaliser_sd": 0.3, "time_shift_s": 2.0, "time_mask": 0.3},
    )  # fmt: skip
    return replace(recipe, seed=seed)


def train_network(reading: Reading, folder: Path, seed: int) -> Path:
    """Train a network on the families to learn from; one that is there already is kept."""
    if not (folder / "config.json").is_file():
        fitting = Fitting(reading.data, None, seed=seed, processes=start_processes("single"))
        metrics = folder.with_name(f"{folder.name}.jsonl")
        model = fitting.fit(reading.learn, network_recipe(seed), metrics=metrics, name="network")
        if model is None:
            raise SystemExit(RESUME_EXIT)
        model.save_pretrained(folder)
    return folder


def build(command: ReaderCommand) -> list[str]:
    """Write the bundle and return what is printed of it."""
    if command.output.exists():
        raise BundleError(f"output {command.output} exists already; choose another")
    reading = Reading.open(command.corpus, features=command.output.with_name(f"{command.output.name}-patterns.npz"))
    networks = list(command.networks)
    if command.train_network is not None:
        networks.append(train_network(reading, command.train_network, command.seed))
    members = fit_members(reading, seed=command.seed, networks=networks)
    everyone = held_out(reading, tuple(m.name for m in members), answers_of(members, reading))
    chosen = choose(everyone, seed=command.seed)
    some = reading.held_out[np.linspace(0, len(reading.held_out) - 1, min(N_PARITY, len(reading.held_out))).astype(int)]
    agreement = write_reader(
        command.output, members, chosen, reading, list(reading.windows(some)), seed=command.seed
    )  # fmt: skip
    return [
        *tables(chosen, everyone, seed=command.seed),
        f"bundle {command.output}: largest difference of the graphs from the models "
        f"{agreement.max_probability_difference:.1e} over {agreement.n_windows} windows",
    ]


def answers_of(members: Sequence[Fitted], reading: Reading) -> np.ndarray:
    """Return members' logits of all held-out windows by their graphs, shape (n_members, 2 n, n_classes)."""
    with tempfile.TemporaryDirectory() as folder:
        predict = predictor_of(Path(folder), [member.write(Path(folder)) for member in members])
        return predict(reading.windows(reading.held_out))


def main(argv: Sequence[str] | None = None) -> None:
    """Run from the command line."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    parser = Parser(prog=PROG, description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--corpus", type=Path, required=True, help="shard set of synthetic.critical_corpus")
    parser.add_argument("--output", type=Path, required=True, help="folder of the bundle; must not exist yet")
    parser.add_argument("--network", type=Path, nargs="+", default=[], help="saved networks that join the members")
    parser.add_argument("--train-network", type=Path, help="folder of a ResNet1D-GRU that is trained first")
    parser.add_argument("--seed", type=whole, default=0, help="of what members draw")
    given = parser.parse_args(arguments)
    command = ReaderCommand(
        corpus=given.corpus, output=given.output, networks=tuple(given.network), train_network=given.train_network,
        seed=given.seed,
    )  # fmt: skip
    run_main(PROG, lambda: print("\n".join(build(command))))  # noqa: T201


if __name__ == "__main__":
    main()
