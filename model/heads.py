"""Heads: what is predicted from the encoder's representations. One registry, one contract.

A head is a module whose `forward(out, batch)` takes the encoder's named intermediates and a mapping of further
tensors, and returns named results. Its loss is the ratio of `total(results, batch)`, a sum over whatever the head
counts (samples, tokens, windows), and `count(batch)`, how many there are, which the batch alone decides. Training adds
both up over micro-batches and processes before it divides, so that any split of a batch gives the same step.
`register_head` enters a head by name.

Shapes: B batch, C channel, T sample, P patch, N trunk token, E stem width, D width, K class, M place for a
hidden token.
"""

from collections.abc import Callable, Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from model.encoder_config import EncoderConfig
from model.layers.pooling import Pool, SequencePool
from model.layers.relations import N_BANDS, Mixing, in_bands
from model.layers.stem import n_spectral_lines
from model.supervised.networks import SpanPool
from signals.tasks import TASKS
from signals.window import ABSENT, MEASURED

Tensors = Mapping[str, Tensor]


class Head(nn.Module):
    """The contract of all heads."""

    measures: tuple[str, ...] = ()
    """Names of what `measured` gives."""

    def forward(self, out: Tensors, batch: Tensors) -> dict[str, Tensor]:
        """Return named results from the encoder's intermediates."""
        raise NotImplementedError

    def total(self, results: Tensors, batch: Tensors) -> Tensor:
        """Return the sum of losses over what counts in the batch, a scalar; 0, with gradients, where nothing does."""
        raise NotImplementedError

    def count(self, batch: Tensors) -> Tensor:
        """Return what `total` is to be divided by, a scalar; 0 where nothing in the batch counts."""
        raise NotImplementedError

    def measured(self, results: Tensors, batch: Tensors) -> dict[str, Tensor]:
        """Return further sums over what counts, to be logged and not learnt from: scalars without gradients."""
        return {}


HEADS: dict[str, type[Head]] = {}


def register_head(name: str) -> Callable[[type[Head]], type[Head]]:
    """Return a class decorator that enters a head into `HEADS`; raises ValueError for a name that is taken."""

    def register(cls: type[Head]) -> type[Head]:
        if name in HEADS:
            raise ValueError(f"head {name!r} is registered already, by {HEADS[name].__name__}")
        HEADS[name] = cls
        return cls

    return register


