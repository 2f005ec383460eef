"""Pretraining: hide parts of unlabelled windows, learn to fill them in, measure it on subjects never trained on.

`python -m training.pretrain --recipe eeg_tiny --shards DIR --output DIR`, or the same under torchrun. Started again
with the same options after an interruption (exit code 75), it goes on from the last checkpoint; with more
`--schedule.steps` a finished run is prolonged. `--init-from DIR` starts from the weights of another run, of an
encoder or of a fitted model.

OUT/encoder/ model for transformers, not of a control; OUT/checkpoints/; OUT/metrics.jsonl; OUT/curves.html;
OUT/config.json; OUT/reconstruction.parquet where gaps are filled; OUT/skill.json where anything is hidden;
OUT/latents.json where latents are predicted; OUT/truth.json and OUT/truth_predictions.npz where patterns are laid;
OUT/pretrain_subjects.json the subjects trained on and held out.
"""

import json
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing, suppress
from copy import deepcopy
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pandas as pd
import torch

from evaluation.scenarios.reconstruction import write_reconstruction
from model.pretraining.pretraining import PretrainModel
from model.pretraining.trunks import TRUNKS
from signals.version import code_version
from training.command import Sections, parse_command, run_main, write_config
from training.corpus.corpus import Corpus
from training.corpus.order import check_batch
from training.corpus.partners import Partners, check_pairs
from training.corpus.source import Choice, Resident, Source
from training.corpus.splits import Sides
from training.corpus.steps import Batch, StepBatches
from training.corpus.stream import Prepare, Reading, Stream, step_batches
from training.held_out import HeldOutValidation
from training.objectives.latent_validation import describe, validate_latents, write_latents
from training.objectives.planting.evaluation import score_truth
from training.objectives.planting.planted_bank import PlantedBank, open_bank
from training.objectives.reconstruction import evaluate_reconstruction
from training.objectives.recording_contrast import with_keys, without_keys
from training.objectives.skill import Skill, write_skill
from training.objectives.skill_meter import SkillMeter
from training.objectives.stretches.knowledge import FIT_WINDOWS, fit_knowledge, knowledge_errors
from training.objectives.validation import Look, check_probe
from training.parallel.distributed import Backend, Processes, start_processes
from training.parallel.sharding import is_sharded, share_out
from training.pretrain_data import choose_sides, looks_of, of_people, partners_of, prepare_of, source_of
from training.provenance import SUBJECTS_FILE, trained_on
from training.recipes.pretraining import RECIPES, PretrainRecipe
from training.trainer.monitoring import monitored
from training.trainer.precision import autocast
from training.trainer.saving import Saver, resume
from training.trainer.start import give_teacher, new_trainer, start_from
from training.trainer.stopping import RESUME_EXIT, Stopped, StopRequest
from training.trainer.train import Trainer, run_steps


@dataclass(frozen=True, kw_only=True)
class PretrainCommand:
    """Pretrain an encoder on shard sets."""

    shards: tuple[str, ...]
    """Shard sets of cerebeam preprocess, folders or URIs (gs://, s3://), of any modalities and lengths of window."""
    output: Path
    """Folder of the run."""
    sampling_weights: tuple[float, ...] = ()
    """Share of a step's windows that each set gives; by their numbers of windows without."""
    exclude_sites: tuple[str, ...] = ()
    """Sites that are neither trained on nor scored."""
    init_from: Path | None = None
    """Folder of a run or of an encoder whose weights a new run starts from."""
    bank: Path | None = None
    """Bank of simulated patterns, as `cerebeam bank` makes them, for recipes that learn from planted truth."""
    max_steps: int | None = None
    """Stop after this many steps; the schedule stays the recipe's."""
    dist: Backend = "auto"
    """How processes talk: torchrun's and horovodrun's environments are recognised."""
    recipe: str
    """Name of the recipe that gave the configuration."""
    config: Annotated[PretrainRecipe, Sections]
    """The recipe, with overrides."""

    def __post_init__(self) -> None:
        if self.max_steps is not None and self.max_steps < 1:
            raise ValueError(f"--max-steps {self.max_steps} must be at least 1")


