import numpy as np
import pytest
import torch

from signals.window import ABSENT, MEASURED
from training.objectives.mixing import cutmix, mixup

SPAN = (20.0, 30.0)


def a_batch() -> dict[str, torch.Tensor]:
    rows = torch.arange(6.0)
    state = torch.full((6, 3), MEASURED)
    state[0, 1] = ABSENT
    return {
        "x_BCT": rows[:, None, None].expand(6, 3, 500).clone() + 1,
        "ch_state_BC": state,
        "spectrogram_BRFS": rows[:, None, None, None].expand(6, 4, 2, 25).clone() + 1,
        "target_BK": torch.eye(6),
    }


def test_mixup_mixes_signal_and_target_by_the_same_share() -> None:
    mixed = mixup(np.random.default_rng(0), a_batch(), alpha=0.4)
    torch.testing.assert_close(mixed["target_BK"].sum(1), torch.ones(6))
    # row r is r + 1 all over, so the mean of the targets' places tells what the signal must be
    expected = mixed["target_BK"] @ (torch.arange(6.0) + 1)
    torch.testing.assert_close(mixed["x_BCT"][:, 0, 0], expected)
    torch.testing.assert_close(mixed["spectrogram_BRFS"][:, 0, 0, 0], expected)
    lacking = mixed["ch_state_BC"][:, 1] == ABSENT
    assert lacking[0]
    assert not mixed["x_BCT"][lacking, 1].any()


@pytest.mark.parametrize("seed", range(12))
def test_cutmix_never_parts_a_label_from_what_it_speaks_of(seed: int) -> None:
    cut = cutmix(np.random.default_rng(seed), a_batch(), window_s=50.0, span_s=SPAN)
    label = cut["target_BK"].argmax(1)
    assert set(cut["target_BK"].unique().tolist()) == {0.0, 1.0}
    assert (cut["x_BCT"][:, 0, 200:300] == label[:, None] + 1).all()
    assert (cut["spectrogram_BRFS"][..., 10:15] == label[:, None, None, None] + 1).all()
    assert (cut["x_BCT"][:, 0] != label[:, None] + 1).any()


def test_cutmix_of_a_whole_window_s_label_mixes_by_length() -> None:
    batch = {name: a_batch()[name] for name in ("x_BCT", "ch_state_BC", "target_BK")}
    cut = cutmix(np.random.default_rng(0), batch, window_s=50.0, span_s=None)
    own = (cut["x_BCT"][:, 0] == torch.arange(6.0)[:, None] + 1).float().mean(1)
    torch.testing.assert_close(cut["target_BK"].diagonal(), own, atol=3e-3, rtol=0)