@register_head("reconstruction")
class ReconstructionHead(Head):
    """Predicts hidden samples as a residual to their filling, so that it starts as linear interpolation.

    Tokens are spread over their patches, added to the stem's patches, mixed with neighbouring patches and read out
    as samples. A channel that is hidden for the whole window gets the other channels' samples besides, in bands,
    weighed by the channels' relations. batch: "x_BCT" truth, "filled_BCT", "mask_BCT", "ch_state_BC". Only hidden
    samples of measured channels count (interpolated ones say nothing new); the Huber loss keeps artifacts from ruling
    it.
    """

    def __init__(self, config: EncoderConfig, *, huber_delta: float = 3.0) -> None:
        super().__init__()
        self.config, self.huber_delta = config, huber_delta
        width = config.stem_dim
        self.spread = nn.Linear(config.dim, config.merge * width)
        self.mix = nn.Sequential(nn.LayerNorm(3 * width), nn.Linear(3 * width, 2 * width), nn.GELU())
        self.samples = nn.Linear(2 * width, config.patch_times)
        nn.init.zeros_(self.samples.weight)
        nn.init.zeros_(self.samples.bias)
        if config.graph:
            self.mixing = Mixing(config.relation_dim, N_BANDS)
            nn.init.zeros_(self.mixing.weight.weight)
            nn.init.zeros_(self.mixing.weight.bias)

    def forward(self, out: Tensors, batch: Tensors) -> dict[str, Tensor]:
        """Return "reconstruction_BCT"; visible samples are those of the input."""
        B, C, N, _ = out["tokens_BCND"].shape
        patches_BCPE = self.spread(out["tokens_BCND"]).reshape(B, C, N * self.config.merge, -1) + out["stem_BCPE"]
        before_BCPE = F.pad(patches_BCPE, (0, 0, 1, 0))[:, :, :-1]
        after_BCPE = F.pad(patches_BCPE, (0, 0, 0, 1))[:, :, 1:]
        if self.config.causal:
            after_BCPE = torch.zeros_like(after_BCPE)
        residual_BCPS = self.samples(self.mix(torch.cat([before_BCPE, patches_BCPE, after_BCPE], -1)))
        residual_BCT = residual_BCPS.reshape(B, C, -1)[..., : batch["filled_BCT"].shape[-1]].float()
        if "relations_BCCR" in out:
            residual_BCT = residual_BCT + self._from_others(out, batch).float()
        residual_BCT = residual_BCT * batch["mask_BCT"] * self._openness(batch["mask_BCT"])
        return {"reconstruction_BCT": batch["filled_BCT"] + residual_BCT}

    def _from_others(self, out: Tensors, batch: Tensors) -> Tensor:
        """Return what the shown channels make of those that are hidden for the whole window, 0 for all others."""
        mask_BCT = batch["mask_BCT"]
        weight_BKCC = self.mixing(out["relations_BCCR"], out["shown_BC"])
        shown_BKCT = in_bands(batch["filled_BCT"].masked_fill(mask_BCT, 0.0), causal=self.config.causal)
        guess_BCT = (weight_BKCC.to(shown_BKCT) @ shown_BKCT).sum(1)
        return guess_BCT * mask_BCT.all(-1, keepdim=True)

    def total(self, results: Tensors, batch: Tensors) -> Tensor:
        """Return the Huber loss over hidden samples of measured channels, those in short gaps weighted up."""
        error_BCT = F.huber_loss(
            results["reconstruction_BCT"], batch["x_BCT"], reduction="none", delta=self.huber_delta
        )
        return (error_BCT * self._weight(batch)).sum()

    def count(self, batch: Tensors) -> Tensor:
        """Return the sum of the samples' weights."""
        return self._weight(batch).sum()

    def _weight(self, batch: Tensors) -> Tensor:
        counted_BCT = batch["mask_BCT"] & (batch["ch_state_BC"] == MEASURED)[..., None]
        return counted_BCT / self._openness(batch["mask_BCT"])

    def _openness(self, mask_BCT: Tensor) -> Tensor:
        """Return the share of hidden samples within 63 ms of each: near 0 in a short gap, 1 deep in a long one.

        The line across a short gap is nearly right, and its error small: residuals are scaled down by it, and the
        loss up, so that short gaps are learnt as well as long ones.
        """
        reach = self.config.patch_times // 4
        return F.avg_pool1d(mask_BCT.float(), 2 * reach + 1, stride=1, padding=reach).clamp(min=1 / (2 * reach + 1))


