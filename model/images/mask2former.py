"""Mask2Former (Cheng et al. 2022, doi:10.48550/arXiv.2112.01527) that marks pixels, behind the U-Net's interface.

transformers' own, by configuration, with drawn weights: a Swin backbone (Liu et al. 2021), a pixel decoder with
deformable attention, and queries that each give a class or none, and a mask of a quarter of the picture's side.

Shapes: B batch, C channel, H, W image, Q query, K class.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import Mask2FormerConfig, Mask2FormerForUniversalSegmentation, SwinConfig

_GROUP = 32
"""The pixel decoder normalises groups of this many."""
_LEAST = 1e-4
"""Chance of a pixel that is never gone below, nor its complement."""


class Mask2Former(nn.Module):
    """Four stages of Swin, attention over three scales, a decoder of masks; by default Swin-T's backbone."""

    def __init__(
        self,
        *,
        n_classes: int = 1,
        width: int = 256,
        encoder_depth: int = 6,
        decoder_depth: int = 9,
        n_queries: int = 32,
        swin_width: int = 96,
        swin_depths: tuple[int, ...] = (2, 2, 6, 2),
        window: int = 7,
        n_points: int = 12544,
    ) -> None:
        """Take the sizes; n_points is how many pixels of a mask the loss looks at.

        Raises ValueError for widths that heads or groups do not divide.
        """
        super().__init__()
        if width % _GROUP:
            raise ValueError(f"width={width} is not a multiple of {_GROUP}")
        if swin_width % _GROUP:
            raise ValueError(f"swin_width={swin_width} is not a multiple of {_GROUP}")
        heads = swin_width // _GROUP
        self.network = Mask2FormerForUniversalSegmentation(
            Mask2FormerConfig(
                backbone_config=SwinConfig(
                    embed_dim=swin_width, depths=list(swin_depths), num_heads=[heads * 2**i for i in range(4)],
                    window_size=window, drop_path_rate=0.0, out_features=["stage1", "stage2", "stage3", "stage4"],
                ),
                feature_size=width, mask_feature_size=width, hidden_dim=width, num_attention_heads=width // _GROUP,
                encoder_feedforward_dim=4 * width, dim_feedforward=8 * width, encoder_layers=encoder_depth,
                decoder_layers=decoder_depth + 1, num_queries=n_queries, num_labels=n_classes,
                train_num_points=n_points,
            )
        )  # fmt: skip

    def forward(self, image_BCHW: Tensor) -> Tensor:
        """Return logits_BKHW of images in 0-1, whose sides are multiples of 32.

        A pixel is of a class where any query is of that class and covers it: 1 - prod(1 - p_class * p_mask) over
        queries, as log odds.
        """
        out = self.network(2 * image_BCHW - 1)
        class_BQK = out.class_queries_logits.softmax(-1)[..., :-1]
        mask_BQHW = out.masks_queries_logits.sigmoid()
        both_BQKHW = class_BQK[..., None, None] * mask_BQHW[:, :, None]
        none_BKHW = (1 - both_BQKHW).prod(1).clamp(_LEAST, 1 - _LEAST)
        logits_BKHW = torch.log((1 - none_BKHW) / none_BKHW)
        return F.interpolate(logits_BKHW, size=image_BCHW.shape[-2:], mode="bilinear", align_corners=False)

    def loss_sum(self, image_BCHW: Tensor, mask_BKHW: Tensor) -> Tensor:
        """Return the loss of each picture, summed: true masks matched with queries, at every depth of the decoder.

        Cross-entropy of the class, binary cross-entropy and Dice of the mask, with the paper's weights; the pixels
        that are looked at are drawn from torch's generator. A class without a pixel is no mask.
        """
        out = self.network(2 * image_BCHW - 1, output_auxiliary_logits=True)
        total = image_BCHW.new_zeros(())
        for at, mask_KHW in enumerate(mask_BKHW):
            kinds = mask_KHW.flatten(1).any(-1).nonzero()[:, 0]
            losses = self.network.get_loss_dict(
                out.masks_queries_logits[at : at + 1], out.class_queries_logits[at : at + 1],
                [mask_KHW[kinds].float()], [kinds],
                [{name: value[at : at + 1] for name, value in depth.items()} for depth in out.auxiliary_logits],
            )  # fmt: skip
            total = total + self.network.get_loss(losses)
        return total
