"""A task model: encoder and classifier head, with all that is needed to use it on a window."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from transformers import PretrainedConfig, PreTrainedModel

from model.encoder import Encoder
from model.encoder_config import EncoderConfig
from model.heads import ClassifierHead
from model.montage import FixedMontage
from signals.modality import Modality
from signals.shards.normalise import Normaliser
from signals.tasks import Task
from signals.window import ABSENT

SCHEMA_VERSION = 3
"""3: the head hears the order of seconds, and the encoder is of schema version 2."""


class ClassifierConfig(PretrainedConfig):
    """What a task model is made of and what it was made for."""

    model_type = "cerebeam-classifier"

    def __init__(
        self,
        encoder: Mapping[str, Any] | None = None,
        task: str = "",
        classes: tuple[str, ...] = (),
        window_s: float = 10.0,
        label_span_s: tuple[float, float] | None = None,
        dropout: float = 0.2,
        head_dim: int | None = None,
        modality: Mapping[str, Any] | None = None,
        normaliser: Mapping[str, Any] | None = None,
        profile: Mapping[str, Any] | None = None,
        provenance: Mapping[str, Any] | None = None,
        schema_version: int = SCHEMA_VERSION,
        **kwargs: Any,
    ) -> None:
        """Take `EncoderConfig`, `Modality`, `Normaliser` and the shards' profile as plain dicts.

        head_dim: width of the head's hidden layer; half of the encoder's without.
        provenance: manifest digest, code version, recipe, pretraining subjects and training subjects.
        Raises ValueError for another schema version than this code reads.
        """
        if schema_version != SCHEMA_VERSION:
            raise ValueError(f"the model has schema_version={schema_version}, this code reads {SCHEMA_VERSION}")
        self.encoder = dict(encoder or {})
        self.task, self.classes, self.window_s, self.label_span_s = task, list(classes), window_s, label_span_s
        self.dropout, self.head_dim = dropout, head_dim
        self.modality, self.normaliser = dict(modality or {}), dict(normaliser or {})
        self.profile, self.provenance = dict(profile or {}), dict(provenance or {})
        self.schema_version = schema_version
        super().__init__(**kwargs)


class Classifier(PreTrainedModel):
    """Normalised windows of one modality in, logits and an embedding out."""

    config_class = ClassifierConfig
    base_model_prefix = "classifier"
    main_input_name = "x_BCT"

    def __init__(self, config: ClassifierConfig) -> None:
        super().__init__(config)
        self.encoder = Encoder(EncoderConfig(**config.encoder))
        self.head = ClassifierHead(
            self.encoder.config,
            n_classes=len(config.classes),
            span_s=config.label_span_s,
            dropout=config.dropout,
            hidden_dim=config.head_dim,
        )
        self.montage = FixedMontage(self.modality)
        self.post_init()

    def _init_weights(self, module: torch.nn.Module) -> None:
        """Leave initialisation to the modules themselves."""

    @property
    def modality(self) -> Modality:
        """The channels that windows must have."""
        return Modality.from_dict(self.config.modality)

    @property
    def normaliser(self) -> Normaliser:
        """How windows in µV are scaled before `forward`."""
        return Normaliser.from_dict(self.config.normaliser)

    def forward(
        self, x_BCT: Tensor, ch_state_BC: Tensor, spectrogram_BRFS: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Return (logits_BK, embedding_BD) of normalised windows; raises ValueError as `model.encoder.check_input`."""
        return self.classify(self.tokens(x_BCT, ch_state_BC, spectrogram_BRFS), ch_state_BC)

    def tokens(self, x_BCT: Tensor, ch_state_BC: Tensor, spectrogram_BRFS: Tensor | None = None) -> Tensor:
        """Return the encoder's "tokens_BCND"; they can be kept where the encoder is frozen."""
        # Of a rate that tokens do not divide, a window ends with zeros, as the server's graphs have it.
        if n_more := -x_BCT.shape[-1] % self.encoder.config.token_times:
            x_BCT = functional.pad(x_BCT, (0, n_more))
        out = self.encoder(x_BCT, self.montage(ch_state_BC), spectrogram_BRFS=spectrogram_BRFS)
        return out["tokens_BCND"]

    def features(self, tokens_BCND: Tensor, ch_state_BC: Tensor) -> Tensor:
        """Return the head's pooled features of tokens, shape (B, F)."""
        return self.head.features({"tokens_BCND": tokens_BCND}, self._electrodes(ch_state_BC))

    def classify(self, tokens_BCND: Tensor, ch_state_BC: Tensor) -> tuple[Tensor, Tensor]:
        """Return (logits_BK, embedding_BD) of the encoder's tokens."""
        results = self.head({"tokens_BCND": tokens_BCND}, self._electrodes(ch_state_BC))
        return results["logits_BK"], results["embedding_BD"]

    def _electrodes(self, ch_state_BC: Tensor) -> dict[str, Tensor]:
        """Return what the head must know of channels: it pools electrodes, which have heard the other sensors."""
        is_primary_C = self.montage.sensor_type_C == self.montage.sensor_type_C[0]
        ch_state_BC = torch.where(is_primary_C, ch_state_BC, torch.full_like(ch_state_BC, ABSENT))
        return {"ch_state_BC": ch_state_BC, "position_C3": self.montage.position_C3}


def new_classifier(
    encoder: Encoder,
    task: Task,
    modality: Modality,
    normaliser: Normaliser,
    *,
    dropout: float,
    profile: Mapping[str, Any],
    provenance: Mapping[str, Any],
) -> Classifier:
    """Return a classifier of a task that starts from the encoder's weights, with a fresh head."""
    config = ClassifierConfig(
        encoder=encoder.config.fields(),
        task=task.name,
        classes=task.classes,
        window_s=task.window_s,
        label_span_s=task.label_span_s,
        dropout=dropout,
        modality=modality.to_dict(),
        normaliser=normaliser.to_dict(),
        profile=profile,
        provenance=provenance,
    )
    classifier = Classifier(config)
    classifier.encoder.load_state_dict(encoder.state_dict())
    return classifier
