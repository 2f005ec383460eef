"""Tokens of a frozen encoder, computed once: a head alone then learns in seconds."""

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from model.classifier import Classifier, new_classifier
from model.encoder import Encoder
from model.layers.pooling import pooled_statistics
from signals.files import atomic_file
from signals.shards.normalise import Normaliser
from signals.window import ABSENT
from training.corpus.corpus import Corpus
from training.corpus.labelled import Labelled
from training.objectives.augment import mirror_order
from training.parallel.distributed import own_device

BUDGET_BYTES = 2 << 30


class FrozenTokens:
    """Tokens by window, and by its mirror image; shared by fits that start from the same encoder and normaliser.

    In a folder for each encoder and normaliser below `exchange`, processes leave them for each other.
    """

    def __init__(self, shards: Corpus, classifier: Classifier, *, exchange: Path | None = None) -> None:
        self.shards = shards
        self._folder = None if exchange is None else exchange / _digest(shards, classifier)
        self.normaliser = classifier.normaliser
        self.mirror_with = mirror_order(classifier.modality)
        self._tokens: dict[tuple[int, bool], tuple[Tensor, Tensor]] = {}

    @staticmethod
    def fit_in_memory(shards: Corpus, classifier: Classifier, n_windows: int) -> bool:
        """Return whether tokens of so many windows, mirrored ones too, stay within the budget."""
        config = classifier.encoder.config
        n_tokens = -(-shards.n_times // config.token_times) * classifier.modality.n_chans
        return 2 * n_windows * n_tokens * config.dim * 4 <= BUDGET_BYTES

    def batch(
        self, classifier: Classifier, windows: Sequence[int] | np.ndarray, mirrored: Sequence[bool]
    ) -> tuple[Tensor, Tensor]:
        """Return tokens_BCND and ch_state_BC of windows by number."""
        wanted = [(int(w), bool(m) and self.mirror_with is not None) for w, m in zip(windows, mirrored, strict=True)]
        for mirror in (False, True):
            # One by one: nothing promises that a batch gives a window the same bits in any company, and a run that goes
            # on after an interruption draws other companies.
            missing = sorted({window for window, m in wanted if m == mirror and (window, m) not in self._tokens})
            for window in missing if self._folder is None else _own_order(missing):
                self._tokens[window, mirror] = self._exchanged(classifier, window, mirror)
        rows = [self._tokens[key] for key in wanted]
        return torch.stack([tokens for tokens, _ in rows]), torch.stack([state for _, state in rows])

    def _exchanged(self, classifier: Classifier, window: int, mirror: bool) -> tuple[Tensor, Tensor]:
        if self._folder is None:
            return self._compute(classifier, window, mirror)
        path = self._folder / f"{window}{'-mirrored' if mirror else ''}.pt"
        if path.is_file():
            tokens, state = torch.load(path, weights_only=True)
            return tokens, state
        computed = self._compute(classifier, window, mirror)
        with atomic_file(path) as file:
            torch.save(computed, file)
        return computed

    @torch.no_grad()
    def _compute(self, classifier: Classifier, window: int, mirror: bool) -> tuple[Tensor, Tensor]:
        made = self.shards.batch([window], self.normaliser)
        order = self.mirror_with if mirror and self.mirror_with is not None else np.arange(made.x_BCT.shape[1])
        x_BCT, state_BC = torch.from_numpy(made.x_BCT[:, order]), torch.from_numpy(made.ch_state_BC[:, order])
        device = next(classifier.parameters()).device
        tokens_BCND = classifier.tokens(x_BCT.to(device), state_BC.to(device)).float().cpu()
        return tokens_BCND[0].clone(), state_BC[0]


def _own_order(windows: Sequence[int]) -> list[int]:
    """Return windows in an order of this process: others that need them too begin elsewhere."""
    return [int(window) for window in np.random.default_rng(os.getpid()).permutation(windows)]


def _digest(shards: Corpus, classifier: Classifier) -> str:
    """Return what decides tokens: shards, the encoder's weights, the scale of windows."""
    found = hashlib.sha256(f"{shards.manifest.digest} {classifier.normaliser.to_dict()}".encode())
    for name, values in classifier.encoder.state_dict().items():
        found.update(name.encode() + values.detach().cpu().numpy().tobytes())
    return found.hexdigest()[:16]


@torch.no_grad()
def pooled(data: Labelled, encoder: Encoder, kept: list[FrozenTokens]) -> np.ndarray:
    """Return what a frozen encoder's tokens are like in each labelled window, float32, shape (n, n_dims).

    `model.layers.pooling.pooled_statistics` of the window and, apart, of the label's span. Windows are scaled by
    their own size, so that nothing is fitted. `kept`: tokens of this encoder from earlier uses.
    """
    normaliser, task = Normaliser(kind="window"), data.task
    classifier = new_classifier(
        encoder, task, data.shards.manifest.modality, normaliser, dropout=0.0, profile={}, provenance={}
    )
    classifier.to(device := own_device()).eval()
    tokens = next((t for t in kept if t.normaliser == normaliser), None) or FrozenTokens(data.shards, classifier)
    span, position_C3 = classifier.head.span_tokens, classifier.montage.position_C3
    rows = []
    for start in range(0, len(data.windows), 16):
        windows = data.windows[start : start + 16]
        kept_windows = tokens.batch(classifier, windows, [False] * len(windows))
        tokens_BCND, ch_state_BC = (part.to(device) for part in kept_windows)
        stretches = [tokens_BCND] if span is None else [tokens_BCND, tokens_BCND[:, :, span[0] : span[1]]]
        rows.append(torch.cat([pooled_statistics(x, ch_state_BC != ABSENT, position_C3) for x in stretches], -1))
    return torch.cat(rows).cpu().numpy()
