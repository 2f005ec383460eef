"""Patterns of a bank laid over windows, on their device, with the truth of what was laid where.

What is drawn depends on the seed and a window's sample number alone (`model.pretraining.draws`). A pattern is carried
by electrodes of its own names, and by spherical splines where a window has others; it keeps the average reference. Its
peak is a drawn multiple of the background's RMS, its place in time and its side are drawn too.

Shapes: B batch, C channel, T sample, E pattern, R trace, L electrode of the bank, M event.
"""

from dataclasses import dataclass, field

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from model.layers.fusion import EEG
from model.montage import Montage, electrode_ids, places
from model.pretraining.draws import Draws
from signals.montage.splines import spline_kernel
from signals.patterns.bank import MAX_TRACES, Bank
from signals.window import ABSENT, MEASURED

FEWEST_CHANNELS = 4
"""Measured EEG channels that a window needs to carry a pattern."""
_SPREADS = 2.5
"""How far, in spreads, a prominence lies from its median at most."""
_N_TERMS = 30
"""Terms of the splines' series: the next ones are below 1e-9 of the first."""
FAR = 1e9
"""Time of an event that is none, seconds."""


@dataclass(frozen=True, kw_only=True)
class Chances:
    """How often what is done to windows."""

    background: float = 0.25
    """Share of windows that get no pattern."""
    mirror: float = 0.5
    """Share of patterns that change sides."""


@dataclass(frozen=True, kw_only=True)
class Planted:
    """What was laid over windows, shapes (B, ...)."""

    is_carrier_B: Tensor
    """Windows that can carry a pattern."""
    is_planted_B: Tensor
    entry_B: Tensor
    """Numbers of patterns; of windows without one, a number that says nothing."""
    start_s_B: Tensor
    """Where in the pattern the window begins."""
    mirrored_B: Tensor
    prominence_B: Tensor
    """Peak over the background's RMS."""
    envelope_BT: Tensor
    """What the background was multiplied by."""
    pattern_BCT: Tensor = field(repr=False)
    """What was added, µV."""
    size_BC: Tensor
    """RMS of each channel's background, µV."""


class BankTensors:
    """A bank on a device, its lists of events filled up to one length."""

    def __init__(self, bank: Bank, device: torch.device) -> None:
        self.bank, self.device = bank, device
        rows = np.minimum(bank.trace_first_E[:-1, None] + np.arange(MAX_TRACES), max(len(bank.trace_RT) - 1, 0))
        there = bank.trace_first_E[:-1, None] + np.arange(MAX_TRACES) < bank.trace_first_E[1:, None]
        self.trace_RT = _on(bank.trace_RT, device)
        self.row_ER = _on(rows, device)
        self.map_ERL = _on(bank.map_RC[rows] * there[..., None], device)
        self.onset_s_EM = _on(_filled(bank.onset_s_M, bank.onset_first_E), device)
        artifact = [_filled(bank.artifact_M3[:, k], bank.artifact_first_E) for k in range(3)]
        self.artifact_EM3 = _on(np.stack(artifact, -1), device)
        ones = np.ones((1, bank.n_times), np.float16)
        self.envelope_VT = _on(np.concatenate([bank.envelope_VT, ones]), device)
        self.envelope_E = _on(np.where(bank.envelope_E < 0, len(bank.envelope_VT), bank.envelope_E), device)

    def column(self, name: str) -> Tensor:
        """Return what a bank has one of for each pattern, on the device."""
        return _on(getattr(self.bank, name), self.device)


def _on(values: np.ndarray, device: torch.device) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(values)).to(device)


def _filled(values: np.ndarray, first: np.ndarray) -> np.ndarray:
    """Return lists of events as rows of one length, float32, shape (E, M); `FAR` where there is none."""
    sizes = np.diff(first)
    out = np.full((len(sizes), int(sizes.max(initial=1)) or 1), FAR, np.float32)
    out[np.arange(out.shape[1]) < sizes[:, None]] = values
    return out


