"""What follows after a cut: brief fine-tuning of what is left."""

from dataclasses import replace

from training.recipes.finetuning import FinetuneRecipe


def brief(*, tiny: bool = False) -> FinetuneRecipe:
    """Return a recipe that trains all of a pruned model for a few epochs; about 30 ms a window and epoch on a core.

    `python -m training.prune --model DIR --shards DIR --share 0.4 --output DIR`.
    """
    recipe = FinetuneRecipe(epochs=5, patience=2, micro_batch=16, learning_rate=5e-4, encoder_lr_scale=1.0)
    return replace(recipe, epochs=1, batch=4, micro_batch=2, warmup_steps=1) if tiny else recipe
