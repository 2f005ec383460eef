"""Supervised networks: windows in, classes out, trained from nothing on labelled windows alone.

A network is built as `NETWORKS[name](shape, dropout=..., **options)` and called as `network(x_BCT)`, or as
`network(spectrogram_BRFS)` where its name is in `SPECTROGRAM_NETWORKS`, or as `network(x_BCT, metadata_BF)` where it is
in `METADATA_NETWORKS`; it returns logits and the embedding that they come from. Those on raw EEG take windows of any
length that holds the label's span.

Shapes: B batch, C channel, T sample, R region, F frequency bin or field, S column, D width, K class.
"""

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from torch import Tensor, nn
from transformers import PretrainedConfig, PreTrainedModel

from model.sources.network import MultimodalNet
from model.supervised.eegnet import EEGNet
from model.supervised.efficientnet import SpectrogramNet
from model.supervised.inception import InceptionTime
from model.supervised.multiscale import MultiScaleNet
from model.supervised.networks import NetworkShape
from model.supervised.resnet_gru import ResNetGRU
from model.supervised.scalogram import ScalogramNet
from model.supervised.view import View
from model.supervised.xresnet import XResNet
from signals.modality import Modality
from signals.shards.normalise import Normaliser
from signals.tasks import Task

NETWORKS: dict[str, Callable[..., nn.Module]] = {
    "eegnet": EEGNet,
    "resnet_gru": ResNetGRU,
    "multiscale": MultiScaleNet,
    "xresnet1d101": XResNet,
    "inception1d": InceptionTime,
    "efficientnet_b3": SpectrogramNet,
    "efficientnet_small": partial(SpectrogramNet, width=0.5, depth=0.5, image_size=(128, 32), drop_connect=0.0),
    "efficientnet_scalogram": ScalogramNet,
    "multimodal": MultimodalNet,
}
"""Networks by name; "efficientnet_small" is the same network cut down for a CPU, "efficientnet_scalogram" makes its
image from samples."""
SPECTROGRAM_NETWORKS = frozenset({"efficientnet_b3", "efficientnet_small"})
"""Networks that read regional spectrograms instead of samples."""
METADATA_NETWORKS = frozenset({"multimodal"})
"""Networks that can read fields of the person too, those of their option `fields`."""
SCHEMA_VERSION = 1


class SupervisedConfig(PretrainedConfig):
    """What a network is made of and what it was made for; the fields that `ClassifierConfig` has too mean the same."""

    model_type = "cerebeam-network"

    def __init__(
        self,
        network: str = "",
        options: Mapping[str, Any] | None = None,
        task: str = "",
        classes: tuple[str, ...] = (),
        window_s: float = 10.0,
        label_span_s: tuple[float, float] | None = None,
        dropout: float = 0.25,
        modality: Mapping[str, Any] | None = None,
        normaliser: Mapping[str, Any] | None = None,
        profile: Mapping[str, Any] | None = None,
        provenance: Mapping[str, Any] | None = None,
        view: Mapping[str, Any] | None = None,
        schema_version: int = SCHEMA_VERSION,
        **kwargs: Any,
    ) -> None:
        """Take a name of `NETWORKS`, its options and those of `View`; raises ValueError for another schema version."""
        if schema_version != SCHEMA_VERSION:
            raise ValueError(f"the model has schema_version={schema_version}, this code reads {SCHEMA_VERSION}")
        self.network, self.options = network, dict(options or {})
        self.task, self.classes, self.window_s, self.label_span_s = task, list(classes), window_s, label_span_s
        self.dropout = dropout
        self.modality, self.normaliser = dict(modality or {}), dict(normaliser or {})
        self.profile, self.provenance = dict(profile or {}), dict(provenance or {})
        self.view = dict(view or {})
        self.schema_version = schema_version
        super().__init__(**kwargs)


