"""Heads for dense simulated truth: what was planted in a window, where, how often, on which side (`model.heads`).

Targets come with weights, 0 where nothing is known; a head's count is the sum of its weights.
`training.objectives.planting.targets` makes both.

Shapes: B batch, C channel, N token, S slot of a patch's length, D width, H hidden width, K class, V value, F finding.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from model.encoder_config import EncoderConfig
from model.heads import Head, Tensors, register_head
from model.layers.pooling import N_HARMONICS, harmonics
from signals.patterns.bank import ARTIFACTS, RIGHT
from signals.tasks import SIX_CLASS
from signals.window import ABSENT

COURSE = ("rate", "drift", "regularity", "lag")
"""Mean of the rate's log2 in Hz, octaves that it changes by, spread of intervals over their mean, seconds of lag."""
COURSE_UNITS = (1.0, 0.5, 0.1, 0.03)
"""What the values of `COURSE` are divided by, so that each is about 1 in size."""
FINDINGS = ("evolves", "suppressed", *ARTIFACTS)
"""Whether a pattern evolves, what share of the window is suppressed, and which artifacts are in it."""
N_SIDES = RIGHT + 1
RARE = -3.0
"""What the log odds of a discharge start from."""
MIDDLE_S = 10.0
"""Length of the stretch in the middle of a window that its class is about."""
_HIDDEN = 64


