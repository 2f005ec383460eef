"""What is known of windows over which patterns were laid: the targets of pretraining's truth heads, each with a weight.

A weight is 0 where nothing is known. Real backgrounds may hold discharges and seizures of their own: that nothing was
laid over a stretch counts with a `doubt` below 1, what was laid there counts fully.

Shapes: B batch, C channel, T sample, S slot of a quarter of a second, M event, K class, V value, F finding.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from model.layers.fusion import EEG, SENSOR_TYPES
from model.montage import Montage
from model.pretraining.draws import Draws
from model.pretraining.truth_heads import COURSE_UNITS, FINDINGS
from signals.modality import UNITS
from signals.patterns.bank import ARTIFACTS, LEFT, NO_SIDE, RIGHT
from signals.shards.normalise import Normalisation
from signals.tasks import SIX_CLASS
from signals.window import MEASURED
from training.objectives.planting.planter import FAR, BankTensors, Planted, Planter

LABEL_S = 10.0
"""Length of the stretch around the middle of a window that its class is about."""
SEEN, UNSEEN = 1.5, 0.75
"""A discharge of so many times a channel's RMS can be seen there; of so few it cannot; in between nothing is known."""
LONGEST_GAP_S = 3.0
"""Two discharges farther apart are no train."""
_LEAST_S, _LEAST_DRIFT_S = 3.0, 5.0
"""Seconds of a pattern that a window must hold for its rate, and for the drift of its rate, to be known."""
_OTHER = SIX_CLASS.classes.index("Other")
_ELSEWHERE_CLARITY = 0.55


@dataclass(frozen=True, kw_only=True)
class TruthPlan:
    """How truth becomes targets."""

    doubt: float = 0.25
    """Weight of what is known only because nothing was laid there."""
    slot_times: int = 64
    """Samples of a slot."""
    token_times: int = 256
    """Samples of a token: slots fill whole tokens."""