def pretrain(command: PretrainCommand, processes: Processes, stop: StopRequest) -> bool:
    """Run, or go on with, a pretraining; returns False if a signal stopped it (it can be started again)."""
    recipe = command.config
    check_batch(batch=recipe.optim.batch, world_size=processes.world_size)
    corpora = open_corpora(command)
    sides = choose_sides(corpora, recipe)
    sources = [source_of(corpus, sides, recipe) for corpus in corpora]
    bank = open_bank(command.bank, recipe.laying, processes.device)
    about = {
        "config": asdict(recipe),
        "manifest_digest": "+".join(corpus.manifest.digest for corpus in corpora),
        "bank_digest": None if bank is None else bank.digest,
        "exclude_sites": sorted(command.exclude_sites),
        "code_version": code_version(),
    }
    trainer = _trainer(recipe, processes, stop)
    track = recipe.track
    saver = Saver(
        track.checkpoints or command.output / "checkpoints",
        processes,
        keep=track.keep,
        in_background=track.save_in_background,
        shared=is_sharded(trainer.module),
    )
    decides = {name: about[name] for name in ("config", "manifest_digest", "bank_digest", "exclude_sites")}
    state = resume(trainer, saver.folder, decides, defaults=asdict(PretrainRecipe()))
    if state is None and command.init_from is not None:
        start_from(trainer, command.init_from)
    stream = _stream(command, sources, sides, processes)
    if state is None and recipe.objective.knowledge and recipe.blocks:
        fit_knowledge(trainer.module, looks_of(sources, sides.train, recipe, FIT_WINDOWS), recipe.blocks)
    if state is not None and len(stream.place):
        stream.go_to(state["loader"]["place"])
    looks = looks_of(sources, sides.held_out, recipe, track.validate_windows)
    if track.choose_by == "probe":
        check_probe(looks)
    finished = _train(command, trainer, saver, stream, looks, about, bank)
    if finished:
        with trainer.evaluated() as model:
            latents = validate_latents(model, looks, recipe.blocks, processes) if recipe.blocks else {}
            known = looks_of(sources, sides.held_out, recipe, track.skill_windows) if recipe.objective.knowledge else []
            stretches = knowledge_errors(model, known, recipe.blocks, processes)
            reconstruction = _reconstruction(command, model, processes, stop, sources, sides)
            if processes.is_main:
                _finish(command, model, reconstruction, stop, sources, sides, about, latents, stretches)
                if bank is not None:
                    normaliser, crop_s = sources[0].normaliser, recipe.data.crop_s
                    print(score_truth(command.output, model, bank, normaliser, crop_s, on_batch=stop.check))  # noqa: T201
    processes.barrier()
    return finished


def open_corpora(command: PretrainCommand) -> list[Corpus]:
    """Return the shard sets: one corpus, or one per set where they are weighted or of several modalities.

    Raises ValueError for weights that are not as many as the sets.
    """
    how: dict[str, Any] = {"max_corrupt": command.config.data.max_corrupt}
    if command.sampling_weights and len(command.sampling_weights) != len(command.shards):
        raise ValueError(f"{len(command.sampling_weights)} sampling weights for {len(command.shards)} shard sets")
    each = [Corpus.open(uri, **how) for uri in command.shards]
    sites = {shard.site_id for corpus in each for shard in corpus.shards}
    if unknown := set(command.exclude_sites) - sites:
        raise ValueError(f"sites {sorted(unknown)} are not in the shard sets, which have {sorted(sites)}")
    if not command.sampling_weights and len({corpus.manifest.modality.name for corpus in each}) == 1:
        return [Corpus.open(command.shards, exclude_sites=command.exclude_sites, **how)]
    excluded = [sorted(set(command.exclude_sites) & {shard.site_id for shard in corpus.shards}) for corpus in each]
    return [Corpus.open(uri, exclude_sites=s, **how) for uri, s in zip(command.shards, excluded, strict=True)]


