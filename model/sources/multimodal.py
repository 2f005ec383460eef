"""A classifier of several sources: image, signal, numbers and categories, any of which may be absent.

Questions that are learnt (Jaegle et al. 2021) hear each source by cross-attention behind a gate of its own
(`model.layers.fusion.GatedCrossAttention`, as the encoder hears spectrograms), then each other. What comes out:
a logit for each diagnosis, an ordinal severity, and a logit that the diagnosis is right.

Shapes: B batch, C channel, T sample, H height, W width, F field, Q question, M token, D width, K class, S step of
severity.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from model.layers.fusion import GatedCrossAttention
from model.sources.heads import ConfidenceHead, SeverityHead
from model.sources.readers import CategoryReader, ImageReader, NumberReader, SignalReader, Tokens
from signals.bundles.metadata import Metadata

SOURCES = ("images", "signals", "numerical_metadata", "categorical_metadata")
"""Names of the sources, in the order of `forward`."""


@dataclass(frozen=True, kw_only=True)
class MultimodalShape:
    """What a model of several sources is made of."""

    n_classes: int = 6
    n_severities: int = 4
    """Levels of severity, none included."""
    n_chans: int = 12
    sfreq: float = 100.0
    metadata: Metadata = field(default_factory=Metadata)
    dim: int = 48
    n_heads: int = 4
    n_questions: int = 4
    signal_widths: tuple[int, ...] = (24, 32, 48)
    image_width: float = 0.25
    image_depth: float = 0.25
    dropout: float = 0.2

    def __post_init__(self) -> None:
        if self.n_classes < 1 or self.n_severities < 2:
            raise ValueError(f"n_classes={self.n_classes} must be at least 1, n_severities={self.n_severities} 2")
        if self.dim % self.n_heads:
            raise ValueError(f"dim={self.dim} is no multiple of n_heads={self.n_heads}")


@dataclass(frozen=True, kw_only=True)
class Diagnosis:
    """What a model answers for a batch."""

    logits_BK: Tensor
    """Of each diagnosis for itself."""
    severity_BS: Tensor
    """Logits that severity is above each level but the last, falling along the row."""
    confidence_B: Tensor
    """Logit that every diagnosis is right at one half; a probability once it is calibrated."""
    embedding_BD: Tensor


class SourceFusion(nn.Module):
    """Questions that hear every source that is there, and the embedding of what they heard."""

    def __init__(
        self, shape: MultimodalShape, *, sources: Sequence[str] = SOURCES, span_s: tuple[float, float] | None = None
    ) -> None:
        """sources: those that are read, of SOURCES. span_s: the stretch of the signal that the label is about."""
        super().__init__()
        self.shape = shape
        dim, metadata = shape.dim, shape.metadata
        readers: dict[str, Callable[[], nn.Module]] = {
            "images": lambda: ImageReader(dim, width=shape.image_width, depth=shape.image_depth),
            "signals": lambda: SignalReader(
                dim, n_chans=shape.n_chans, sfreq=shape.sfreq, widths=shape.signal_widths, span_s=span_s
            ),
            "numerical_metadata": lambda: NumberReader(dim, metadata),
            "categorical_metadata": lambda: CategoryReader(dim, metadata),
        }
        read = [name for name in SOURCES if name in sources]
        self.readers = nn.ModuleDict({name: readers[name]() for name in read})
        self.questions_QD = nn.Parameter(torch.randn(shape.n_questions, dim) * 0.5)
        self.hears = nn.ModuleDict({name: GatedCrossAttention(dim, shape.n_heads, opened=1.0) for name in read})
        self.norm = nn.LayerNorm(dim)
        self.mix = nn.Sequential(nn.Linear(shape.n_questions * dim, 2 * dim), nn.GELU(), nn.Dropout(shape.dropout))

    def embed(self, given: Mapping[str, Tensor | None], there: Mapping[str, Tensor]) -> Tensor:
        """Return the embedding, shape (B, 2 D), of sources by name, None where nobody has it.

        there: bool (B,) by source, False where it is not to be used; all are without. Raises ValueError where all are
        None, and for batches that differ.
        """
        held = {name: values for name, values in given.items() if values is not None}
        if not held:
            raise ValueError(f"give at least one of {', '.join(self.readers)}")
        if len({len(values) for values in held.values()}) > 1:
            sizes = {name: len(values) for name, values in held.items()}
            raise ValueError(f"sources differ in their batch: {sizes}")
        # A copy: a view of a parameter, made without gradients, is what torch's counter of FLOPs stumbles over.
        x_BQD = self.questions_QD.expand(next(iter(held.values())).shape[0], -1, -1).clone()
        total_BQD = x_BQD
        for name, values in held.items():
            if len(values):
                tokens_BMD, there_BM = self._tokens(name, values, there.get(name))
                total_BQD = total_BQD + self.hears[name](x_BQD, tokens_BMD, there_BM)
        embedding_BD: Tensor = self.mix(self.norm(total_BQD).flatten(1))
        return embedding_BD

    def _tokens(self, name: str, values: Tensor, used_B: Tensor | None) -> Tokens:
        tokens_BMD, there_BM = self.readers[name](values)
        return tokens_BMD, there_BM if used_B is None else there_BM & used_B[:, None]

    def gates(self) -> dict[str, float]:
        """Return how far each source's gate is open: the mean size of what it lets through, 0 to 1."""
        return {name: float(hears.gate.detach().tanh().abs().mean()) for name, hears in self.hears.items()}