class Planter:
    """Lays patterns over batches of windows in µV."""

    def __init__(self, tensors: BankTensors, chances: Chances) -> None:
        """Take a bank on the device of the batches."""
        bank = tensors.bank
        self.tensors, self.chances = tensors, chances
        names = [str(name) for name in bank.ch_names]
        self._ids_L = electrode_ids(names).to(tensors.device)
        self._mirror_L = torch.tensor([names.index(mirrored(name)) for name in names], device=tensors.device)
        position_L3 = places(names)
        # Splines from the bank's electrodes to any direction: a kernel of angles, times a matrix that is fixed.
        self._position_L3 = position_L3.double().to(tensors.device)
        self._solved = _solved(position_L3.double().numpy()).to(tensors.device)
        self._prominence_E2 = tensors.column("prominence_E2")
        self._limits_E2 = tensors.column("limits_E2")

    def __call__(self, draws: Draws, x_BCT: Tensor, montage: Montage, *, sfreq: float) -> tuple[Tensor, Planted]:
        """Return the windows with patterns over them, µV, and what was done; windows of another rate carry none.

        Raises ValueError for windows longer than the bank's patterns.
        """
        bank, n_times = self.tensors.bank, x_BCT.shape[-1]
        fits = sfreq == bank.sfreq
        if fits and n_times > bank.n_times:
            raise ValueError(f"windows of {n_times} samples are longer than the bank's patterns of {bank.n_times}")
        carries_BC = (montage.ch_state_BC == MEASURED) & (montage.sensor_type_BC == EEG)
        is_carrier_B = (carries_BC.sum(1) >= FEWEST_CHANNELS) & fits
        is_planted_B = is_carrier_B & (draws.uniform("planted")[:, 0] >= self.chances.background)
        last_B = torch.full_like(is_carrier_B, len(bank) - 1, dtype=torch.int64)
        entry_B = draws.integers("pattern", torch.zeros_like(last_B), last_B)
        free_B = torch.full_like(last_B, max(bank.n_times - n_times, 0))
        start_B = draws.integers("pattern start", torch.zeros_like(free_B), free_B)
        mirrored_B = draws.uniform("mirrored")[:, 0] < self.chances.mirror
        trace_BRT, envelope_BT = self._cut(entry_B, start_B, n_times) if fits else _nothing(x_BCT)
        envelope_BT = torch.where(is_planted_B[:, None], envelope_BT, 1.0)
        calm_BCT = torch.where((montage.sensor_type_BC == EEG)[..., None], x_BCT * envelope_BT[:, None], x_BCT)
        size_BC = seconds_rms(calm_BCT, sfreq)
        rms_B = size_BC.masked_fill(~carries_BC, torch.nan).nanmedian(1).values.nan_to_num(1.0)
        peak_B, prominence_B = self._peak(draws, entry_B, rms_B)
        map_BRC = self._maps(entry_B, mirrored_B, montage, carries_BC)
        peak_B = torch.where(is_planted_B, peak_B, 0.0)
        pattern_BCT = (map_BRC * peak_B[:, None, None]).transpose(1, 2) @ trace_BRT
        planted = Planted(
            is_carrier_B=is_carrier_B, is_planted_B=is_planted_B, entry_B=entry_B, start_s_B=start_B / bank.sfreq,
            mirrored_B=mirrored_B, prominence_B=prominence_B, envelope_BT=envelope_BT, pattern_BCT=pattern_BCT,
            size_BC=size_BC,
        )  # fmt: skip
        return calm_BCT + pattern_BCT, planted

    def _cut(self, entry_B: Tensor, start_B: Tensor, n_times: int) -> tuple[Tensor, Tensor]:
        """Return stretches of traces, (B, R, T), and of envelopes, (B, T), from their starts on."""
        tensors = self.tensors
        traces, envelopes = (rows.unfold(1, n_times, 1) for rows in (tensors.trace_RT, tensors.envelope_VT))
        trace_BRT = traces[tensors.row_ER[entry_B], start_B[:, None]]
        return trace_BRT.float(), envelopes[tensors.envelope_E[entry_B], start_B].float()

    def _peak(self, draws: Draws, entry_B: Tensor, rms_B: Tensor) -> tuple[Tensor, Tensor]:
        """Return each pattern's peak, µV, and what that is over the background's RMS."""
        median_B, spread_B = self._prominence_E2[entry_B].unbind(1)
        drawn_B = draws.normal("prominence")[:, 0].clamp(-_SPREADS, _SPREADS)
        low_B, high_B = self._limits_E2[entry_B].unbind(1)
        peak_B = torch.minimum(torch.maximum(median_B * torch.exp(spread_B * drawn_B) * rms_B, low_B), high_B)
        return peak_B, peak_B / rms_B.clamp(min=1e-6)

    def _maps(self, entry_B: Tensor, mirrored_B: Tensor, montage: Montage, carries_BC: Tensor) -> Tensor:
        """Return the traces' maps over the windows' channels against their average, (B, R, C)."""
        map_BRL = self.tensors.map_ERL[entry_B]
        map_BRL = torch.where(mirrored_B[:, None, None], map_BRL[..., self._mirror_L], map_BRL)
        map_BRC = map_BRL @ self.weights(montage).transpose(1, 2)
        there_B1C = carries_BC[:, None].to(map_BRC)
        mean_BR1 = (map_BRC * there_B1C).sum(-1, keepdim=True) / there_B1C.sum(-1, keepdim=True).clamp(min=1)
        is_eeg_B1C = ((montage.sensor_type_BC == EEG) & (montage.ch_state_BC != ABSENT))[:, None]
        return (map_BRC - mean_BR1) * is_eeg_B1C

    def weights(self, montage: Montage) -> Tensor:
        """Return how much channels have of each electrode of the bank, float32, (B, C, L): by name, else by place."""
        position_BC3 = montage.position_BC3.double().nan_to_num(0.0)
        cosine_BCL = (F.normalize(position_BC3, dim=-1) @ self._position_L3.T).clamp(-1, 1)
        by_place_BCL = torch.cat([legendre_kernel(cosine_BCL), torch.ones_like(cosine_BCL[..., :1])], -1) @ self._solved
        named_BCL = montage.electrode_ids_BC[..., None] == self._ids_L
        weight_BCL = torch.where(named_BCL.any(-1, keepdim=True), named_BCL.to(by_place_BCL), by_place_BCL)
        return weight_BCL.float()


