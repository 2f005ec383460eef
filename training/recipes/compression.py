"""What follows after a cut: brief fine-tuning of what is left."""

from training.recipes.finetuning import FinetuneOptim, FinetuneRecipe, FinetuneSchedule, tiny_form


def brief(*, tiny: bool = False) -> FinetuneRecipe:
    """Return a recipe that trains all of a pruned model for a few epochs; about 30 ms a window and epoch on a core.

    `python -m training.prune --model DIR --shards DIR --share 0.4 --output DIR`.
    """
    recipe = FinetuneRecipe(
        optim=FinetuneOptim(micro_batch=16, learning_rate=5e-4, encoder_lr_scale=1.0),
        schedule=FinetuneSchedule(epochs=5, patience=2),
    )
    return tiny_form(recipe) if tiny else recipe