class Overview(nn.Module):
    """A window's tokens as one row that knows places, sides and the middle: maps of a narrow reading of the tokens.

    Of the whole window and of its middle 10 s, the mean over time and the spread, each as spherical harmonics over the
    head (`model.layers.pooling.harmonics`), with their signs: left and right differ.
    """

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        narrow = max(8, config.dim // 4)
        self.middle_tokens = round(MIDDLE_S * config.sfreq / config.token_times)
        self.narrow = nn.Linear(config.dim, narrow)
        self.hidden = nn.Sequential(
            nn.LayerNorm(4 * N_HARMONICS * narrow), nn.Linear(4 * N_HARMONICS * narrow, _HIDDEN), nn.GELU()
        )

    def forward(self, out: Tensors, batch: Tensors) -> Tensor:
        """Return one row per window, shape (B, H). batch: "ch_state_BC", "position_BC3"."""
        x_BCND = self.narrow(out["tokens_BCND"])
        there_BC1 = (batch["ch_state_BC"] != ABSENT)[..., None]
        place_BC3 = torch.where(there_BC1, batch["position_BC3"], torch.zeros_like(batch["position_BC3"]))
        n_B11 = there_BC1.sum(1, keepdim=True).clamp(min=1)
        weight_BHC = (harmonics(place_BC3.to(x_BCND)) * there_BC1).transpose(1, 2) / n_B11
        n_tokens = x_BCND.shape[2]
        first = max(0, (n_tokens - self.middle_tokens) // 2)
        maps_BHD = []
        for part_BCND in (x_BCND, x_BCND[:, :, first : first + self.middle_tokens]):
            mean_BCD = part_BCND.mean(2)
            spread_BCD = (part_BCND.var(2, correction=0) + 1e-6).sqrt()
            maps_BHD += [weight_BHC @ mean_BCD, weight_BHC @ spread_BCD]
        return self.hidden(torch.cat(maps_BHD, 1).flatten(1))


@register_head("discharge")
class DischargeHead(Head):
    """Finds in which quarter of a second, and on which channels, a discharge peaks.

    batch: "discharge_BCS" 0 or 1, "discharge_weight_BCS". The loss is the binary cross-entropy.
    """

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        self.slots = nn.Linear(config.dim, config.merge)
        nn.init.constant_(self.slots.bias, RARE)

    def forward(self, out: Tensors, batch: Tensors) -> dict[str, Tensor]:
        """Return "discharge_logits_BCS"."""
        return {"discharge_logits_BCS": self.slots(out["tokens_BCND"]).flatten(2)}

    def total(self, results: Tensors, batch: Tensors) -> Tensor:
        """Return the weighted sum of cross-entropies."""
        logits_BCS = results["discharge_logits_BCS"].float()
        loss_BCS = F.binary_cross_entropy_with_logits(logits_BCS, batch["discharge_BCS"], reduction="none")
        return (loss_BCS * batch["discharge_weight_BCS"]).sum()

    def count(self, batch: Tensors) -> Tensor:
        """Return the sum of weights."""
        return batch["discharge_weight_BCS"].sum()


@register_head("phase")
class PhaseHead(Head):
    """Predicts cosine and sine of how far it is from one discharge to the next, in trains, where they can be seen.

    batch: "phase_BS2", "phase_weight_BCS". The loss is the squared error.
    """

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        self.slots = nn.Linear(config.dim, config.merge * 2)

    def forward(self, out: Tensors, batch: Tensors) -> dict[str, Tensor]:
        """Return "phase_BCS2"."""
        B, C = out["tokens_BCND"].shape[:2]
        return {"phase_BCS2": self.slots(out["tokens_BCND"]).reshape(B, C, -1, 2)}

    def total(self, results: Tensors, batch: Tensors) -> Tensor:
        """Return the weighted sum of squared errors."""
        error_BCS = (results["phase_BCS2"].float() - batch["phase_BS2"][:, None]).square().sum(-1)
        return (error_BCS * batch["phase_weight_BCS"]).sum()

    def count(self, batch: Tensors) -> Tensor:
        """Return the sum of weights."""
        return batch["phase_weight_BCS"].sum()


@register_head("votes")
class VotesHead(Head):
    """Predicts the shares of experts for the six classes. batch: "votes_BK", "votes_weight_B".

    The loss is the Kullback-Leibler divergence up to the votes' own entropy.
    """

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        self.overview = Overview(config)
        self.classes = nn.Linear(_HIDDEN, len(SIX_CLASS.classes))

    def forward(self, out: Tensors, batch: Tensors) -> dict[str, Tensor]:
        """Return "votes_logits_BK"."""
        return {"votes_logits_BK": self.classes(self.overview(out, batch))}

    def total(self, results: Tensors, batch: Tensors) -> Tensor:
        """Return the weighted sum of cross-entropies."""
        loss_B = -(batch["votes_BK"] * results["votes_logits_BK"].float().log_softmax(-1)).sum(-1)
        return (loss_B * batch["votes_weight_B"]).sum()

    def count(self, batch: Tensors) -> Tensor:
        """Return the sum of weights."""
        return batch["votes_weight_B"].sum()


@register_head("course")
class CourseHead(Head):
    """Predicts the values of `COURSE`. batch: "course_BV" in `COURSE_UNITS`, "course_weight_BV".

    The loss is the Huber loss.
    """

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        self.overview = Overview(config)
        self.values = nn.Linear(_HIDDEN, len(COURSE))

    def forward(self, out: Tensors, batch: Tensors) -> dict[str, Tensor]:
        """Return "course_values_BV"."""
        return {"course_values_BV": self.values(self.overview(out, batch))}

    def total(self, results: Tensors, batch: Tensors) -> Tensor:
        """Return the weighted sum of Huber losses."""
        loss_BV = F.huber_loss(results["course_values_BV"].float(), batch["course_BV"], reduction="none")
        return (loss_BV * batch["course_weight_BV"]).sum()

    def count(self, batch: Tensors) -> Tensor:
        """Return the sum of weights."""
        return batch["course_weight_BV"].sum()


@register_head("findings")
class FindingsHead(Head):
    """Predicts the side of a pattern (both, left, right) and `FINDINGS`, each for itself.

    batch: "side_B", "side_weight_B", "findings_BF" 0 to 1, "findings_weight_BF". The loss adds cross-entropies.
    """

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        self.overview = Overview(config)
        self.side = nn.Linear(_HIDDEN, N_SIDES)
        self.findings = nn.Linear(_HIDDEN, len(FINDINGS))

    def forward(self, out: Tensors, batch: Tensors) -> dict[str, Tensor]:
        """Return "side_logits_BK" and "findings_logits_BF"."""
        row_BH = self.overview(out, batch)
        return {"side_logits_BK": self.side(row_BH), "findings_logits_BF": self.findings(row_BH)}

    def total(self, results: Tensors, batch: Tensors) -> Tensor:
        """Return the weighted sum of cross-entropies."""
        side_B = F.cross_entropy(results["side_logits_BK"].float(), batch["side_B"], reduction="none")
        found_BF = F.binary_cross_entropy_with_logits(
            results["findings_logits_BF"].float(), batch["findings_BF"], reduction="none"
        )
        return (side_B * batch["side_weight_B"]).sum() + (found_BF * batch["findings_weight_BF"]).sum()

    def count(self, batch: Tensors) -> Tensor:
        """Return the sum of weights."""
        return batch["side_weight_B"].sum() + batch["findings_weight_BF"].sum()


TRUTH_HEADS = ("discharge", "phase", "votes", "course", "findings")
"""Heads that learn from planted truth."""
