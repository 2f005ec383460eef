"""Attribution through gradients: integrated gradients, the same by band of frequency, DeepLift.

Integrated gradients (Sundararajan et al. 2017) average the gradient along the straight way from a background to the
window. A signal is the sum of its bands and the way is straight in each, so the same mean gradient attributes to bands
(integrated gradients of the Fourier coefficients, Kechris et al. 2025): the sum over bands is the ordinary map.

Shapes: B batch, C channel, T sample, K class, S step.
"""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from explain.asking.parts import in_band
from explain.explanation import Explanation, in_steps

N_STEPS = 32
BATCH = 16
IG, BANDS_IG, DEEPLIFT = "integrated gradients", "cross-domain integrated gradients", "DeepLift"


class Centred(nn.Module):
    """A network's logits less their mean, which is what is attributed."""

    def __init__(self, network: nn.Module) -> None:
        """Take a network whose `forward(x_BCT)` gives logits, alone or first in a tuple."""
        super().__init__()
        self.network = network

    def forward(self, x_BCT: Tensor) -> Tensor:
        """Return centred logits, shape (B, K)."""
        out = self.network(x_BCT)
        logits_BK = out if isinstance(out, Tensor) else out[0]
        return logits_BK - logits_BK.mean(1, keepdim=True)


def ask_of(network: nn.Module) -> Callable[[np.ndarray], np.ndarray]:
    """Return a network as `explain.asking.ask.Ask`: windows in, logits out."""

    @torch.inference_mode()
    def ask(windows: np.ndarray) -> np.ndarray:
        out = network(torch.from_numpy(np.ascontiguousarray(windows)))
        return np.asarray((out if isinstance(out, Tensor) else out[0]).numpy())

    return ask


def mean_gradient(
    network: nn.Module, x: np.ndarray, background: np.ndarray, target: int, *, n_steps: int = N_STEPS
) -> np.ndarray:
    """Return the mean gradient of a class's centred logit from background to window (or image), float64, their shape.

    Gauss-Legendre points, as captum's default.
    """
    places, weights = np.polynomial.legendre.leggauss(n_steps)
    shares = torch.tensor((places + 1) / 2, dtype=torch.float32)
    weights_S = torch.tensor(weights / 2, dtype=torch.float64)
    start_CT, stop_CT = (torch.from_numpy(np.asarray(each, dtype=np.float32)) for each in (background, x))
    centred, total = Centred(network), torch.zeros(start_CT.shape, dtype=torch.float64)
    for some, weight in zip(shares.split(BATCH), weights_S.split(BATCH), strict=True):
        along = some.reshape(-1, *(1,) * start_CT.ndim)
        x_BCT = (start_CT + along * (stop_CT - start_CT)).requires_grad_(True)
        (slope_BCT,) = torch.autograd.grad(centred(x_BCT)[:, target].sum(), x_BCT)
        total += (slope_BCT.double() * weight.reshape(along.shape)).sum(0)
    return total.numpy()


def integrated_gradients(
    network: nn.Module, x: np.ndarray, target: int, *, sfreq: float, backgrounds: np.ndarray,
    bands: Sequence[tuple[float, float]] = (), n_steps: int = N_STEPS,
) -> Explanation:  # fmt: skip
    """Return evidence for a class, by band too where bands are given; the mean over backgrounds (n, n_chans, n_times).

    What lies outside of all bands is left out of the map, and so of its sum.
    """
    total: list[np.ndarray] = []
    for background in backgrounds:
        slope = mean_gradient(network, x, background, target, n_steps=n_steps)
        change = np.asarray(x - background, dtype=np.float64)
        parts = [in_band(change, band, sfreq) for band in bands] or [change]
        total.append(np.stack([in_steps(slope * part, sfreq) for part in parts], axis=-1))
    score, base = _ends(network, x, backgrounds, target)
    return Explanation(
        method=BANDS_IG if bands else IG, target=target, values=np.mean(total, axis=0), score=score, base=base,
        bands=tuple(bands),
    )  # fmt: skip


def deeplift(
    network: nn.Module, x: np.ndarray, target: int, *, sfreq: float, backgrounds: np.ndarray
) -> Explanation:  # fmt: skip
    """Return captum's DeepLift (Shrikumar et al. 2017); the mean over backgrounds.

    Where a network has non-linear steps that captum has no rule for (recurrent layers, SiLU, attention), its sum is not
    the logit's change: `Explanation.sum_error` shows by how much.
    """
    import warnings

    from captum.attr import DeepLift

    stop_1CT = torch.from_numpy(np.asarray(x, dtype=np.float32))[None]
    values = np.zeros(x.shape)
    method = DeepLift(Centred(network))
    for background in backgrounds:
        start_1CT = torch.from_numpy(np.asarray(background, dtype=np.float32))[None]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # captum warns that it sets hooks
            found = method.attribute(stop_1CT.requires_grad_(True), start_1CT, target=target)
        values += found[0].detach().double().numpy() / len(backgrounds)
    score, base = _ends(network, x, backgrounds, target)
    return Explanation(
        method=DEEPLIFT, target=target, values=in_steps(values, sfreq)[..., None], score=score, base=base
    )


def _ends(network: nn.Module, x: np.ndarray, backgrounds: np.ndarray, target: int) -> tuple[float, float]:
    """Return the centred logit of the window, and the mean of the backgrounds'."""
    ends = np.concatenate([np.asarray(x)[None], backgrounds]).astype(np.float32)
    with torch.inference_mode():
        found = Centred(network)(torch.from_numpy(ends))[:, target].double().numpy()
    return float(found[0]), float(found[1:].mean())
