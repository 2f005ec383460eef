"""Model description: what was trained, from what, and when its predictions were made."""

from collections.abc import Mapping, Sequence
from typing import Any

from evaluation.report.context import Context
from evaluation.report.drawing.blocks import Block, KeyValues, Text
from evaluation.report.drawing.wording import Facts, plural
from evaluation.report.sections.section import APPENDIX, Section
from evaluation.schemas.origin import PRETRAINED, RANDOM
from signals.pages.page import flatten

_SETTINGS = ("name", "model", "freeze", "epochs", "patience", "learning_rate", "batch_size", "weights", "derivation")
"""Entries of a recipe that describe a model to a reader; all of them are in the section on reproducibility."""


def facts(context: Context) -> Mapping[str, Any]:
    """Return the recipe's settings, the encoder's start and the size of pretraining."""
    recipe = context.scored.meta.get("recipe")
    origin = context.scored.origin
    settings = {name: recipe[name] for name in _SETTINGS if name in recipe} if isinstance(recipe, Mapping) else {}
    return {
        "model_description": {
            "settings": settings,
            "encoder": origin.encoder,
            "n_pretrain_subjects": None if origin.pretrain_subjects is None else len(origin.pretrain_subjects),
            "fold_encoders": [len(fold.pretrain_subjects or ()) for fold in origin.folds if fold.has_own_encoder],
            "date": context.sources.provenance.get("date"),
        }
    }


def render(facts: Facts) -> Sequence[Block]:
    """Return a sentence and the settings."""
    known = facts["model_description"]
    date = f"Predictions of {known['date']}." if known["date"] else "The date of the predictions is not recorded."
    settings = {key: entry for key, entry in flatten(known["settings"]).items() if entry not in ("", None)}
    return [
        Text(f"The main model is `{facts['main_model']}`. {how_started(facts)} {date}"),
        *([KeyValues(settings)] if settings else [Text("The file does not hold the recipe of the model.", "note")]),
    ]


def how_started(facts: Facts) -> str:
    """Return in one sentence where the model's weights began, as far as the file states it."""
    known = facts["model_description"]
    n, own = known["n_pretrain_subjects"], known["fold_encoders"]
    if own:
        return f"{plural(len(own), 'fold')} had an encoder of their own, pretrained without labels on {min(own):,} to {max(own):,} subjects."
    if known["encoder"] == RANDOM or n == 0:
        return "It was trained from random weights, without pretraining."
    if known["encoder"] == PRETRAINED and n:
        return f"Its encoder was pretrained without labels on {plural(n, 'subject')}."
    return "The file does not state whether the model was pretrained."


SECTION = Section(name="model", title="Model description", part=APPENDIX, facts=facts, render=render)
