"""Whose windows a pretraining reads, from where, and how they are prepared."""

from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import Any

from signals.shards.normalise import Normaliser
from training.corpus.corpus import Corpus
from training.corpus.partners import Partners
from training.corpus.source import Choice, Source
from training.corpus.splits import Sides, evenly, hold_out_names
from training.corpus.stream import Prepare, Reading
from training.objectives.planting.planted_bank import PlantedBank
from training.objectives.preparation import Preparation
from training.objectives.recording_contrast import key_view
from training.objectives.stretches.describing import Describing
from training.objectives.validation import Look
from training.recipes.pretraining import PretrainRecipe


def choose_sides(corpora: Sequence[Corpus], recipe: PretrainRecipe) -> Sides:
    """Return whole subjects to train on and to be scored, by the manifests alone."""
    subjects = {name for corpus in corpora for name in corpus.manifest.subjects}
    train, held_out = hold_out_names(subjects, share=recipe.data.held_out_share, seed=recipe.data.split_seed)
    if recipe.data.choose_share:
        train, held_out = hold_out_names(train, share=recipe.data.choose_share, seed=recipe.data.split_seed + 1)
    return Sides(train=sorted(train), held_out=sorted(held_out))


def partners_of(source: Source, choice: Choice, recipe: PretrainRecipe) -> Partners:
    """Return the partners of the windows that take part of a corpus."""
    corpus = source.corpus
    is_listed = len(corpus) <= Reading.listed_most
    return Partners(corpus, choice, crop_times=source.crop_times, seed=(recipe.seed, 6), is_listed=is_listed)


def source_of(corpus: Corpus, sides: Sides, recipe: PretrainRecipe) -> Source:
    """Return a corpus with the scaling that its people to train on give."""
    manifest = corpus.manifest
    known = {name: manifest.subjects[name] for name in sides.train if name in manifest.subjects}
    normaliser = Normaliser.fit(
        recipe.data.normalisation,
        {name: entry.moments for name, entry in known.items()},
        {name: entry.site_id for name, entry in known.items()},
        known,
        sensor_types=manifest.modality.sensor_types,
    )
    crop_times = round(recipe.data.crop_s * manifest.modality.sfreq)
    return Source(corpus=corpus, normaliser=normaliser, crop_times=crop_times, seed=(recipe.seed, 1))


def _preparation(source: Source, recipe: PretrainRecipe, seed: tuple[int, ...], **changes: Any) -> Preparation:
    plan = recipe.blocks
    describing = Describing.of(source.corpus.manifest.modality, plan) if plan and plan.described_tokens else None
    return Preparation(
        sfreq=source.sfreq, masks=recipe.masks, filling=recipe.objective.filling, seed=seed, describing=describing,
        **changes,
    )  # fmt: skip


def looks_of(sources: Sequence[Source], people: Sequence[str], recipe: PretrainRecipe, n_windows: int) -> list[Look]:
    """Return some windows of people of each corpus, evenly chosen, to be looked at."""
    contrasts = bool(recipe.objective.recording_contrast)
    return [
        Look(
            source=replace(source, resident=None),  # which holds the windows that are trained on
            preparation=_preparation(source, recipe, (recipe.seed, 4)),
            windows=evenly(of_people(source.corpus, people, n_windows), n_windows),
            partners=partners_of(source, Choice(people), recipe) if contrasts else None,
        )
        for source in sources
    ]


def prepare_of(sources: Sequence[Source], recipe: PretrainRecipe, bank: PlantedBank | None) -> Prepare:
    """Return how windows to be trained on are prepared, and their partners."""
    changes = {**asdict(recipe.augment), "hides": recipe.hides, "blocks": recipe.blocks}
    changes["planting"] = bank and bank.planting
    preparations = [_preparation(source, recipe, (recipe.seed, 1), **changes) for source in sources]
    return Prepare(preparations, recipe.objective.line_steps, views=[key_view(one) for one in preparations])


def of_people(corpus: Corpus, people: Sequence[str], least: int) -> list[int]:
    """Return windows of people of a corpus: all of a small one, at least so many of a large one."""
    if not set(people) & set(corpus.manifest.subjects):
        return []
    most = None if len(corpus) <= Reading.listed_most else least
    return [int(number) for number in Choice(people).rows(corpus, most=most).numbers]
