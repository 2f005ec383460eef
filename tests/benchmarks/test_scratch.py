from dataclasses import replace

from training.recipes.finetuning import RECIPES


def test_encoder_and_control_have_the_same_budget() -> None:
    ours, control = RECIPES["scratch"](), RECIPES["resnet_gru"]()
    # Each has its own rate and warm-up; the encoder learns as fast as its head.
    assert ours.optim == replace(control.optim, encoder_lr_scale=1.0, learning_rate=1e-3)
    assert ours.schedule == replace(control.schedule, warmup_steps=30)
    for section in ("data", "objective", "augment"):
        assert getattr(ours, section) == getattr(control, section)
    assert ours.regularise == replace(control.regularise, drop_path=0.1)
