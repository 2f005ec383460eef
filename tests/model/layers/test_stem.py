import numpy as np
import torch

from model.layers.stem import Stem
from training.recipes.pretraining import RECIPES

CONFIGS = {name: make().model.encoder for name, make in RECIPES.items()}
N_WINDOWS, N_TIMES = 48, 2560


def pink(seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Windows of one channel, variance 1, power falling with frequency; and the same with the phases of others."""
    generator = np.random.default_rng(seed)
    freqs = np.fft.rfftfreq(N_TIMES, 1 / 256)
    size_LF = np.where((freqs >= 0.5) & (freqs <= 40), 1 / np.maximum(freqs, 0.5), 0.0) * generator.lognormal(
        0, 0.5, (N_WINDOWS, 1)
    ) ** np.linspace(-1, 1, len(freqs))
    both = []
    for _ in range(2):
        phase_LF = np.exp(2j * np.pi * generator.random((N_WINDOWS, len(freqs))))
        x_LT = np.fft.irfft(size_LF * phase_LF, N_TIMES)
        both.append(torch.from_numpy(x_LT / x_LT.std(1, keepdims=True)).float()[:, None])
    return both[0], both[1]


def new_stem(name: str) -> Stem:
    torch.manual_seed(0)
    return Stem(CONFIGS[name])


def parts(stem: Stem, x_BCT: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """What waveform and spectra each bring to tokens, (B, N, D)."""
    B, C, _ = x_BCT.shape
    nothing_BMCC = torch.zeros(B, stem.config.n_mixed, C, C)
    with torch.no_grad():
        _, merged_BCND = stem(x_BCT, None, nothing_BMCC)
        fast_BCNF, slow_BCNF = stem.spectra(x_BCT)
        spectral_BND = (stem.spectrum(fast_BCNF) + stem.slow(slow_BCNF))[:, 0]
    return merged_BCND[:, 0] - spectral_BND, spectral_BND


def variance(x_BND: torch.Tensor) -> float:
    return float(x_BND.flatten(0, 1).var(0).mean())


def test_waveform_and_spectra_come_into_a_token_equally_large() -> None:
    for name in CONFIGS:
        waveform_BND, spectral_BND = parts(new_stem(name), pink(0)[0])
        assert 0.2 < variance(waveform_BND) / variance(spectral_BND) < 5, name


def test_most_of_a_token_differs_between_windows() -> None:
    for name in CONFIGS:
        waveform_BND, spectral_BND = parts(new_stem(name), pink(1)[0])
        token_LD = (waveform_BND + spectral_BND).flatten(0, 1)
        assert float(token_LD.mean(0).square().mean()) < 3 * float(token_LD.var(0).mean()), name


def test_tokens_hear_phases_that_spectra_do_not_show() -> None:
    stem = new_stem("eeg_tiny")
    x_BCT, other_BCT = pink(2)
    (waveform_BND, spectral_BND), (other_waveform_BND, other_spectral_BND) = parts(stem, x_BCT), parts(stem, other_BCT)
    change = waveform_BND + spectral_BND - other_waveform_BND - other_spectral_BND
    assert variance(waveform_BND - other_waveform_BND) > 0.2 * variance(change)