class Truth:
    """Makes targets of what was planted."""

    def __init__(self, tensors: BankTensors, plan: TruthPlan) -> None:
        self.tensors, self.plan = tensors, plan
        bank = tensors.bank
        self.sfreq = bank.sfreq
        names = ("span_E2", "rate_E2", "bend_E", "side_E", "lag_E", "regularity_E", "evolves_E", "train_E", "class_E",
                 "doubt_EK", "clarity_E")  # fmt: skip
        self._of = {name: tensors.column(name) for name in names}
        other = bank.doubt_EK[bank.class_E == _OTHER]
        doubt_K = other.mean(0) if len(other) else bank.doubt_EK.mean(0)
        self._other_doubt_K = torch.from_numpy(doubt_K).to(tensors.device)
        self._sure = [float(value) for value in bank.sure]

    def __call__(self, planted: Planted, ch_state_BC: Tensor) -> dict[str, Tensor]:
        """Return the targets of `model.pretraining.truth_heads` by name."""
        of = {name: values[planted.entry_B] for name, values in self._of.items()}
        n_times = planted.pattern_BCT.shape[-1]
        doubt_B = self.plan.doubt * planted.is_carrier_B.float()
        return {
            "planted_B": torch.where(planted.is_planted_B, planted.entry_B, -1),
            **self._discharges(planted, of, ch_state_BC, doubt_B),
            **self._votes(planted, of, n_times, doubt_B),
            **self._course(planted, of, n_times),
            **self._findings(planted, of, n_times, doubt_B),
        }

    def _discharges(
        self, planted: Planted, of: dict[str, Tensor], ch_state_BC: Tensor, doubt_B: Tensor
    ) -> dict[str, Tensor]:
        """Return where discharges peak, slot by slot and channel by channel, and the phase between them."""
        n_times, slot = planted.pattern_BCT.shape[-1], self.plan.slot_times
        n_slots = -(-n_times // self.plan.token_times) * (self.plan.token_times // slot)
        onset_BM = self.tensors.onset_s_EM[planted.entry_B] - planted.start_s_B[:, None]
        onset_BS, end = self._slots(onset_BM, planted, n_slots), n_times // slot
        centre_S = (torch.arange(n_slots, device=onset_BS.device) + 0.5) * slot / self.sfreq
        first_B, last_B = (of["span_E2"][:, k, None] - planted.start_s_B[:, None] for k in (0, 1))
        inside_BS = (centre_S > first_B) & (centre_S < last_B) & planted.is_planted_B[:, None]
        known_BS = torch.where(inside_BS, 1.0, doubt_B[:, None])
        known_BS = known_BS * ~(planted.is_planted_B & (of["train_E"] < 0))[:, None]
        known_BS = known_BS * (torch.arange(n_slots, device=onset_BS.device) < end)
        seen_BC, unclear_BC = self._seen(planted, onset_BS, ch_state_BC)
        is_measured_BC = ch_state_BC == MEASURED
        weight_BCS = known_BS[:, None] * is_measured_BC[..., None]
        weight_BCS = weight_BCS * ~(unclear_BC[..., None] & onset_BS[:, None])
        phase_BS, is_train_BS = self._phase(onset_BM, centre_S)
        is_train_BS = is_train_BS & (known_BS > 0) & planted.is_planted_B[:, None] & (of["train_E"] == 1)[:, None]
        return {
            "discharge_BCS": (onset_BS[:, None] & seen_BC[..., None]).float(),
            "discharge_weight_BCS": weight_BCS,
            "phase_BS2": torch.stack([torch.cos(phase_BS), torch.sin(phase_BS)], -1),
            "phase_weight_BCS": (is_train_BS[:, None] & (seen_BC & is_measured_BC)[..., None]).float(),
        }

    def _slots(self, onset_BM: Tensor, planted: Planted, n_slots: int) -> Tensor:
        """Return in which slots something peaks, bool, (B, S)."""
        n_times, slot = planted.pattern_BCT.shape[-1], self.plan.slot_times
        sample_BM = (onset_BM * self.sfreq).round()
        is_there_BM = (sample_BM >= 0) & (sample_BM < n_times) & planted.is_planted_B[:, None]
        place_BM = torch.where(is_there_BM, sample_BM.clamp(0, n_times - 1) // slot, n_slots).long()
        hits_BS = torch.zeros((len(onset_BM), n_slots + 1), device=onset_BM.device)
        return hits_BS.scatter_(1, place_BM, 1.0)[:, :-1] > 0

    def _seen(self, planted: Planted, onset_BS: Tensor, ch_state_BC: Tensor) -> tuple[Tensor, Tensor]:
        """Return on which channels discharges can be seen, and on which that is not clear, bool, (B, C)."""
        slot, n_times = self.plan.slot_times, planted.pattern_BCT.shape[-1]
        n = n_times // slot
        largest_BCS = planted.pattern_BCT[..., : n * slot].abs().unflatten(-1, (n, slot)).amax(-1)
        at_B1S = onset_BS[:, None, :n].float()
        size_BC = (largest_BCS * at_B1S).sum(-1) / at_B1S.sum(-1).clamp(min=1)
        ratio_BC = size_BC / planted.size_BC.clamp(min=1e-6)
        return ratio_BC >= SEEN, (ratio_BC > UNSEEN) & (ratio_BC < SEEN)

    def _phase(self, onset_BM: Tensor, centre_S: Tensor) -> tuple[Tensor, Tensor]:
        """Return how far each slot's middle is from one peak to the next, radians, and where there are two, (B, S)."""
        centre_BS = centre_S.expand(len(onset_BM), -1).contiguous()
        after_BS = torch.searchsorted(onset_BM.contiguous(), centre_BS)
        last = onset_BM.shape[1] - 1
        next_BS = onset_BM.gather(1, after_BS.clamp(max=last))
        former_BS = onset_BM.gather(1, (after_BS - 1).clamp(min=0))
        gap_BS = next_BS - former_BS
        is_train_BS = (after_BS > 0) & (after_BS <= last) & (next_BS < FAR / 2) & (gap_BS < LONGEST_GAP_S)
        turn_BS = (centre_BS - former_BS) / gap_BS.clamp(min=1e-3)
        return torch.where(is_train_BS, 2 * torch.pi * turn_BS, 0.0), is_train_BS

    def _votes(self, planted: Planted, of: dict[str, Tensor], n_times: int, doubt_B: Tensor) -> dict[str, Tensor]:
        """Return the shares of experts for each class that a window's middle would get, as `draw_votes` on average."""
        low, more, unseen_below, plain_at = self._sure
        clarity_B = torch.log(planted.prominence_B.clamp(min=1e-6) / unseen_below) / torch.log(torch.tensor(plain_at))
        clarity_B = torch.where(of["clarity_E"].isnan(), clarity_B.clamp(0, 1), of["clarity_E"])
        share_B = self._share_of_middle(planted, of["span_E2"], n_times)
        is_there_B = planted.is_planted_B & (share_B >= 0.8)
        is_elsewhere_B = ~planted.is_planted_B | (share_B <= 0)
        clarity_B = torch.where(is_there_B, clarity_B, _ELSEWHERE_CLARITY)
        class_B = torch.where(is_there_B, of["class_E"], _OTHER)
        doubt_BK = torch.where(is_there_B[:, None], of["doubt_EK"], self._other_doubt_K)
        sure_B1 = (low + more * clarity_B)[:, None]
        own_BK = F.one_hot(class_B, doubt_BK.shape[1])
        weight_B = torch.where(is_there_B, 1.0, torch.where(is_elsewhere_B, doubt_B, 0.0))
        return {"votes_BK": sure_B1 * own_BK + (1 - sure_B1) * doubt_BK, "votes_weight_B": weight_B}

    def _share_of_middle(self, planted: Planted, span_B2: Tensor, n_times: int) -> Tensor:
        """Return how much of the middle stretch of each window its pattern covers, 0 to 1."""
        length_s = n_times / self.sfreq
        half_s = min(LABEL_S, length_s) / 2
        low_B = planted.start_s_B + length_s / 2 - half_s
        covered_B = torch.minimum(span_B2[:, 1], low_B + 2 * half_s) - torch.maximum(span_B2[:, 0], low_B)
        return covered_B.clamp(min=0) / (2 * half_s)

    def _course(self, planted: Planted, of: dict[str, Tensor], n_times: int) -> dict[str, Tensor]:
        """Return rate, its drift, regularity and lag, in the units of `COURSE_UNITS`."""
        n = max(1, int(n_times / self.sfreq))
        at_BN = planted.start_s_B[:, None] + torch.arange(n, device=planted.start_s_B.device) + 0.5
        start_B1, stop_B1 = of["span_E2"][:, :1], of["span_E2"][:, 1:]
        inside_BN = (at_BN > start_B1) & (at_BN < stop_B1)
        share_BN = ((at_BN - start_B1) / (stop_B1 - start_B1)).clamp(0, 1)
        octave_BN = octaves(of["rate_E2"], of["bend_E"], share_BN)
        n_B = inside_BN.sum(1)
        rate_B = octave_BN.masked_fill(~inside_BN, 0.0).sum(1) / n_B.clamp(min=1)
        first_B = inside_BN.int().argmax(1)
        last_B = n - 1 - inside_BN.flip(1).int().argmax(1)
        ends_B2 = octave_BN.gather(1, torch.stack([first_B, last_B], 1))
        values_BV = torch.stack([rate_B, ends_B2[:, 1] - ends_B2[:, 0], of["regularity_E"], of["lag_E"]], 1)
        least = torch.tensor([_LEAST_S, _LEAST_DRIFT_S, _LEAST_S, _LEAST_S], device=values_BV.device)
        known_BV = (n_B[:, None] >= least) & values_BV.isfinite() & planted.is_planted_B[:, None]
        values_BV = values_BV.nan_to_num(0.0, 0.0, 0.0) / torch.tensor(COURSE_UNITS, device=values_BV.device)
        return {"course_BV": values_BV, "course_weight_BV": known_BV.float()}

    def _findings(self, planted: Planted, of: dict[str, Tensor], n_times: int, doubt_B: Tensor) -> dict[str, Tensor]:
        """Return the side, and of each of `FINDINGS` whether, or to what share, it is there."""
        there_B = planted.is_planted_B & (self._share_of_middle(planted, of["span_E2"], n_times) > 0)
        side_B = of["side_E"]
        flipped_B = torch.where(side_B == LEFT, RIGHT, torch.where(side_B == RIGHT, LEFT, side_B))
        side_B = torch.where(planted.mirrored_B, flipped_B, side_B)
        known_B = there_B & (side_B != NO_SIDE)
        evolves_B, suppressed_B = of["evolves_E"], (planted.envelope_BT < 0.5).float().mean(1)
        event_BM3 = self.tensors.artifact_EM3[planted.entry_B]
        begin_BM = event_BM3[..., 1] - planted.start_s_B[:, None]
        overlaps_BM = (begin_BM < n_times / self.sfreq) & (begin_BM + event_BM3[..., 2] > 0)
        overlaps_BM = overlaps_BM & planted.is_planted_B[:, None]
        kinds = [(overlaps_BM & (event_BM3[..., 0] == k)).any(1).float() for k in range(len(ARTIFACTS))]
        value_BF = torch.stack([evolves_B.nan_to_num(0.0), suppressed_B, *kinds], 1)
        weight_BF = torch.where(value_BF > 0, 1.0, doubt_B[:, None])
        weight_BF[:, 0] = (there_B & ~evolves_B.isnan()).float()
        assert value_BF.shape[1] == len(FINDINGS)
        return {
            "side_B": torch.where(known_B, side_B, 0), "side_weight_B": known_B.float(),
            "findings_BF": value_BF, "findings_weight_BF": weight_BF * planted.is_carrier_B[:, None],
        }  # fmt: skip


def octaves(rate_B2: Tensor, bend_B: Tensor, share_BN: Tensor) -> Tensor:
    """Return log2 of the rate in Hz at shares of the span: two lines that meet at `bend`, (B, N)."""
    first_B1, last_B1 = torch.log2(rate_B2).split(1, 1)
    middle_B1, bend_B1 = (first_B1 + last_B1) / 2, bend_B[:, None].clamp(1e-3, 1 - 1e-3)
    before_BN = torch.lerp(first_B1, middle_B1, share_BN / bend_B1)
    after_BN = torch.lerp(middle_B1, last_B1, (share_BN - bend_B1) / (1 - bend_B1))
    return torch.where(share_BN < bend_B1, before_BN, after_BN)


@dataclass(frozen=True)
class Planting:
    """Lays patterns over batches of raw windows and adds their truth."""

    planter: Planter
    truth: Truth
    normalisation: Normalisation
    """Where the windows' scale comes from: that of a window itself follows what was laid over it."""

    def __call__(self, draws: Draws, raw: Mapping[str, Tensor], *, sfreq: float) -> dict[str, Tensor]:
        """Return the batch with patterns in "x_BCT", its scale, and targets. Raises ValueError as `Planter` does."""
        montage = Montage.from_batch(raw)
        x_BCT, planted = self.planter(draws, raw["x_BCT"], montage, sfreq=sfreq)
        targets = self.truth(planted, montage.ch_state_BC)
        inverse_BC = raw["inverse_scale_BC"]
        if self.normalisation in ("window", "robust"):
            ratio_B = self._size(raw["x_BCT"], montage) / self._size(x_BCT, montage)
            shares_BC = _in_microvolts(montage) & planted.is_planted_B[:, None]
            inverse_BC = torch.where(shares_BC, inverse_BC * ratio_B[:, None], inverse_BC)
        return {**raw, "x_BCT": x_BCT, "inverse_scale_BC": inverse_BC, **targets}

    def _size(self, x_BCT: Tensor, montage: Montage) -> Tensor:
        """Return the median over measured EEG channels of the size that the normaliser takes, at least 1 µV, (B,)."""
        if self.normalisation == "window":
            size_BC = x_BCT.std(-1, correction=0)
        else:
            size_BC = (x_BCT - x_BCT.median(-1, keepdim=True).values).abs().median(-1).values
        counts_BC = (montage.ch_state_BC == MEASURED) & (montage.sensor_type_BC == EEG)
        return size_BC.masked_fill(~counts_BC, torch.nan).nanmedian(1).values.nan_to_num(1.0).clamp(min=1.0)


def _in_microvolts(montage: Montage) -> Tensor:
    """Return which channels share the EEG's scale, bool, (B, C)."""
    shares = [number for number, name in enumerate(SENSOR_TYPES) if UNITS[name] == "µV"]
    return torch.isin(montage.sensor_type_BC, torch.tensor(shares, device=montage.sensor_type_BC.device))
