"""The classifier of several sources as a network of `model.supervised.supervised`: leads, and fields of the person.

Whatever is missing is masked: a field that is NaN, and leads where none is there. Pages are no source here: one that
was drawn from the same leads adds nothing (docs/ecg_suite.md), and a scanned one becomes leads (`signals/paper/`).

Shapes: B batch, C channel, T sample, F field, D width, K class.
"""

from collections.abc import Sequence

from torch import Tensor, nn

from model.sources.multimodal import MultimodalShape, SourceFusion
from model.supervised.networks import NetworkShape
from signals.bundles.metadata import metadata_of


class MultimodalNet(SourceFusion):
    """Questions to the leads and to the fields that are there, and one linear layer."""

    def __init__(
        self,
        shape: NetworkShape,
        *,
        dropout: float = 0.2,
        fields: Sequence[str] = (),
        dim: int = 48,
        n_heads: int = 4,
        widths: tuple[int, ...] = (24, 32, 48),
    ) -> None:
        """fields: of `signals.bundles.metadata.FIELDS`; raises ValueError for others, and for those that identify."""
        metadata = metadata_of(fields)
        made = MultimodalShape(
            n_classes=shape.n_classes, n_chans=shape.n_chans, sfreq=shape.sfreq, metadata=metadata, dim=dim,
            n_heads=n_heads, signal_widths=tuple(widths), dropout=dropout,
        )  # fmt: skip
        sources = ["signals"]
        sources += ["numerical_metadata"] * bool(metadata.numbers)
        sources += ["categorical_metadata"] * bool(metadata.categories)
        super().__init__(made, sources=sources, span_s=shape.span_s)
        self.classes = nn.Linear(2 * dim, shape.n_classes)

    def forward(self, x_BCT: Tensor, metadata_BF: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Return (logits_BK, embedding_BD) of normalised leads, zeros where absent, and of a table of fields.

        metadata_BF: as `signals.bundles.metadata.Metadata.table`; None where nothing is known of anybody. Raises
        ValueError for a table of other fields, and for a window that ends before the label's span.
        """
        given: dict[str, Tensor | None] = {"signals": x_BCT}
        if metadata_BF is not None:
            n_numbers = len(self.shape.metadata.numbers)
            if metadata_BF.shape[1] != len(self.shape.metadata.names):
                raise ValueError(
                    f"metadata have shape {tuple(metadata_BF.shape)}, the fields are {self.shape.metadata.names}"
                )
            levels_BF = metadata_BF[:, n_numbers:].nan_to_num(nan=-1.0).long()
            table = {"numerical_metadata": metadata_BF[:, :n_numbers], "categorical_metadata": levels_BF}
            given |= {name: values for name, values in table.items() if name in self.readers}
        embedding_BD = self.embed(given, {"signals": (x_BCT != 0).flatten(1).any(1)})
        return self.classes(embedding_BD), embedding_BD
