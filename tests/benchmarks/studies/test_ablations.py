"""The bench of the encoder's parts takes out what it names, and pairs variants with the whole encoder seed by seed."""

from pathlib import Path

import pytest

from benchmarks.studies import ablations
from cerebeam.help.pages import load
from model.encoder import Encoder
from tests.benchmarks.test_simulated import rows, write
from training.fitting.fit import start_encoder
from training.objectives.skill import Skill, write_skill


def test_each_variant_begins_without_its_part_and_unpretrained(tmp_path: Path) -> None:
    kept = {}
    for variant in ablations.VARIANTS:
        folder = ablations.begin(tmp_path / variant, variant, 3)
        encoder, about = start_encoder(folder, seed=0)
        assert (about["train"], about["recipe"]) == ([], None)
        kept[variant] = encoder
    configs = {variant: {**encoder.config.to_dict(), "_name_or_path": ""} for variant, encoder in kept.items()}
    for variant, changes in ablations.VARIANTS.items():
        full, own = configs[ablations.FULL], configs[variant]
        assert {name for name in full if own[name] != full[name]} == set(changes)
    again = ablations.begin(tmp_path / "again", ablations.FULL, 4)
    weights = [next(Encoder.from_pretrained(folder).parameters()) for folder in (tmp_path / ablations.FULL, again)]
    assert not weights[0].equal(weights[1])


def test_switches_are_options_of_pretraining(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    commands: list[list[str]] = []

    def module(name: str, *args: object) -> None:
        commands.append([name, *map(str, args)])
        encoder = Path(commands[-1][commands[-1].index("--output") + 1]) / "encoder"
        encoder.mkdir(parents=True)
        write_skill(encoder, Skill(gaps=0.0, channels=0.5, seconds=0.0, n_windows=1, n_subjects=1))

    monkeypatch.setattr(ablations.encoder_channels, "module", module)
    for switch in ("", *ablations.SWITCHES.values()):
        run = ablations.encoder_channels.Run(tmp_path, 10, 0, switch)
        assert not run.folder.exists()
        assert run.train([]).channels == 0.5
    known = {name for option in load()["pretrain"].options for name in option.names}
    assert {part for command in commands for part in command if part.startswith("--")} <= known
    assert [[part for part in command if part.startswith("--model")] for command in commands] == [
        [], ["--model.no-graph"], ["--model.no-covariance"], ["--model.no-positions"]
    ]  # fmt: skip


def test_variants_are_compared_with_the_whole_encoder(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    right = {variant: 0.8 - 0.1 * k for k, variant in enumerate(ablations.VARIANTS)}
    for seed in range(2):
        for variant, share in right.items():
            write(ablations.predicted(tmp_path, variant, seed), rows("scratch", right=share))
    ablations.compare(ablations.collect(tmp_path, seeds=2))
    lines = [line for line in capfd.readouterr().out.splitlines() if line.startswith("| ")]
    assert [line.split(" | ")[0] for line in lines[1:]] == [f"| {variant}" for variant in ablations.VARIANTS]
    # Equal rows in each seed: -log(.7) + log(.8).
    assert "| without graph | 1.000 | +0.000 [+0.000, +0.000] | 0.357 | +0.134 [+0.134, +0.134] |" in lines
