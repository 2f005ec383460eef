"""The head that describes hidden stretches: what counts, what it is measured against, any cut of a batch."""

import numpy as np
import pytest
import torch
from torch import Tensor

from model.encoder_config import EncoderConfig
from model.montage import Montage
from model.pretraining.knowledge_head import KnowledgeHead
from signals.modality import EEG_1020
from signals.patterns.features import stretch_names
from signals.window import MEASURED

CONFIG = EncoderConfig(dim=16, depth=1, n_heads=2, stem_dim=8)
N_FEATURES = len(stretch_names())


def batch_of(starts: list[int], n_tokens: int = 8) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    generator = torch.Generator().manual_seed(0)
    n = len(starts)
    tokens = torch.randn(n, 19, n_tokens, CONFIG.dim, generator=generator)
    batch = {
        **Montage.of(EEG_1020, torch.full((n, 19), MEASURED)).tensors(),
        "stretch_B": torch.tensor(starts), "description_BF": torch.randn(n, N_FEATURES, generator=generator),
    }  # fmt: skip
    return {"tokens_BCND": tokens}, batch


def test_windows_without_a_stretch_or_its_description_do_not_count() -> None:
    torch.manual_seed(0)
    head = KnowledgeHead(CONFIG, tokens=3)
    out, batch = batch_of([2, -1, 5, 0])
    batch["description_BF"][3] = float("nan")
    assert head.count(batch) == 2
    results = head(out, batch)
    only = {name: value[[0, 2]] for name, value in batch.items()}
    alone = head.total(head({"tokens_BCND": out["tokens_BCND"][[0, 2]]}, only), only)
    torch.testing.assert_close(head.total(results, batch), alone)
    nothing = {**batch, "stretch_B": torch.full((4,), -1)}
    total = head.total(head(out, nothing), nothing)
    assert head.count(nothing) == 0
    assert total == 0
    total.backward()
    assert all(p.grad is None or not p.grad.any() for p in head.parameters())


def test_it_reads_the_tokens_of_the_stretch_and_no_others() -> None:
    torch.manual_seed(0)
    head = KnowledgeHead(CONFIG, tokens=3)
    out, batch = batch_of([2])
    known = head(out, batch)["standard_BF"]
    for token in range(8):
        changed = out["tokens_BCND"].clone()
        changed[:, :, token] += 1 + torch.arange(CONFIG.dim)
        assert torch.equal(head({"tokens_BCND": changed}, batch)["standard_BF"], known) == (token not in (2, 3, 4))


def test_fitting_standardises_and_finds_the_line_from_the_rest() -> None:
    head = KnowledgeHead(CONFIG)
    generator = torch.Generator().manual_seed(1)
    rest = torch.randn(4000, N_FEATURES, generator=generator)
    truth = 0.6 * rest + 0.8 * torch.randn(4000, N_FEATURES, generator=generator)
    head.fit(5 + 2 * truth, 100 * rest - 3)
    standard = head.standard(5 + 2 * truth)
    np.testing.assert_allclose(standard.mean(0), 0, atol=0.02)
    np.testing.assert_allclose(standard.std(0), 1, atol=0.02)
    np.testing.assert_allclose(head.slope_F, 0.6, atol=0.06)
    error = (head.from_rest(100 * rest - 3) - standard).square().mean()
    assert 0.6 < error < 0.68  # 1 - 0.6^2
    assert head.standard(torch.full((1, N_FEATURES), 1e6)).max() == 4
    with pytest.raises(ValueError, match="1 windows to train on have a stretch that can be described"):
        head.fit(truth[:1], rest[:1])