def _stream(command: PretrainCommand, sources: Sequence[Source], sides: Sides, processes: Processes) -> Stream:
    recipe = command.config
    reading = Reading(
        batch=recipe.optim.batch,
        micro_batch=recipe.optim.micro_batch,
        seed=recipe.seed,
        n_lanes=recipe.data.lanes,
        rank=processes.rank,
        world_size=processes.world_size,
    )
    data = recipe.data
    choices = [Choice(sides.train, min_quality=data.min_quality, good_only=data.good_only) for _ in sources]
    if data.resident == "device":
        for source, choice in zip(sources, choices, strict=True):
            source.resident = Resident(source, choice.rows(source.corpus), processes.device)
    partners: list[Partners] = []
    if recipe.objective.recording_contrast:
        partners = [partners_of(*pair, recipe) for pair in zip(sources, choices, strict=True)]
    stream = Stream(sources, choices, reading, command.sampling_weights, partners=partners)
    if partners:
        check_pairs(partners)
    return stream


def _trainer(recipe: PretrainRecipe, processes: Processes, stop: StopRequest) -> Trainer:
    torch.manual_seed(recipe.seed)  # weights, the same on every rank
    trunk, objective = TRUNKS[recipe.model.trunk](recipe.model.encoder), recipe.objective
    model = PretrainModel(trunk, recipe.weights, mask_token=objective.tokens, options=objective.head_options)
    whole_copy = deepcopy(model) if recipe.optim.sharing == "shard" and processes.world_size > 1 else None
    share_out(model, processes, recipe.optim.sharing)
    trainer = new_trainer(model, recipe, processes, n_steps=recipe.schedule.steps, whole_copy=whole_copy, stop=stop)
    if objective.taught:
        give_teacher(trainer)
    return trainer


def _train(
    command: PretrainCommand,
    trainer: Trainer,
    saver: Saver,
    stream: Stream,
    looks: Sequence[Look],
    about: Mapping[str, Any],
    bank: PlantedBank | None,
) -> bool:
    recipe, processes = command.config, trainer.processes
    n_steps = min(recipe.schedule.steps, command.max_steps or recipe.schedule.steps)
    if processes.is_main:
        write_config(command.output / "config.json", command)
    prepare = prepare_of(stream.sources, recipe, bank)
    # On a CPU whoever reads ahead prepares too; on a GPU, and from its memory, the device does.
    ahead = processes.device.type == "cpu"
    batches = step_batches(
        stream, range(trainer.step, n_steps), prepare if ahead else None, n_workers=recipe.data.loader_processes
    )
    track = recipe.track
    validation = HeldOutValidation(looks, track.validate_every, recipe.blocks, track.choose_by == "probe")

    def save(t: Trainer) -> None:
        place = None if t.place is None else processes.sum(t.place).cpu()
        loader = {"step": t.step, "windows_per_epoch": len(stream), "place": place}
        state = lambda: {**t.state(), **about, "loader": loader}  # noqa: E731
        saver.save(state, step=t.step, score=validation.scores.get(t.step), wait=t.stop.requested)

    page = monitored(
        command.output / "metrics.jsonl",
        trainer,
        _sample(stream, prepare, trainer),
        batch=recipe.optim.batch,
        config={"recipe": command.recipe, **asdict(recipe)},
        also=recipe.track.to,
    )
    with closing(batches), page as tracker:
        finished = run_steps(
            trainer,
            batches,
            n_steps=n_steps,
            label="pretrain",
            tracker=tracker,
            save=save,
            save_every=recipe.track.save_every,
            validation=validation,
            prepare=_on_device(trainer, stream, None if ahead else prepare),
        )
        saver.close()
    return finished


def _sample(stream: Stream, prepare: Prepare, trainer: Trainer) -> Batch:
    """Return a micro-batch like those of the run; it meets no keys."""
    number, micro = stream.first()
    raw = {name: value.to(trainer.processes.device) for name, value in stream.sources[number].raw(micro).items()}
    return without_keys(prepare.preparations[number](raw), trainer.module.key_width)


def _on_device(trainer: Trainer, stream: Stream, prepare: Prepare | None) -> Callable[[StepBatches], StepBatches]:
    """Return what makes a step that was read one to train on: what is left to prepare, and the keys of its partners."""
    within = partial(autocast, trainer.precision, trainer.processes.device)

    def ready(step: StepBatches) -> StepBatches:
        step = step if prepare is None else prepare(step)
        return with_keys(step, trainer.module, trainer.processes, within=within) if stream.partners else step

    return ready


