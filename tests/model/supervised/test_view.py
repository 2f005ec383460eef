import numpy as np
import pytest
import torch
from scipy.signal import firwin, freqz

from model.supervised.supervised import Supervised, new_network
from model.supervised.view import View
from signals.modality import EEG_1020
from signals.montage.references import DOUBLE_BANANA
from signals.shards.normalise import Normaliser
from signals.tasks import SIX_CLASS
from signals.window import ABSENT, MEASURED

NAMES = EEG_1020.ch_names
CLINIC = {"derivation": "double-banana", "low_pass_hz": 20.0, "soft_clip": 4.0}


def window(n_times: int = 512) -> tuple[torch.Tensor, torch.Tensor]:
    x = torch.randn(2, len(NAMES), n_times, generator=torch.Generator().manual_seed(0))
    return x, torch.full((2, len(NAMES)), MEASURED, dtype=torch.int64)


def test_without_options_only_absent_channels_are_silenced() -> None:
    x, state = window()
    state[1, 3] = ABSENT
    seen = View(EEG_1020)(x, state)
    assert not seen[1, 3].any()
    seen[1, 3] = x[1, 3]
    assert torch.equal(seen, x)


def test_pairs_are_differences_and_need_both_electrodes() -> None:
    x, state = window()
    state[1, NAMES.index("C3")] = ABSENT
    seen = View(EEG_1020, derivation="double-banana")(x, state)
    assert seen.shape == (2, 18, 512)
    for row, (anode, cathode) in enumerate(DOUBLE_BANANA):
        a, c = NAMES.index(anode), NAMES.index(cathode)
        torch.testing.assert_close(seen[0, row], x[0, a] - x[0, c])
        assert bool(seen[1, row].any()) is ("C3" not in (anode, cathode))


def test_a_common_reference_does_not_change_pairs() -> None:
    x, state = window()
    view = View(EEG_1020, derivation="double-banana")
    torch.testing.assert_close(view(x + 7.0 * x[:, :1], state), view(x, state), rtol=0, atol=1e-5)


def test_the_low_pass_keeps_slow_waves_in_place_and_stops_fast_ones() -> None:
    view, sfreq = View(EEG_1020, low_pass_hz=20.0), 256.0
    taps = view.taps_11T[0, 0].numpy()
    np.testing.assert_allclose(taps, firwin(len(taps), 20.0, fs=sfreq), atol=1e-7)
    _, gain = freqz(taps, worN=[0.5, 10.0, 15.0, 20.0, 25.0, 50.0], fs=sfreq)
    np.testing.assert_allclose(np.abs(gain[:3]), 1.0, atol=0.01)
    assert abs(gain[3]) == pytest.approx(0.5, abs=0.01)  # -6 dB at the edge
    assert (np.abs(gain[4:]) < 0.01).all()
    times = torch.arange(2048) / sfreq
    x, state = torch.sin(2 * np.pi * 3 * times).expand(1, len(NAMES), -1), window()[1][:1]
    torch.testing.assert_close(view(x, state)[..., 300:-300], x[..., 300:-300], rtol=0, atol=0.01)


def test_clipping_bends_what_is_large_and_leaves_what_is_small() -> None:
    x, state = window()
    view = View(EEG_1020, soft_clip=4.0)
    torch.testing.assert_close(view(0.01 * x, state), 0.01 * x, rtol=1e-4, atol=0)
    assert view(1e6 * x, state).abs().max() == pytest.approx(4.0)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"derivation": "banana"}, "derivation='banana' is none of referential, double-banana"),
        ({"low_pass_hz": 128.0}, "low_pass_hz=128.0 must lie between 0 and 128"),
        ({"soft_clip": -1.0}, "soft_clip=-1.0 must not be below 0"),
    ],
)
def test_what_cannot_be_is_refused(options: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        View(EEG_1020, **options)  # type: ignore[arg-type]


@pytest.mark.parametrize("network", ["eegnet", "resnet_gru"])
def test_a_saved_network_looks_as_it_did(network, tmp_path) -> None:
    torch.manual_seed(0)
    about = {"dropout": 0.0, "profile": {}, "provenance": {}}
    model = new_network(network, SIX_CLASS, EEG_1020, Normaliser(kind="window"), view=CLINIC, **about).eval()
    model.save_pretrained(tmp_path)
    again = Supervised.from_pretrained(tmp_path, local_files_only=True).eval()
    x, state = window(50 * 256)
    with torch.no_grad():
        torch.testing.assert_close(again(x, state), model(x, state))
        mirrored = model(x + 3.0, state)[0]
        torch.testing.assert_close(mirrored, model(x, state)[0], rtol=0, atol=1e-4)  # no pair sees a common offset
