"""A convolutional autoencoder that guesses each electrode from the others: what it cannot guess is odd.

It sees a window without some of its electrodes, squeezes it through a narrow code, and gives all of them back. Brain
activity, discharges and seizures too, reaches several electrodes by volume conduction, so it can be guessed; a loose
electrode, a muscle below it or a dead one cannot. In `forward` every electrode is hidden once.

B batch, C channel, T sample, S second, G group of electrodes hidden together, D width.
"""

import json
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from signals.modality import Modality

OPSET = 18
_FLOOR = 0.05
"""Power below which a guess counts as nothing, in squared window scales."""


@dataclass(frozen=True, kw_only=True)
class AutoencoderConfig:
    """Shape of the network."""

    width: int = 48
    """Channels of the code."""
    stride: int = 4
    """Samples a step of the code."""
    depth: int = 3
    """Residual convolutions between encoder and decoder."""
    kernel: int = 5
    """Their length, steps."""
    n_groups: int = 5
    """Groups that the electrodes are hidden in."""


class Autoencoder(nn.Module):
    """Scores channel-seconds of windows; NaN marks electrodes that were not measured."""

    def __init__(self, config: AutoencoderConfig, modality: Modality) -> None:
        super().__init__()
        self.config, self.modality = config, modality
        self.n_second = int(modality.sfreq)
        n_chans, width, stride = modality.n_chans, config.width, config.stride
        self.encode = nn.Conv1d(2 * n_chans, width, 4 * stride, stride=stride, padding=3 * stride // 2)
        self.mix = nn.ModuleList(
            nn.Conv1d(width, width, config.kernel, padding=config.kernel // 2) for _ in range(config.depth)
        )
        self.decode = nn.ConvTranspose1d(width, n_chans, 4 * stride, stride=stride, padding=3 * stride // 2)
        groups = hidden_groups(modality, config.n_groups)
        self.register_buffer("groups_GC", torch.from_numpy(groups), persistent=False)
        # What training shards show: quantiles of both errors, filled in by `calibrate`.
        self.register_buffer("levels", torch.linspace(0.0, 1.0, 64))
        self.register_buffer("quantiles", torch.linspace(0.0, 1.0, 64).repeat(N_ERRORS, 1))

    def guess(self, x_BCT: Tensor, seen_BC: Tensor) -> Tensor:
        """Return asinh of all electrodes from those seen (float, 1 or 0); what is not seen is not looked at."""
        seen = seen_BC[:, :, None].expand_as(x_BCT)
        squeezed = torch.asinh(x_BCT) * seen
        h = nn.functional.gelu(self.encode(torch.cat([squeezed, seen], dim=1)))
        for layer in self.mix:
            h = h + nn.functional.gelu(layer(h))
        return self.decode(h)

    def errors(self, x_BCT: Tensor) -> tuple[Tensor, Tensor]:
        """Return log errors of every channel and second, (B, N_ERRORS, C, S), and which channels were measured."""
        measured_BC = (~torch.isnan(x_BCT[:, :, 0])).to(x_BCT.dtype)
        x = torch.nan_to_num(x_BCT)
        guess = torch.zeros_like(x)
        for hidden_C in self.groups_GC.unbind(0):
            hidden = hidden_C.to(x.dtype)
            guess = guess + self.guess(x, measured_BC * (1 - hidden)) * hidden[None, :, None]
        return self.log_errors(x, torch.sinh(guess.clamp(-5.0, 5.0))), measured_BC

    def total(self, x_BCT: Tensor, seen_BC: Tensor, corrupted_BCT: Tensor, counts_BCS: Tensor) -> Tensor:
        """Return how far the guess of what is not seen is off, on the asinh scale, its differences counted too.

        The guess is made from `corrupted_BCT` and compared with x_BCT in the channel-seconds that count (float). A sum
        over them: the loss is this over `count`.
        """
        truth, guess = torch.asinh(x_BCT), self.guess(corrupted_BCT, seen_BC)
        off = (truth - guess).abs() + 2.0 * (_differences(truth) - _differences(guess)).abs()
        return (self._by_second(off) * counts_BCS * (1 - seen_BC)[:, :, None]).sum()

    def count(self, seen_BC: Tensor, counts_BCS: Tensor) -> Tensor:
        """Return the number of channel-seconds that count and are not seen."""
        return (counts_BCS * (1 - seen_BC)[:, :, None]).sum()

    def log_errors(self, x_BCT: Tensor, guess_BCT: Tensor) -> Tensor:
        """Return log10 of error over guess, in power, of the signal and of its differences, (B, N_ERRORS, C, S)."""
        power = [
            self._by_second((x_BCT - guess_BCT) ** 2), self._by_second(guess_BCT**2), self._by_second(x_BCT**2),
        ]  # fmt: skip
        steep_x, steep_guess = _differences(x_BCT), _differences(guess_BCT)
        steep = [
            self._by_second((steep_x - steep_guess) ** 2), self._by_second(steep_guess**2), self._by_second(steep_x**2),
        ]  # fmt: skip
        return torch.stack(
            [
                torch.log10((power[0] + 0.1 * _FLOOR) / (power[1] + _FLOOR)),
                torch.log10((steep[0] + 1e-4) / (steep[1] + 1e-3)),
                torch.log10((power[0] + 1e-3 * _FLOOR) / (power[2] + 1e-3 * _FLOOR)),
            ],
            dim=1,
        )

    def forward(self, x_BCT: Tensor) -> Tensor:
        """Return the anomaly of every channel and second, (B, C, S): -log10 of the share of training that is odder.

        0 is the least odd, 2 what one channel-second of a hundred reaches; NaN for electrodes that were not measured.
        """
        errors, measured_BC = self.errors(x_BCT)
        score = torch.stack([self._tail(errors[:, i], self.quantiles[i]) for i in range(N_ERRORS)]).amax(dim=0)
        return torch.where(measured_BC[:, :, None] > 0, score, torch.nan)

    def _tail(self, values: Tensor, quantiles: Tensor) -> Tensor:
        """Return `levels` at the values, linear between quantiles and on beyond the last two."""
        shape = values.shape
        flat = values.reshape(-1, 1)
        low, high = quantiles[:-1], quantiles[1:]
        part = (flat - low) / (high - low)
        steps = self.levels[1:] - self.levels[:-1]
        # Each step adds as much of itself as the value has climbed; the last goes on beyond its end.
        inside = torch.cat([part[:, :-1].clamp(0, 1), part[:, -1:].clamp(min=0)], dim=1)
        return (inside * steps).sum(dim=1).reshape(shape)

    def _by_second(self, x_BCT: Tensor) -> Tensor:
        return x_BCT.unflatten(-1, (-1, self.n_second)).mean(dim=-1)

    def calibrate(self, errors: np.ndarray) -> None:
        """Set the quantiles from log errors of training windows, shape (N_ERRORS, n)."""
        shares = np.concatenate([1 - np.linspace(0.0, 0.9, 32), np.logspace(-1, -4, 33)[1:]])
        self.levels.copy_(torch.from_numpy(-np.log10(shares)))
        quantiles = np.quantile(errors, 1 - shares, axis=1).T
        # Equal quantiles would divide by zero.
        self.quantiles.copy_(torch.from_numpy(np.maximum.accumulate(quantiles + 1e-6 * np.arange(shares.size), axis=1)))


N_ERRORS = 3
"""Kinds of error: of the signal and of its differences over the guess, and of the signal over itself."""


def hidden_groups(modality: Modality, n_groups: int) -> np.ndarray:
    """Return which channels are hidden together, bool, shape (n_groups, n_chans): each once.

    Mirror images go together, or each eye's electrode would tell what the other sees of a blink; beyond that neighbours
    are kept apart: a pair joins the group whose nearest member is farthest away, among those with room.
    """
    positions = np.asarray(modality.positions)
    mirrored = positions * np.array([-1.0, 1.0, 1.0])
    twin = np.linalg.norm(positions[:, None] - mirrored[None], axis=2).argmin(axis=1)
    pairs = sorted({tuple(sorted({channel, int(twin[channel])})) for channel in range(modality.n_chans)})
    groups: list[list[int]] = [[] for _ in range(n_groups)]
    most = -(-modality.n_chans // n_groups)
    for pair in sorted(pairs, key=lambda pair: (-len(pair), pair)):

        def room(members: list[int], pair: tuple[int, ...] = pair) -> tuple[float, int]:
            near = [float(np.linalg.norm(positions[a] - positions[b])) for a in pair for b in members]
            return min(near, default=9.0), -len(members)

        fitting = [members for members in groups if len(members) + len(pair) <= most]
        max(fitting or groups, key=room).extend(pair)
    out = np.zeros((n_groups, modality.n_chans), dtype=bool)
    for row, members in zip(out, groups, strict=True):
        row[members] = True
    return out


def _differences(x: Tensor) -> Tensor:
    return nn.functional.pad(x[..., 1:] - x[..., :-1], (0, 1))


def export_autoencoder(model: Autoencoder, path: Path, *, about: Mapping[str, Any]) -> None:
    """Write the model as one ONNX file: input "signal" (batch, n_chans, n_times), output "anomaly".

    `about` travels as metadata (JSON by key). The number of samples may be any multiple of a second.
    """
    import onnx

    model = model.eval()
    example = torch.randn(2, model.modality.n_chans, 2 * model.n_second)
    seconds = torch.export.Dim("n_seconds", min=1, max=3600)
    partial = path.with_name(path.name + ".partial")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter warns of its own internals
        torch.onnx.export(
            model,
            (example,),
            partial,
            input_names=["signal"],
            output_names=["anomaly"],
            dynamic_shapes=({0: torch.export.Dim("batch", min=1, max=4096), 2: model.n_second * seconds},),
            opset_version=OPSET,
            dynamo=True,
            external_data=False,
            verbose=False,
        )
    graph = onnx.load(partial)
    onnx.helper.set_model_props(graph, {key: json.dumps(value, sort_keys=True) for key, value in about.items()})
    onnx.save(graph, partial)
    partial.replace(path)


def parity(model: Autoencoder, path: Path, windows: Sequence[np.ndarray]) -> float:
    """Return the largest difference between the ONNX file and torch over normalised windows (n_chans, n_times)."""
    import onnxruntime

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    largest = 0.0
    for x in windows:
        with torch.inference_mode():
            ours = model(torch.from_numpy(x[None])).numpy()
        (theirs,) = session.run(["anomaly"], {"signal": x[None]})
        if not np.array_equal(np.isnan(ours), np.isnan(theirs)):
            return float("inf")
        largest = max(largest, float(np.nanmax(np.abs(ours - theirs), initial=0.0)))
    return largest