@register_head("contrastive")
class ContrastiveHead(Head):
    """Finds the true embedding of a hidden token from those of other channels, times and subjects (InfoNCE).

    The prediction comes from the trunk's token of the masked input, the truth from the stem on the unmasked input
    (van den Oord et al. 2018). Only tokens of channels that are hidden for the whole window count: the stem looks
    seconds around, and where a part of that is visible, it would give the truth away. Tokens are compared within one
    forward pass: cutting a batch leaves fewer to tell apart, so this head's loss is the one that depends on the split.
    batch: "true_merged_BCND", "mask_BCT", "ch_state_BC".
    """

    def __init__(
        self, config: EncoderConfig, *, width: int = 64, max_tokens: int = 256, temperature: float = 0.1
    ) -> None:
        super().__init__()
        self.config, self.max_tokens, self.temperature = config, max_tokens, temperature
        self.predict = nn.Linear(config.dim, width)
        self.target = nn.Linear(config.dim, width)

    def forward(self, out: Tensors, batch: Tensors) -> dict[str, Tensor]:
        """Return "predicted_MD" and "true_MD" of hidden tokens, evenly chosen where there are more than `max_tokens`.

        Shapes do not depend on how many tokens are hidden: the first `count` places are filled.
        """
        hidden_X = self._hidden(batch, out["tokens_BCND"].shape[2]).flatten()
        n_hidden = hidden_X.sum()
        place_M = torch.arange(min(self.max_tokens, len(hidden_X)), device=hidden_X.device)
        step = (n_hidden - 1).clamp(min=0) / max(1, len(place_M) - 1)
        wanted_M = torch.where(n_hidden > len(place_M), (place_M * step).long(), place_M)
        chosen_M = torch.searchsorted(hidden_X.cumsum(0), wanted_M + 1).clamp(max=len(hidden_X) - 1)
        predicted_MD = self.predict(out["tokens_BCND"].flatten(0, 2)[chosen_M])
        true_MD = self.target(batch["true_merged_BCND"].flatten(0, 2)[chosen_M])
        return {"predicted_MD": predicted_MD, "true_MD": true_MD}

    def total(self, results: Tensors, batch: Tensors) -> Tensor:
        """Return the cross-entropy of finding each token's own truth among all; 0 with fewer than two tokens."""
        predicted_MD, true_MD = results["predicted_MD"].float(), results["true_MD"].float()
        n_tokens = len(predicted_MD)
        filled_M = torch.arange(n_tokens, device=predicted_MD.device) < self.count(batch)
        logits_MM = F.normalize(predicted_MD, dim=-1) @ F.normalize(true_MD, dim=-1).T / self.temperature
        logits_MM = logits_MM.masked_fill(~filled_M, -1e9)
        own_M = torch.arange(n_tokens, device=logits_MM.device)
        return (F.cross_entropy(logits_MM, own_M, reduction="none") * filled_M).sum()

    def count(self, batch: Tensors) -> Tensor:
        """Return the number of tokens that are compared, 0 with fewer than two."""
        hidden_BCN = self._hidden(batch, -(-batch["mask_BCT"].shape[-1] // self.config.token_times))
        n_tokens = hidden_BCN.sum().clamp(max=min(self.max_tokens, hidden_BCN.numel()))
        return n_tokens * (n_tokens > 1)

    def _hidden(self, batch: Tensors, n_tokens: int) -> Tensor:
        """Return which tokens are whole, and of channels that are hidden entirely, (B, C, N)."""
        hidden_BC = batch["mask_BCT"].all(-1) & (batch["ch_state_BC"] == MEASURED)
        whole_N = torch.arange(n_tokens, device=hidden_BC.device) < (
            batch["mask_BCT"].shape[-1] // self.config.token_times
        )
        return hidden_BC[..., None] & whole_N


@register_head("spectral")
class SpectralHead(Head):
    """Predicts the log spectra of hidden tokens' true signal: rhythms, where the time domain counts phases.

    Only tokens of measured channels with hidden samples count; the slow spectrum reaches beyond what is hidden of them.
    batch: "true_spectra_BCNF", as `Encoder.spectra` says, "mask_BCT", "ch_state_BC".
    """

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        self.config = config
        self.spectra = nn.Linear(config.dim, n_spectral_lines(config))

    def forward(self, out: Tensors, batch: Tensors) -> dict[str, Tensor]:
        """Return "spectra_BCNF"."""
        return {"spectra_BCNF": self.spectra(out["tokens_BCND"])}

    def total(self, results: Tensors, batch: Tensors) -> Tensor:
        """Return the squared errors of log amplitudes, mean over frequencies, over tokens that count."""
        error_BCN = (results["spectra_BCNF"].float() - batch["true_spectra_BCNF"].float()).square().mean(-1)
        return (error_BCN * self._hidden(batch)).sum()

    def count(self, batch: Tensors) -> Tensor:
        """Return the number of tokens that count."""
        return self._hidden(batch).sum()

    def _hidden(self, batch: Tensors) -> Tensor:
        hidden_BCT = batch["mask_BCT"] & (batch["ch_state_BC"] == MEASURED)[..., None]
        missing = -hidden_BCT.shape[-1] % self.config.token_times
        return F.pad(hidden_BCT, (0, missing)).unflatten(-1, (-1, self.config.token_times)).any(-1)


@register_head("sleep")
class SleepHead(Head):
    """Predicts the sleep stage of a window from its mean token, where one is known.

    An auxiliary of pretraining: it gives the representation a slow state to follow. batch: "sleep_target_B", places in
    the classes of `signals.tasks.TASKS["sleep"]`, -1 where no stage is known; those windows weigh nothing.
    """

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        self.classes = nn.Linear(config.dim, len(TASKS["sleep"].classes))

    def forward(self, out: Tensors, batch: Tensors) -> dict[str, Tensor]:
        """Return "sleep_logits_BK"."""
        return {"sleep_logits_BK": self.classes(out["window_BD"])}

    def total(self, results: Tensors, batch: Tensors) -> Tensor:
        """Return the cross-entropy summed over windows with a stage."""
        logits_BK, target_B = results["sleep_logits_BK"].float(), batch["sleep_target_B"]
        return F.cross_entropy(logits_BK, target_B, ignore_index=-1, reduction="sum")

    def count(self, batch: Tensors) -> Tensor:
        """Return the number of all windows, so that few stages weigh little."""
        return torch.full((), len(batch["sleep_target_B"]), device=batch["sleep_target_B"].device)


@register_head("classifier")
class ClassifierHead(Head):
    """Classes of a window from all tokens and, apart, those of the label's span: pooled in two ways, then two layers.

    One way keeps order: channels are pooled second by second, and the seconds hear each other before their mean and
    spread are taken (`SequencePool`). The other forgets it: means and spreads of tokens as maps over the head (`Pool`).
    These features are standardised by what `standardise` saw before training: they differ widely in size, which a few
    hundred windows would not teach. batch: "ch_state_BC", "position_C3"; for the loss "target_BK", a distribution
    over classes (votes or one-hot), and optionally "class_weight_K". The loss is the Kullback-Leibler divergence up to
    the target's own entropy.
    """

    centre_F: Tensor
    scale_F: Tensor

    def __init__(
        self,
        config: EncoderConfig,
        *,
        n_classes: int,
        span_s: tuple[float, float] | None = None,
        n_queries: int = 4,
        dropout: float = 0.2,
        hidden_dim: int | None = None,
    ) -> None:
        super().__init__()
        token_s = config.token_times / config.sfreq
        self.span_tokens = None if span_s is None else (round(span_s[0] / token_s), round(span_s[1] / token_s))
        self.dim = config.dim
        self.whole = Pool(config.dim, n_queries)
        self.span = None if self.span_tokens is None else Pool(config.dim, n_queries)
        width = self.whole.width * (1 if self.span is None else 2)
        self.sequence = SequencePool(config.dim, config.n_heads)
        self.seconds = SpanPool(token_s, span_s)
        self.dropout = nn.Dropout(dropout)
        self.register_buffer("centre_F", torch.zeros(width))
        self.register_buffer("scale_F", torch.ones(width))
        hidden_dim = usual_hidden_dim(config) if hidden_dim is None else hidden_dim
        width += self.seconds.width(config.dim)
        self.hidden = nn.Sequential(nn.Dropout(dropout), nn.Linear(width, hidden_dim), nn.GELU())
        self.classes = nn.Linear(hidden_dim, n_classes)

    def features(self, out: Tensors, batch: Tensors) -> Tensor:
        """Return the pooled features, shape (B, F)."""
        tokens_BCND, present_BC = out["tokens_BCND"], batch["ch_state_BC"] != ABSENT
        position_C3 = batch["position_C3"]
        pooled = [self.whole(tokens_BCND, present_BC, position_C3)]
        if self.span is not None and self.span_tokens is not None:
            first, last = self.span_tokens
            pooled.append(self.span(tokens_BCND[:, :, first:last], present_BC, position_C3))
        return torch.cat(pooled, -1)

    def standardise(self, features_BF: Tensor) -> None:
        """Take centre and scale of features from these windows on (data-dependent initialisation).

        A scale counts as if one window of the typical spread, the median over features, had been seen too: the variance
        is at least the median's share of one window. Of a few windows, some feature hardly varies by chance, and would
        be blown up wherever it does; from some hundred on, none lies below that floor.

        All features together come in as large as one token's: Adam moves each weight by its rate, and thousands of
        features of unit size would add those moves up to jumps of the answer (Yang et al. 2021, maximal update).
        """
        spread_F = features_BF.std(0, correction=0)
        self.centre_F.copy_(features_BF.mean(0))
        floored_F = spread_F.clamp(min=spread_F.median() / len(features_BF) ** 0.5).clamp(min=1e-3)
        self.scale_F.copy_(floored_F * (len(floored_F) / self.dim) ** 0.5)

    def forward(self, out: Tensors, batch: Tensors) -> dict[str, Tensor]:
        """Return "logits_BK" and "embedding_BD"."""
        features_BF = (self.features(out, batch) - self.centre_F) / self.scale_F
        steps_BND = self.sequence(out["tokens_BCND"], batch["ch_state_BC"] != ABSENT, batch["position_C3"])
        embedding_BD = self.hidden(torch.cat([features_BF, self.seconds(steps_BND.transpose(1, 2))], -1))
        return {"logits_BK": self.classes(self.dropout(embedding_BD)), "embedding_BD": embedding_BD}

    def total(self, results: Tensors, batch: Tensors) -> Tensor:
        """Return the cross-entropies to the target distributions, weighted by class where weights are given."""
        return -(self._weight(batch) * results["logits_BK"].float().log_softmax(-1)).sum()

    def count(self, batch: Tensors) -> Tensor:
        """Return the sum of the targets' weights: the number of windows where no class weighs more."""
        return self._weight(batch).sum()

    def _weight(self, batch: Tensors) -> Tensor:
        class_weight_K = batch.get("class_weight_K")
        return batch["target_BK"] if class_weight_K is None else batch["target_BK"] * class_weight_K


def usual_hidden_dim(config: EncoderConfig) -> int:
    """Return the width of a classifier head's hidden layer where none is given."""
    return config.dim // 2
