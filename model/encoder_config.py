"""What decides an encoder's weights and their meaning, and its named sizes."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from inspect import signature
from typing import Any

from transformers import PretrainedConfig

from model.layers.fusion import SOURCES

FIRST_WIDTH = 16
"""Filters of the stem's first convolution."""
SCHEMA_VERSION = 2
"""2: channels meet before and inside of the stem; one `Montage` goes in."""


@dataclass(frozen=True, kw_only=True)
class Size:
    """Widths and depth of a named encoder size."""

    dim: int
    depth: int
    n_heads: int
    stem_dim: int


SIZES = {
    "tiny": Size(dim=128, depth=4, n_heads=4, stem_dim=96),
    "small": Size(dim=256, depth=5, n_heads=8, stem_dim=128),
    "base": Size(dim=512, depth=6, n_heads=8, stem_dim=192),
    "large": Size(dim=896, depth=8, n_heads=14, stem_dim=256),
}
"""About 1, 5, 25 and 100 million parameters."""


class EncoderConfig(PretrainedConfig):
    """Everything that decides the encoder's weights and their meaning."""

    model_type = "cerebeam-encoder"

    def __init__(
        self,
        dim: int = 128,
        depth: int = 4,
        n_heads: int = 4,
        stem_dim: int = 96,
        mlp_ratio: int = 4,
        patch_times: int = 64,
        merge: int = 4,
        sfreq: float = 256.0,
        max_freq: float = 50.0,
        n_mixed: int = 4,
        relation_dim: int = 24,
        relation_depth: int = 2,
        temporal_heads: int | None = None,
        mlp_dim: int | None = None,
        key_dim: int | None = None,
        drop_path: float = 0.0,
        causal: bool = False,
        graph: bool = True,
        positions: bool = True,
        covariance: bool = True,
        fusion: Sequence[str] = (),
        adapter: Mapping[str, Any] | None = None,
        gradient_checkpointing: bool = False,
        schema_version: int = SCHEMA_VERSION,
        **kwargs: Any,
    ) -> None:
        """Take the shape; `graph`, `positions`, `covariance` exist to be switched off to measure what they are worth.

        Without `graph` channels exchange nothing; without `positions` neither a channel's embedding nor the relations
        hold places; without `covariance`, and where causal, relations hold places alone. n_mixed: mixtures of other
        channels that each channel's stem sees beside its own samples, one of each of its first filters. drop_path:
        chance of leaving out a branch of the last block in training, less in earlier ones. fusion: which of
        `model.layers.fusion.SOURCES` it can listen to. adapter: "kind" and "rank" of the adapters in its blocks, which
        `model.layers.adapters` puts there. Raises ValueError for contradictions and for another schema version than
        this code reads.
        """
        self.dim, self.depth, self.n_heads, self.stem_dim = dim, depth, n_heads, stem_dim
        self.mlp_ratio, self.patch_times, self.merge = mlp_ratio, patch_times, merge
        self.sfreq, self.max_freq = sfreq, max_freq
        self.n_mixed, self.relation_dim, self.relation_depth = n_mixed, relation_dim, relation_depth
        self.temporal_heads, self.mlp_dim, self.key_dim = temporal_heads, mlp_dim, key_dim
        self.causal, self.drop_path, self.gradient_checkpointing = causal, drop_path, gradient_checkpointing
        self.graph, self.positions, self.covariance = graph, positions, covariance
        self.fusion, self.adapter = list(fusion), None if adapter is None else dict(adapter)
        self.schema_version = schema_version
        self._check()
        super().__init__(**kwargs)

    def _check(self) -> None:
        """Raise ValueError for a shape that contradicts itself."""
        if self.dim % self.n_heads or (self.dim // self.n_heads) % 2:
            raise ValueError(f"dim={self.dim} must be n_heads={self.n_heads} times an even number")
        if self.patch_times % 16:
            raise ValueError(
                f"patch_times={self.patch_times} must be a multiple of 16: the stem shortens it in three steps"
            )
        if not 1 <= self.n_mixed <= FIRST_WIDTH:
            raise ValueError(
                f"n_mixed={self.n_mixed} must be at least 1 and at most {FIRST_WIDTH}, the stem's first filters"
            )
        if self.temporal_heads is not None and not 1 <= self.temporal_heads <= self.n_heads:
            raise ValueError(
                f"temporal_heads={self.temporal_heads} must be at least 1 and at most n_heads={self.n_heads}"
            )
        if not 0 <= self.drop_path < 1:
            raise ValueError(f"drop_path={self.drop_path} must be at least 0 and below 1")
        if self.schema_version != SCHEMA_VERSION:
            raise ValueError(
                f"the encoder has schema_version={self.schema_version}, this code reads {SCHEMA_VERSION}: "
                "train it again"
            )
        if unknown := set(self.fusion) - set(SOURCES):
            raise ValueError(f"fusion names {sorted(unknown)}; sources are {list(SOURCES)}")
        if self.causal and "spectrogram" in self.fusion:
            raise ValueError("a causal encoder cannot listen to a spectrogram, which goes on after the window")

    @property
    def token_times(self) -> int:
        """Samples of one trunk token."""
        return self.patch_times * self.merge

    @property
    def head_dim(self) -> int:
        """Width of an attention head."""
        return self.dim // self.n_heads

    @property
    def widths(self) -> dict[str, int]:
        """Widths inside of every block: what `temporal_heads`, `mlp_dim`, `key_dim` are where they are not given.

        The number of heads of the attention over time, channels of the feed-forward, and channels of a head's keys in
        the attention over channels: a pruned encoder has fewer of each than its `dim` asks for.
        """
        own = {"temporal_heads": self.n_heads, "mlp_dim": self.mlp_ratio * self.dim, "key_dim": self.head_dim}
        return {name: width if getattr(self, name) is None else getattr(self, name) for name, width in own.items()}

    def fields(self) -> dict[str, Any]:
        """Return the arguments that make this configuration again."""
        return {name: getattr(self, name) for name in _FIELDS}


_FIELDS = tuple(name for name in signature(EncoderConfig.__init__).parameters if name not in ("self", "kwargs"))


def sized(size: str, **overrides: Any) -> EncoderConfig:
    """Return the configuration of a named size; raises ValueError for a name that is not in `SIZES`."""
    if size not in SIZES:
        raise ValueError(f"size={size!r} is none of {sorted(SIZES)}")
    return EncoderConfig(**(asdict(SIZES[size]) | overrides))
