import pytest
import torch

from model.braindecode import EncoderClassifier
from model.encoder import Encoder
from model.encoder_config import sized

CHS = [{"ch_name": name, "loc": [0.0] * 12} for name in ("Fp1", "T7", "O2")]
SHAPE = {"n_chans": 3, "n_outputs": 4, "n_times": 512, "sfreq": 128.0, "chs_info": CHS}


def make(**changed: object) -> EncoderClassifier:
    torch.manual_seed(0)
    return EncoderClassifier(**(SHAPE | changed)).eval()  # type: ignore[arg-type]


def test_windows_of_any_unit_give_one_output_a_class_and_gradients() -> None:
    model, x = make(), torch.randn(2, 3, 512, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        logits = model(x)
        assert logits.shape == (2, 4)
        torch.testing.assert_close(model(1e-5 * x), logits, atol=1e-4, rtol=1e-3)  # volts
        assert torch.isfinite(model(torch.zeros_like(x))).all()
    model.train()(x).sum().backward()
    assert model.encoder.stem.convs[0].weight.grad is not None


def test_names_are_known_in_both_spellings_and_places_come_from_mne() -> None:
    old = make(chs_info=[{"ch_name": "T3"}, *CHS[:1], *CHS[2:]])
    new = make(chs_info=[{"ch_name": "T7"}, *CHS[:1], *CHS[2:]])
    assert torch.equal(old.position_BC3, new.position_BC3)
    placed = make(chs_info=[*CHS[:2], {"ch_name": "E17", "loc": [0.0, 0.0, 0.09, *[0.0] * 9]}])
    assert placed.position_BC3[0, 2].tolist() == [0.0, 0.0, 1.0]


def test_a_given_encoder_is_used() -> None:
    encoder = Encoder(sized("tiny", dim=16, depth=1, n_heads=2, stem_dim=16))
    assert make(encoder=encoder, sfreq=256).encoder is encoder


@pytest.mark.parametrize(
    ("changed", "match"),
    [
        ({"n_chans": 4}, "3 channels, not n_chans=4"),
        ({"n_times": 200}, "less than 2 s"),
        ({"sfreq": 200.0}, "no multiple of 64 Hz: resample"),
        ({"chs_info": [*CHS[:2], {"ch_name": "E17"}]}, r"\['E17'\] are no known electrodes"),
        ({"encoder": Encoder(sized("tiny", dim=16, depth=1, n_heads=2, stem_dim=16))}, "reads 256 Hz, not sfreq=128"),
    ],
)
def test_what_does_not_fit_is_refused(changed: dict[str, object], match: str) -> None:
    with pytest.raises(ValueError, match=match):
        make(**changed)


def test_another_number_of_channels_is_refused() -> None:
    with pytest.raises(ValueError, match=r"n_chans=3"):
        make()(torch.zeros(1, 2, 512))
