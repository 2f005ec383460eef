"""The traces on pictures of a beat, marked pixel by pixel by a U-Net and by Mask2Former; its 512-pixel form.

Both learn for the same steps from the same pictures, and are scored on people that neither saw.
"""

from typing import Any

import numpy as np
import torch

from benchmarks.benches.models.pictures.points import images, pictures, train
from benchmarks.harness import figure
from model.images.backbones import build
from model.images.mask2former import Mask2Former
from model.images.unet import UNet
from signals.modality import ECG_12
from synthetic.heart.person import CONDITIONS
from synthetic.paper.beats import BeatPicture, ink_of
from training.objectives.pictures import PictureMasks

SIDE_PX, LARGE_PX, N_HELD_OUT = 128, 512, 24
SMALL: dict[str, dict[str, Any]] = {
    "unet": {"width": 8},
    "mask2former": {
        "width": 32, "encoder_depth": 2, "decoder_depth": 3, "n_queries": 8, "swin_width": 32,
        "swin_depths": (1, 1, 1, 1), "window": 4, "n_points": 2048,
    },
}  # fmt: skip
LARGE: dict[str, Any] = {}
"""Of the form of LARGE_PX: Swin-T's backbone, six layers of attention over scales, nine of the decoder."""


def mask_batch(some: list[BeatPicture]) -> dict[str, torch.Tensor]:
    """Return pictures with the pixels that a trace covers by half or more."""
    leads = [dict(zip(ECG_12.ch_names, one.x_mv, strict=True)) for one in some]
    ink = [ink_of(x, one.image.shape[0], one.layout) for x, one in zip(leads, some, strict=True)]
    return {"image_BCHW": images(some), "mask_BKHW": torch.from_numpy(np.stack(ink) >= 0.5)[:, None]}


def masks(n_pictures: int, n_steps: int) -> None:
    """Print how far both networks' traces are the true ones, and the loss of the 512-pixel form after two steps."""
    names = tuple(CONDITIONS)
    seen, held_out = (
        mask_batch(pictures(n, seed, names, image_px=SIDE_PX)) for n, seed in ((n_pictures, 7), (N_HELD_OUT, 8))
    )
    for name, sizes in SMALL.items():
        torch.manual_seed(0)
        network = build(name, **sizes)
        assert isinstance(network, UNet | Mask2Former)
        loss = train(PictureMasks(network), seen, n_steps=n_steps, size=8, lr=3e-3)
        print(f"{name}: {n_steps} steps on {n_pictures} pictures: loss {loss:.3f}", flush=True)
        with torch.no_grad():
            given, true = network.eval()(held_out["image_BCHW"]) > 0, held_out["mask_BKHW"]
        figure(f"ecg_mask_{name}_iou", float((given & true).sum() / (given | true).sum()), "share")
    large = Mask2Former(**LARGE)
    figure("ecg_mask2former_512_parameters", sum(p.numel() for p in large.parameters()), "weights")
    batch = mask_batch(pictures(1, 9, names, image_px=LARGE_PX))
    figure("ecg_mask2former_512_loss", train(PictureMasks(large), batch, n_steps=2, size=1, lr=1e-4), "loss")
