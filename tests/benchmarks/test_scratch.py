from dataclasses import replace

from training.recipes.finetuning import RECIPES


def test_encoder_and_control_have_the_same_budget() -> None:
    ours, control = RECIPES["scratch"](), RECIPES["resnet_gru"]()
    assert ours.optim == replace(control.optim, encoder_lr_scale=1.0)  # the encoder learns as fast as its head
    for section in ("data", "objective", "schedule", "augment"):
        assert getattr(ours, section) == getattr(control, section)
    assert ours.regularise == replace(control.regularise, drop_path=0.1)
