import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from model.encoder import Encoder
from model.encoder_config import EncoderConfig
from model.montage import Montage
from model.pretraining.pretraining import PretrainModel
from model.pretraining.recording_head import RecordingHead
from signals.modality import EEG_1020
from signals.window import ABSENT, MEASURED

CONFIG = EncoderConfig(dim=32, depth=1, n_heads=4, stem_dim=16)


def offered(own: list[int], candidates: list[list[int]], n_keys: int) -> dict[str, Tensor]:
    """Return random keys, of which row b owns `own[b]` (none where below 0)."""
    rng = torch.Generator().manual_seed(1)
    key_KD = F.normalize(torch.randn((n_keys, 128), generator=rng), dim=-1)
    own_BK = torch.zeros(len(own), n_keys, dtype=torch.bool)
    candidate_BK = own_BK.clone()
    for row, (key, others) in enumerate(zip(own, candidates, strict=True)):
        own_BK[row, key] = key >= 0
        candidate_BK[row, others] = True
    return {"key_BKD": key_KD.expand(len(own), -1, -1), "own_BK": own_BK, "candidate_BK": candidate_BK | own_BK}


def test_the_loss_is_a_cross_entropy_over_the_candidates_alone() -> None:
    head = RecordingHead(CONFIG, temperature=0.5)
    batch = offered([2, -1, 0], [[0, 3], [0, 1], []], 4)
    direction_BD = F.normalize(torch.randn((3, 128), generator=torch.Generator().manual_seed(0)), dim=-1)
    # Row 0 counts: its own key 2 among 0, 2, 3. Row 1 has no key of its own, row 2 nobody else's.
    logits = direction_BD[0] @ batch["key_BKD"][0, [2, 0, 3]].T / 0.5
    results = {"direction_BD": direction_BD}
    assert head.count(batch) == 1
    torch.testing.assert_close(head.total(results, batch), F.cross_entropy(logits[None], torch.tensor([0])))
    assert head.measured(results, batch)["recording_top1"] == float(logits.argmax() == 0)


def test_directions_that_are_all_the_same_are_at_chance_and_never_right() -> None:
    batch = offered([0, 1, 2], [[0, 1, 2]] * 3, 3)
    one_BKD = torch.zeros(3, 3, 128)
    one_BKD[..., 0] = 1.0
    head, results = RecordingHead(CONFIG), {"direction_BD": one_BKD[:, 0]}
    batch = {**batch, "key_BKD": one_BKD}
    assert head.total(results, batch).item() / 3 == pytest.approx(math.log(3))
    assert head.measured(results, batch)["recording_top1"] == 0


def test_without_any_key_there_is_nothing_to_learn() -> None:
    head = RecordingHead(CONFIG)
    direction_BD = torch.randn(2, 128, requires_grad=True)
    batch = offered([-1, -1], [[], []], 1)
    batch = {name: value[:, :0] for name, value in batch.items()}
    total = head.total({"direction_BD": direction_BD}, batch)
    total.backward()
    assert total == 0
    assert head.count(batch) == 0
    assert direction_BD.grad is not None
    assert not direction_BD.grad.any()
    assert head.measured({"direction_BD": direction_BD}, batch)["recording_top1"] == 0


def test_absent_channels_change_nothing() -> None:
    state = torch.full((1, 19), MEASURED)
    state[0, 3] = ABSENT
    batch = Montage.of(EEG_1020, state).tensors()
    lost = {**batch, "position_BC3": batch["position_BC3"].clone()}
    lost["position_BC3"][0, 3] = torch.nan
    tokens = torch.randn(1, 19, 2, CONFIG.dim)
    other = tokens.clone()
    other[0, 3] += 1.0
    head = RecordingHead(CONFIG)
    direction_BD = head({"tokens_BCND": tokens}, batch)["direction_BD"]
    torch.testing.assert_close(direction_BD.norm(dim=1), torch.ones(1))
    assert torch.equal(head({"tokens_BCND": other}, lost)["direction_BD"], direction_BD)


def test_the_head_leaves_the_random_start_of_everything_else_as_it_is() -> None:
    def made(*names: str) -> dict[str, Tensor]:
        torch.manual_seed(0)
        return PretrainModel(Encoder(CONFIG), dict.fromkeys(names, 1.0)).state_dict()

    without, with_it = made("latents", "gaps"), made("latents", "gaps", "recording_contrast")
    assert all(torch.equal(with_it[name], value) for name, value in without.items())


def test_what_is_measured_has_no_weight() -> None:
    options = {"recording_contrast": {"temperature": 0.3}}
    model = PretrainModel(Encoder(CONFIG), {"gaps": 2.0, "recording_contrast": 0.5}, options=options)
    assert model.weights == {"gaps": 2.0, "recording_contrast": 0.5, "recording_top1": 0.0}
    head = model.heads["recording_contrast"]
    assert isinstance(head, RecordingHead)
    assert (head.temperature, model.key_width) == (0.3, 128)
    with pytest.raises(ValueError, match="temperature=0"):
        RecordingHead(CONFIG, temperature=0.0)