def _reconstruction(
    command: PretrainCommand,
    model: PretrainModel,
    processes: Processes,
    stop: StopRequest,
    sources: Sequence[Source],
    sides: Sides,
) -> pd.DataFrame | None:
    """Return how well gaps of people that were not trained on are filled; the processes share the windows out.

    None where nothing learnt to fill any.
    """
    recipe = command.config
    if not model.fills_gaps:
        return None
    rows = [
        evaluate_reconstruction(
            model,
            source.corpus,
            of_people(source.corpus, sides.held_out, recipe.track.evaluate_windows),
            source.normaliser,
            seed=recipe.data.split_seed,
            processes=processes,
            max_windows=recipe.track.evaluate_windows,
            filling=recipe.objective.filling,
            on_window=stop.check,
        )
        for source in sources
    ]
    return pd.concat(rows, ignore_index=True)


def _finish(
    command: PretrainCommand,
    model: PretrainModel,
    reconstruction: pd.DataFrame | None,
    stop: StopRequest,
    sources: Sequence[Source],
    sides: Sides,
    about: Mapping[str, Any],
    latents: Mapping[str, float],
    stretches: Mapping[str, np.ndarray],
) -> None:
    """Write the encoder, who it was trained on, how it fills gaps of subjects it was not trained on, and its skill.

    Of a control there is no encoder. What is here already is done again after an interruption.
    """
    recipe = command.config
    folders = [command.output]
    if recipe.model.trunk == "encoder":
        folders.append(command.output / "encoder")
        model.encoder.save_pretrained(folders[-1])
    facts = {
        "held_out": list(sides.held_out),
        **trained_on([source.corpus for source in sources], sides.train, former=command.init_from),
        "normalisation": recipe.data.normalisation,
        "recipe": command.recipe,
        **about,
    }
    for folder in folders:
        (folder / SUBJECTS_FILE).write_text(json.dumps(facts, indent=1) + "\n")
    if latents:
        write_latents(command.output, latents)
        print(describe(latents))  # noqa: T201
    if reconstruction is not None:
        write_reconstruction(command.output / "reconstruction.parquet", reconstruction)
    elif not latents and not recipe.objective.knowledge:
        return
    skill = measured_skill(command, model, stop, sources, sides, stretches)
    for folder in folders:
        write_skill(folder, skill)
    print(skill)  # noqa: T201


def measured_skill(
    command: PretrainCommand,
    model: PretrainModel,
    stop: StopRequest,
    sources: Sequence[Source],
    sides: Sides,
    stretches: Mapping[str, np.ndarray],
) -> Skill:
    """Return what the network knows of held-out people beyond what needs no network (`training.objectives.skill`).

    stretches: what `knowledge_errors` gives of them.
    """
    recipe = command.config
    meter = SkillMeter(model=model, filling=recipe.objective.filling, seed=recipe.data.split_seed)
    most = recipe.track.skill_windows
    for source in sources:
        trained, held_out = (of_people(source.corpus, side, most) for side in (sides.train, sides.held_out))
        meter.add_corpus(
            source.corpus, source.normaliser, trained=trained, held_out=held_out, max_windows=most,
            on_window=stop.check,
        )  # fmt: skip
    for subject, (model_error, rest_error, _) in stretches.items():
        meter.add("stretches", subject, model=float(model_error), nothing=float(rest_error))
    return meter.skill()


def main(argv: Sequence[str] | None = None) -> None:
    """Run from the command line."""
    arguments, prog = sys.argv[1:] if argv is None else argv, "cerebeam pretrain"
    command = parse_command(PretrainCommand, RECIPES, arguments, default_recipe="eeg_tiny", prog=prog)

    def work() -> None:
        stop = StopRequest()
        with stop.listening():
            processes = start_processes(command.dist)
            finished = False
            with suppress(Stopped):  # before the first step or after the last: nothing to save that is not saved
                finished = pretrain(command, processes, stop)
            processes.close()
        if not finished:
            raise SystemExit(RESUME_EXIT)

    run_main(prog, work)


if __name__ == "__main__":
    main()
