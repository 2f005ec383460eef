"""The points of a representative beat on a picture of twelve leads: a vision transformer and a DETR decoder.

60 queries, twelve leads times P, Q, R, S and T; each gives a wave or none, a box, a keypoint and a confidence. What a
heart does not have (P in fibrillation, Q or S in many leads) is no point: the number of points varies. DETR: Carion et
al. 2020, doi:10.48550/arXiv.2005.12872; both parts are transformers' own, by configuration, with drawn weights.

Shapes: B batch, H, W image, N patch, Q query, D width, K wave.
"""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers import DetrConfig, ResNetConfig, ViTConfig, ViTModel
from transformers.models.detr.modeling_detr import DetrDecoder

from signals.paper.layout import LAYOUTS

WAVES = ("P", "Q", "R", "S", "T")
"""Classes; the one behind them is none."""
CONFIG_FILE, WEIGHTS_FILE = "config.json", "model.safetensors"


@dataclass(frozen=True, kw_only=True)
class PointConfig:
    """Size of the network."""

    image_px: int = 512
    patch_px: int = 16
    width: int = 256
    depth: int = 6
    decoder_depth: int = 4
    n_queries: int = 60
    layout: str = "3x4"
    """Of the leads on the picture, of `signals.paper.layout.LAYOUTS`, without a rhythm strip; queries begin there."""

    def __post_init__(self) -> None:
        if self.layout not in LAYOUTS:
            raise ValueError(f"layout={self.layout!r} is none of {', '.join(LAYOUTS)}")
        if self.image_px % self.patch_px:
            raise ValueError(f"image_px={self.image_px} is not a multiple of patch_px={self.patch_px}")
        if self.width % 4:
            raise ValueError(f"width={self.width} is not a multiple of 4")


@dataclass(frozen=True)
class Points:
    """What is predicted for each query."""

    wave_BQK: Tensor
    """Logits of `WAVES`, and of none behind them."""
    box_BQ4: Tensor
    """Centre x, centre y, width, height as shares of the picture."""
    key_BQ2: Tensor
    """x, y as shares of the picture."""
    confidence_BQ: Tensor
    """Logit of the point being there and right."""


class PointNet(nn.Module):
    """Pictures in, a set of points out."""

    def __init__(self, config: PointConfig) -> None:
        super().__init__()
        self.config = config
        heads = 4
        self.encoder = ViTModel(
            ViTConfig(
                image_size=config.image_px, patch_size=config.patch_px, hidden_size=config.width,
                num_hidden_layers=config.depth, num_attention_heads=heads, intermediate_size=4 * config.width,
                hidden_dropout_prob=0.0,
            ),
            add_pooling_layer=False,
        )  # fmt: skip
        self.decoder = DetrDecoder(
            DetrConfig(
                d_model=config.width, decoder_layers=config.decoder_depth, decoder_attention_heads=heads,
                decoder_ffn_dim=4 * config.width, dropout=0.0, num_queries=config.n_queries,
                backbone_config=ResNetConfig(out_features=["stage4"]),  # required, and not built by the decoder
            )
        )  # fmt: skip
        self.queries = nn.Embedding(config.n_queries, config.width)
        self.places = nn.Parameter(0.02 * torch.randn(1, (config.image_px // config.patch_px) ** 2, config.width))
        # Each query begins at a place of its own: five side by side for each lead of a row.
        n_rows = len(LAYOUTS[config.layout].panels)
        n_columns = len(WAVES) * -(-config.n_queries // (n_rows * len(WAVES)))
        index = torch.arange(config.n_queries)
        start = torch.stack([(index % n_columns + 0.5) / n_columns, (index // n_columns + 0.5) / n_rows], -1)
        self.start_Q2 = nn.Parameter(torch.logit(start))
        self.waves = nn.Linear(config.width, len(WAVES) + 1)
        self.boxes = nn.Sequential(nn.Linear(config.width, config.width), nn.ReLU(), nn.Linear(config.width, 4))
        self.keys = nn.Sequential(nn.Linear(config.width, config.width), nn.ReLU(), nn.Linear(config.width, 2))
        self.confidence = nn.Linear(config.width, 1)

    def forward(self, image_BCHW: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return the fields of `Points`, in order, of images in 0-1."""
        patches_BND = self.encoder(2 * image_BCHW - 1).last_hidden_state[:, 1:]
        queries_BQD = self.queries.weight.expand(len(image_BCHW), -1, -1)
        out_BQD = self.decoder(
            inputs_embeds=torch.zeros_like(queries_BQD), encoder_hidden_states=patches_BND,
            spatial_position_embeddings=self.places.expand(len(image_BCHW), -1, -1),
            object_queries_position_embeddings=queries_BQD,
        ).last_hidden_state  # fmt: skip
        key_BQ2 = (self.keys(out_BQD) + self.start_Q2).sigmoid()
        box_BQ4 = self.boxes(out_BQD)
        centre_BQ2 = (box_BQ4[..., :2] + self.start_Q2).sigmoid()
        box_BQ4 = torch.cat([centre_BQ2, (box_BQ4[..., 2:] - 3).sigmoid()], -1)
        return self.waves(out_BQD), box_BQ4, key_BQ2, self.confidence(out_BQD)[..., 0]

    def save(self, folder: Path) -> None:
        """Write configuration and weights, to be loaded by `create_ecg_vit_detr_model`."""
        folder.mkdir(parents=True, exist_ok=True)
        (folder / CONFIG_FILE).write_text(json.dumps(asdict(self.config)), encoding="utf-8")
        save_file({name: value.contiguous() for name, value in self.state_dict().items()}, folder / WEIGHTS_FILE)


def create_ecg_vit_detr_model(pretrained: Path | str | bool = False, **options: Any) -> PointNet:
    """Return the network, of drawn weights (pretrained=False) or of a folder that `PointNet.save` wrote.

    options: fields of `PointConfig`, of drawn weights alone. Raises ValueError for pretrained=True (there are no
    published weights, and none are downloaded), for a folder without weights and for weights that do not fit.
    """
    if pretrained is False:
        return PointNet(PointConfig(**options))
    if pretrained is True:
        raise ValueError(
            "pretrained=True: there are no published weights; give the folder of a trained model, or False"
        )
    if options:
        raise ValueError(f"{', '.join(options)}: the folder of a trained model has its own configuration")
    folder = Path(pretrained)
    if not (folder / CONFIG_FILE).is_file() or not (folder / WEIGHTS_FILE).is_file():
        raise ValueError(f"{folder} has no {CONFIG_FILE} and {WEIGHTS_FILE}")
    network = PointNet(PointConfig(**json.loads((folder / CONFIG_FILE).read_text(encoding="utf-8"))))
    try:
        network.load_state_dict(load_file(folder / WEIGHTS_FILE))
    except RuntimeError as error:
        raise ValueError(f"{folder}: weights do not fit the configuration: {str(error).splitlines()[0]}") from None
    return network
