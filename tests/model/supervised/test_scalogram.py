import numpy as np
import pytest
import torch

from model.supervised.networks import NetworkShape
from model.supervised.scalogram import FREQS, LOG_RANGE, ChainPower, ScalogramNet
from signals.modality import EEG_1020

NAMES = tuple(EEG_1020.ch_names)
SHAPE = NetworkShape(
    n_chans=19, sfreq=256.0, n_classes=6, span_s=(20.0, 30.0), window_s=50.0, ch_names=NAMES
)  # fmt: skip
TIMES = torch.arange(256 * 50) / 256


def at(**electrodes: torch.Tensor) -> torch.Tensor:
    """Return a window of tiny noise, so that no channel is absent, with signals at electrodes."""
    x = 1e-6 * torch.randn(1, 19, len(TIMES), generator=torch.Generator().manual_seed(0))
    for name, signal in electrodes.items():
        x[0, NAMES.index(name)] += signal
    return x


def test_a_rhythm_is_a_line_of_its_chain():
    power = ChainPower(SHAPE, step_s=0.1875)
    row = 16
    middle = power(at(F7=torch.sin(2 * np.pi * FREQS[row] * TIMES)))[0, :, :, 20:-20]
    assert middle.shape[:2] == (4, 32)
    assert (middle[0].argmax(0) == row).all()
    # F7 is in two of the four pairs of the left lateral chain; a sine of 1 has 1/4
    torch.testing.assert_close(
        middle[0, row], torch.full_like(middle[0, row], np.log10(0.25 * 2 / 4)), atol=0.02, rtol=0
    )
    assert middle[0, row].std() < 0.01
    assert (middle[1:] == LOG_RANGE[0]).all()


def test_discharges_are_columns():
    once_a_second = ((TIMES - 0.5) % 1.0 < 0.06).float()
    line = ChainPower(SHAPE, step_s=0.125)(at(F7=once_a_second))[0, 0, FREQS > 8][:, 16:-16]
    spectrum = torch.fft.rfft(line - line.mean(1, keepdim=True)).abs()
    hertz = torch.fft.rfftfreq(line.shape[1], 0.125)
    np.testing.assert_allclose(hertz[spectrum[:, hertz < 1.5].argmax(1)], 1.0, atol=0.05)


def test_a_chain_is_absent_when_all_its_pairs_are():
    power = ChainPower(SHAPE, step_s=0.1875)
    x = torch.randn(1, 19, len(TIMES))
    x[0, NAMES.index("F7")] = 0.0
    one_less = power(x)
    assert torch.isfinite(one_less).all()  # T3-T5 and T5-O1 are left
    x[0, NAMES.index("T5")] = 0.0
    two_less = power(x)
    assert torch.isnan(two_less[0, 0]).all()
    torch.testing.assert_close(two_less[0, 1:], one_less[0, 1:])
    logits, _ = ScalogramNet(SHAPE, width=0.1, depth=0.1).eval()(x)
    assert torch.isfinite(logits).all()


def test_channels_of_other_montages_are_regions():
    power = ChainPower(NetworkShape(n_chans=3, sfreq=128.0, n_classes=2), step_s=0.25)
    x = torch.zeros(1, 3, 128 * 20)
    x[0, 1] = torch.sin(2 * np.pi * FREQS[10] * torch.arange(128 * 20) / 128)
    seen = power(x)[0, :, :, 20:-20]
    assert torch.isnan(seen[[0, 2]]).all()
    assert (seen[1].argmax(0) == 10).all()


def test_it_sees_the_span_and_its_context():
    torch.manual_seed(0)
    net = ScalogramNet(SHAPE, width=0.1, depth=0.1, context_s=5.0).eval()
    x = torch.randn(1, 19, len(TIMES))
    net.standardise(x.repeat(4, 1, 1))
    net.eval()
    far, near = x.clone(), x.clone()
    far[..., : 256 * 13] *= 5.0  # 15 s less the longest frame's half, 1 s, and the step
    near[..., 256 * 16 : 256 * 19] *= 5.0
    with torch.no_grad():
        of_one, of_far, of_near = (net(one)[0] for one in (x, far, near))
        torch.testing.assert_close(of_far, of_one)
        assert (of_near - of_one).abs().max() > 1e-4
    with pytest.raises(ValueError, match="end before the label's span"):
        net(x[..., : 256 * 25])