class MultimodalClassifier(SourceFusion):
    """Diagnoses, severity and confidence from every source that is there."""

    def __init__(self, shape: MultimodalShape) -> None:
        super().__init__(shape)
        self.classes = nn.Linear(2 * shape.dim, shape.n_classes)
        self.severity = SeverityHead(2 * shape.dim, shape.n_severities)
        self.confidence = ConfidenceHead(2 * shape.dim, shape.n_classes)

    def forward(
        self,
        images: Tensor | None = None,
        signals: Tensor | None = None,
        numerical_metadata: Tensor | None = None,
        categorical_metadata: Tensor | None = None,
        *,
        there: Tensor | None = None,
    ) -> Diagnosis:
        """Return the answers for people of whom any source may be missing.

        images: (B, 3, H, W), 0 to 1. signals: (B, C, T), normalised. numerical_metadata: (B, F), in their units.
        categorical_metadata: int64 (B, F). None: nobody has the source. NaN (-1 for categories) marks what is missing
        of single people. there: bool (B, 4), False where a source is not to be used, in the order of SOURCES. A person
        without any source gets the answer that needs none: close to the prevalence. Raises ValueError where all four
        are None, and for batches or shapes that differ.
        """
        given = dict(zip(SOURCES, (images, signals, numerical_metadata, categorical_metadata), strict=True))
        n = next((len(values) for values in given.values() if values is not None), 0)
        if there is not None and there.shape != (n, len(SOURCES)):
            raise ValueError(f"there has shape {tuple(there.shape)}, not ({n}, {len(SOURCES)})")
        used = {} if there is None else {name: there[:, place] for place, name in enumerate(SOURCES)}
        embedding_BD = self.embed(given, used)
        logits_BK = self.classes(embedding_BD)
        return Diagnosis(
            logits_BK=logits_BK, severity_BS=self.severity(embedding_BD),
            confidence_B=self.confidence(embedding_BD, logits_BK), embedding_BD=embedding_BD,
        )  # fmt: skip


def create_multimodal_ecg_model(num_classes: int = 6, **options: Any) -> MultimodalClassifier:
    """Return a classifier of electrocardiograms from a page's image, twelve leads, numbers and categories.

    options: fields of `MultimodalShape`. Raises ValueError for contradictions, TypeError for an unknown option.
    """
    return MultimodalClassifier(MultimodalShape(n_classes=num_classes, **options))
