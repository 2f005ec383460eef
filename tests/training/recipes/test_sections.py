import json
import re
from dataclasses import asdict, dataclass, fields, is_dataclass
from pathlib import Path
from typing import Annotated, Any

import pytest

from training.command import Sections, overridden, parse_command, write_config
from training.recipes import autoencoding, compression, finetuning, pretraining
from training.recipes.pretraining import PretrainRecipe
from training.recipes.sections import Optim, changed, shown
from training.trainer.saving import changed_settings, flat

ALL = {
    **pretraining.RECIPES, **finetuning.RECIPES, **autoencoding.RECIPES, "brief": compression.brief,
}  # fmt: skip
SECTIONS = {"model", "data", "objective", "optim", "schedule", "regularise", "augment", "truth", "track"}


@dataclass(frozen=True, kw_only=True)
class Command:
    """A command with a recipe."""

    output: Path
    recipe: str
    config: Annotated[PretrainRecipe, Sections]


def parse(*more: str) -> Command:
    return parse_command(Command, pretraining.RECIPES, ["--output", "x", *more], default_recipe="eeg_tiny", prog="test")


@pytest.mark.parametrize("name", sorted(ALL))
@pytest.mark.parametrize("tiny", [False, True])
def test_a_recipe_is_frozen_sections_with_a_docstring_for_every_field(name: str, tiny: bool) -> None:
    recipe = ALL[name](tiny=tiny)
    named = {field.name for field in fields(recipe)}
    assert named <= SECTIONS | {"seed"}
    for section in named - {"seed"}:
        values = getattr(recipe, section)
        assert is_dataclass(values)
        with pytest.raises(AttributeError):
            values.anything = 1


def test_every_option_is_named_by_its_section() -> None:
    command = parse("--optim.batch", "4", "--model.no-graph", "--track.to", "wandb", "--seed", "3")
    assert command.config.optim.batch == 4
    assert not command.config.model.graph
    assert command.config.track.to == ("wandb",)
    assert command.config.seed == 3
    assert command.config.schedule.steps == 300  # the recipe's own stays


@pytest.mark.parametrize("option", ["--optim.learning-rate", "--optim.clip-norm", "--augment.gain-sd", "--data.crop-s"])
@pytest.mark.parametrize("number", ["inf", "nan", "-inf"])
def test_a_number_that_is_not_finite_is_refused_before_training(
    option: str, number: str, capfd: pytest.CaptureFixture[str]
) -> None:
    # A rate of inf passed every "above 0" and ended in a traceback at the second step.
    with pytest.raises(SystemExit) as raised:
        parse(f"{option}={number}")
    assert raised.value.code == 2
    err = capfd.readouterr().err
    assert err.startswith("test: ")
    assert err.count("\n") == 1


@pytest.mark.parametrize("flat_name", ["--batch", "--learning-rate", "--steps", "--config.optim.batch", "--track"])
def test_no_option_goes_by_another_name(flat_name: str, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as raised:
        parse(flat_name, "4")
    assert raised.value.code == 2
    assert f"unknown option '{flat_name}'" in capfd.readouterr().err


def test_a_recipe_alone_takes_the_same_options(capfd: pytest.CaptureFixture[str]) -> None:
    recipe = overridden(finetuning.eegnet(), ["--schedule.epochs", "3", "--augment.mirror", "0"], prog="test")
    assert (recipe.schedule.epochs, recipe.augment.mirror, recipe.model.name) == (3, 0.0, "eegnet")
    with pytest.raises(SystemExit):
        overridden(finetuning.eegnet(), ["--regularise.freeze", "stem"], prog="test")
    assert "has no such groups" in capfd.readouterr().err


def test_what_is_resolved_is_printed_and_stored(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("INFO"):
        write_config(tmp_path / "config.json", parse("--optim.batch", "4"))
    stored = json.loads((tmp_path / "config.json").read_text())
    assert stored["config"]["optim"]["batch"] == 4
    printed = [line.strip() for line in caplog.text.splitlines()]
    for name, value in flat(stored["config"]).items():
        if isinstance(value, int | float):
            assert f"{name.split('.')[-1]}: {value}" in printed
    assert "  batch: 4" in shown(parse("--optim.batch", "4").config).splitlines()


def test_the_rate_grows_with_the_batch_by_the_rule_that_was_chosen() -> None:
    # Four times the batch: the root of 4, or 4 itself.
    assert Optim().peak_rate == Optim().learning_rate == 3e-3
    assert Optim(batch=64, rate_batch=16).peak_rate == pytest.approx(6e-3)
    assert Optim(batch=64, rate_batch=16, rate_rule="linear").peak_rate == pytest.approx(12e-3)
    assert Optim(batch=4, rate_batch=16, rate_rule="linear").peak_rate == pytest.approx(3e-3 / 4)


def test_only_what_changes_no_step_may_change_when_a_run_goes_on() -> None:
    recipe = PretrainRecipe()
    free = changed(
        recipe,
        schedule={"steps": 9999},
        track={"save_every": 3, "validate_every": 2, "to": ("wandb",)},
        data={"loader_processes": 2, "resident": "device"},
        optim={"micro_batch": 1, "compile": True},
    )
    as_dict = json.loads(json.dumps(flat(_plain(recipe))))
    assert changed_settings(as_dict, json.loads(json.dumps(flat(_plain(free)))), {}) == []
    other = changed(recipe, optim={"batch": 3}, schedule={"warmup_steps": 1})
    assert changed_settings(_plain(recipe), _plain(other), {}) == ["optim.batch", "schedule.warmup_steps"]
    # A setting that a checkpoint is too old for has its default.
    older = flat(_plain(recipe))
    del older["optim.rate_rule"]
    assert changed_settings(older, _plain(recipe), _plain(PretrainRecipe())) == []
    assert changed_settings(older, _plain(changed(recipe, optim={"rate_rule": "linear"})), _plain(recipe)) != []


def _plain(recipe: Any) -> dict[str, Any]:
    return asdict(recipe)


def test_every_option_that_the_pages_name_is_one() -> None:
    root = Path(__file__).parents[3]
    recipes = [PretrainRecipe(), finetuning.FinetuneRecipe(), autoencoding.AutoencoderRecipe()]
    known = {name.replace("_", "-") for recipe in recipes for name in flat(_plain(recipe))}
    pages = [*root.glob("docs/*.md"), *root.glob("infra/**/*.md"), *root.glob("infra/multinode/*"), root / "README.md"]
    named = {
        (page.name, section, option)
        for page in pages
        for section, option in re.findall(r"--(\w+)\.(?:no-)?([a-z-]+)", page.read_text())
        if section in SECTIONS
    }
    assert len(named) > 30
    assert not [one for one in named if f"{one[1]}.{one[2]}" not in known]
    flat_names = {name.partition(".")[2] for name in known if "." in name} - {"name", "to"}
    # No page that shows training's commands names a field without its section.
    stray = {
        (page.name, option)
        for page in pages
        if page.name in ("training.md", "training_internals.md", "six_class.md", "pretraining.md", "encoder.md")
        for option in re.findall(r"`--(?:no-)?([a-z-]+)[ `]", page.read_text())
        if option in flat_names
    }
    assert not stray