class Supervised(PreTrainedModel):
    """A network with what is needed to use it on a window, and how it looks at it."""

    config_class = SupervisedConfig
    base_model_prefix = "network"
    main_input_name = "x_BCT"

    def __init__(self, config: SupervisedConfig) -> None:
        """Build the network; raises ValueError, naming those there are, for an unknown one."""
        super().__init__(config)
        if config.network not in NETWORKS:
            raise ValueError(f"unknown network {config.network!r}; networks are {', '.join(sorted(NETWORKS))}")
        modality = self.modality
        self.view = View(modality, **config.view)
        shape = NetworkShape(
            n_chans=self.view.n_chans,
            sfreq=modality.sfreq,
            n_classes=len(config.classes),
            span_s=config.label_span_s,
            window_s=config.window_s,
            ch_names=self.view.ch_names,
        )
        self.network = NETWORKS[config.network](shape, dropout=config.dropout, **config.options)
        self.post_init()

    def _init_weights(self, module: nn.Module) -> None:
        """Leave initialisation to the modules themselves."""

    def init_weights(self) -> None:
        """Leave weights as the network made them: EfficientNet, a model of transformers itself, would be drawn anew."""

    @property
    def modality(self) -> Modality:
        """The channels that windows must have."""
        return Modality.from_dict(self.config.modality)

    @property
    def normaliser(self) -> Normaliser:
        """How windows in µV are scaled before `forward`."""
        return Normaliser.from_dict(self.config.normaliser)

    @property
    def reads_spectrogram(self) -> bool:
        """Whether `forward` needs spectrograms."""
        return self.config.network in SPECTROGRAM_NETWORKS

    @property
    def fields(self) -> tuple[str, ...]:
        """Fields of the person that `forward` reads, in order; nothing for most networks."""
        return tuple(self.network.shape.metadata.names) if self.config.network in METADATA_NETWORKS else ()

    def forward(
        self,
        x_BCT: Tensor,
        ch_state_BC: Tensor,
        spectrogram_BRFS: Tensor | None = None,
        metadata_BF: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Return (logits_BK, embedding_BD) of normalised windows, or of spectrograms as in `Window.spectrogram`.

        metadata_BF: columns `fields`, NaN where nothing is known; without it nothing is known of anybody.
        Raises ValueError where the network reads spectrograms and none is given.
        """
        if not self.reads_spectrogram:
            more = (metadata_BF,) if self.fields else ()
            logits_BK, embedding_BD = self.network(self.view(x_BCT, ch_state_BC), *more)
            return logits_BK, embedding_BD
        if spectrogram_BRFS is None:
            raise ValueError(f"network {self.config.network!r} reads spectrograms, and none was given")
        logits_BK, embedding_BD = self.network(spectrogram_BRFS)
        return logits_BK, embedding_BD


def new_network(
    name: str,
    task: Task,
    modality: Modality,
    normaliser: Normaliser,
    *,
    dropout: float,
    profile: Mapping[str, Any],
    provenance: Mapping[str, Any],
    weights: Path | None = None,
    view: Mapping[str, Any] | None = None,
    **options: Any,
) -> Supervised:
    """Return network `name` with fresh weights for a task, or with those of a local folder where it can read them.

    view: options of `model.supervised.view.View`. Raises ValueError for an unknown network, for weights that do not
    fit, and for a view that cannot be made.
    """
    if weights is not None:
        if name not in SPECTROGRAM_NETWORKS:
            raise ValueError(f"weights={weights}: network {name!r} reads none; {sorted(SPECTROGRAM_NETWORKS)} do")
        options = {"layout": "tiled", **options}  # three channels, as pretrained weights have
    model = Supervised(
        SupervisedConfig(
            network=name,
            options=options,
            task=task.name,
            classes=task.classes,
            window_s=task.window_s,
            label_span_s=task.label_span_s,
            dropout=dropout,
            modality=modality.to_dict(),
            normaliser=normaliser.to_dict(),
            profile=profile,
            provenance=provenance,
            view=view,
        )
    )
    if weights is not None:
        model.network.load_weights(weights)
    return model
