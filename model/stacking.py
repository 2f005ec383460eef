"""A meta-learner over members' predictions: per window, how much weight each member gets.

Members' probabilities, each with a temperature of its own, are mixed with weights that a small network derives from
their probabilities and entropies (Wolpert 1992; Jacobs et al. 1991). A mixture is less certain than it may be, however
well calibrated its members are, so it gets an exponent (Ranjan & Gneiting 2010). It starts as the plain mean. What
derives the weights is a perceptron over all members at once, or attention among them (Vaswani et al. 2017).

Shapes: B batch, M member, K class, F feature, D width.
"""

import json
import math
from pathlib import Path
from typing import Literal

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

FLOOR = 1e-4
"""Members' probabilities are not taken below it: one member's certainty cannot veto all others."""
Gate = Literal["perceptron", "attention"]
"""What derives members' weights from their probabilities."""


class Stacker(nn.Module):
    """Mixes members' distributions into one."""

    mean_F: Tensor
    spread_F: Tensor

    def __init__(
        self,
        members: tuple[str, ...],
        n_classes: int,
        *,
        hidden: int = 16,
        dropout: float = 0.2,
        gate: Gate = "perceptron",
    ) -> None:
        """Take the members' names, in the order of their predictions; raises ValueError for fewer than two."""
        super().__init__()
        if len(members) < 2:
            raise ValueError(f"members={members}: stacking needs at least 2")
        self.members, self.n_classes, self.hidden, self.kind = tuple(members), n_classes, hidden, gate
        n_features = len(members) * (n_classes + 1)
        self.register_buffer("mean_F", torch.zeros(n_features))
        self.register_buffer("spread_F", torch.ones(n_features))
        self.gate = (
            MemberAttention(len(members), n_classes, hidden, dropout)
            if gate == "attention"
            else nn.Sequential(
                nn.Linear(n_features, hidden), nn.GELU(), nn.Dropout(dropout), nn.Linear(hidden, len(members))
            )
        )
        last = self.gate.score if isinstance(self.gate, MemberAttention) else self.gate[-1]
        nn.init.zeros_(last.weight)
        nn.init.zeros_(self._bias())
        self.sharpness_M = nn.Parameter(torch.zeros(len(members)))
        """Logarithm of each member's inverse temperature."""
        self.firmness = nn.Parameter(torch.zeros(()))
        """Logarithm of the mixture's exponent."""

    def pool(self) -> list[nn.Parameter]:
        """Return what is the same for every window: members' weights and temperatures, and the exponent."""
        return [self._bias(), self.sharpness_M, self.firmness]

    def _bias(self) -> nn.Parameter:
        """Return the part of members' weights that is the same for every window, shape (M,)."""
        return self.gate.bias_M if isinstance(self.gate, MemberAttention) else self.gate[-1].bias

    def standardise(self, prob_BMK: Tensor) -> None:
        """Take the scale of the gate's features from training windows."""
        features_BF = _features(prob_BMK)
        self.mean_F.copy_(features_BF.mean(0))
        self.spread_F.copy_(features_BF.std(0).clamp(min=1e-3))

    def forward(self, prob_BMK: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return log probabilities_BK, the weights_BM that were given, and the members' tempered probabilities_BMK."""
        features_BF = (_features(prob_BMK) - self.mean_F) / self.spread_F
        weight_BM = self.gate(features_BF).softmax(-1)
        tempered_BMK = (_log(prob_BMK) * self.sharpness_M.exp()[:, None]).softmax(-1)
        mixed_BK = (weight_BM[..., None] * tempered_BMK).sum(1)
        return (mixed_BK.log() * self.firmness.exp()).log_softmax(-1), weight_BM, tempered_BMK

    def save(self, folder: Path) -> None:
        """Write stacker.json and stacker.safetensors into a folder."""
        folder.mkdir(parents=True, exist_ok=True)
        about = {"members": self.members, "n_classes": self.n_classes, "hidden": self.hidden, "gate": self.kind}
        (folder / "stacker.json").write_text(json.dumps(about) + "\n", encoding="utf-8")
        save_file(self.state_dict(), folder / "stacker.safetensors")


class MemberAttention(nn.Module):
    """Members' weights from attention among them: what a member's probabilities are worth beside the others'."""

    def __init__(self, n_members: int, n_classes: int, width: int, dropout: float) -> None:
        super().__init__()
        self.n_members = n_members
        self.token = nn.Linear(n_classes + 1, width)
        self.member_MD = nn.Parameter(0.1 * torch.randn(n_members, width))
        self.query_key_value = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)
        self.dropout = nn.Dropout(dropout)
        self.score = nn.Linear(width, 1, bias=False)
        self.bias_M = nn.Parameter(torch.zeros(n_members))

    def forward(self, features_BF: Tensor) -> Tensor:
        """Return the logarithms of members' weights, shape (B, M), up to a constant."""
        log_BMK = features_BF[:, : -self.n_members].unflatten(1, (self.n_members, -1))
        entropy_BM = features_BF[:, -self.n_members :]
        x_BMD = self.token(torch.cat([log_BMK, entropy_BM[..., None]], -1)) + self.member_MD
        q_BMD, k_BMD, v_BMD = self.query_key_value(x_BMD).chunk(3, dim=-1)
        among_BMM = (q_BMD @ k_BMD.transpose(1, 2) / math.sqrt(q_BMD.shape[-1])).softmax(-1)
        x_BMD = nn.functional.gelu(x_BMD + self.out(among_BMM @ v_BMD))
        scores_BM: Tensor = self.score(self.dropout(x_BMD))[..., 0] + self.bias_M
        return scores_BM


def load_stacker(folder: Path) -> Stacker:
    """Return a saved stacker, ready to use; raises FileNotFoundError where there is none."""
    about = json.loads((folder / "stacker.json").read_text(encoding="utf-8"))
    stacker = Stacker(
        tuple(about["members"]), about["n_classes"], hidden=about["hidden"], gate=about.get("gate", "perceptron")
    )
    stacker.load_state_dict(load_file(folder / "stacker.safetensors"))
    return stacker.eval()


def _log(prob_BMK: Tensor) -> Tensor:
    return prob_BMK.clamp(min=FLOOR).log()


def _features(prob_BMK: Tensor) -> Tensor:
    """Return log probabilities and entropies of all members, shape (B, F)."""
    log_BMK = _log(prob_BMK)
    entropy_BM = -(prob_BMK * log_BMK).sum(-1)
    return torch.cat([log_BMK.flatten(1), entropy_BM], -1)