def _nothing(x_BCT: Tensor) -> tuple[Tensor, Tensor]:
    """Return traces and envelopes that change nothing."""
    return x_BCT.new_zeros(len(x_BCT), MAX_TRACES, x_BCT.shape[-1]), x_BCT.new_ones(len(x_BCT), x_BCT.shape[-1])


def _solved(position_L3: np.ndarray) -> Tensor:
    """Return the matrix that makes kernels of angles, and a 1, weights of a spline, float64, shape (L + 1, L).

    As `signals.montage.splines.spline_matrix` does, with its regularisation.
    """
    system = np.ones((len(position_L3) + 1, len(position_L3) + 1))
    system[:-1, :-1] = spline_kernel(position_L3, position_L3) + 1e-5 * np.eye(len(position_L3))
    system[-1, -1] = 0.0
    return torch.from_numpy(np.linalg.pinv(system)[:, :-1].copy())


def legendre_kernel(cosine: Tensor) -> Tensor:
    """Return `signals.montage.splines.spline_kernel` of cosines of angles, same shape."""
    before, now, total = torch.ones_like(cosine), cosine, torch.zeros_like(cosine)
    for n in range(1, _N_TERMS + 1):
        total = total + (2 * n + 1) / (n**4 * (n + 1.0) ** 4 * 4 * np.pi) * now
        before, now = now, ((2 * n + 1) * cosine * now - n * before) / (n + 1)
    return total


def mirrored(name: str) -> str:
    """Return the electrode of the 10-20 system on the other side: F3 for F4, Cz for Cz."""
    if not name[-1].isdigit():
        return name
    number = int(name[-1])
    return f"{name[:-1]}{number + 1 if number % 2 else number - 1}"


def seconds_rms(x_BCT: Tensor, sfreq: float) -> Tensor:
    """Return the median over seconds of each channel's RMS, shape (B, C); shorter windows are one second."""
    second = min(round(sfreq), x_BCT.shape[-1])
    parts_BCNT = x_BCT[..., : x_BCT.shape[-1] // second * second].unflatten(-1, (-1, second))
    return parts_BCNT.square().mean(-1).sqrt().median(-1).values
