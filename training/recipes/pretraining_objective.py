"""What a pretraining hides, and what is to be predicted of it."""

from dataclasses import dataclass

from model.pretraining.masking import SPAN_MS, MaskPlan, MaskUnit
from model.pretraining.token_masks import BlockPlan
from training.objectives.gap_filling import Filling
from training.recipes.sections import not_negative, positive, shares, within

HEAD_FIELDS = (
    "reconstruction",
    "contrastive",
    "spectral",
    "sleep",
    "latents",
    "decibels",
    "gaps",
    "recording_contrast",
    "knowledge",
)
"""Weights of heads, each by the name of its own (`model.heads.HEADS`)."""
TOKEN_FIELDS = ("latents", "decibels", "gaps", "knowledge")
"""Of those that need a token for what is hidden."""
TAUGHT_FIELDS = ("latents", "recording_contrast")
"""Of those that learn from a teacher of averaged weights."""
DESCRIBED_TOKENS = 14
"""Length of a stretch that is described: that of the middle which the pattern reader looks at, seconds."""


@dataclass(frozen=True, kw_only=True)
class PretrainObjective:
    """What is hidden, and what is to be predicted of it."""

    filling: Filling = "line"
    """What estimates start from: the line across the gap, the channel's autoregression ("ar"), or all that the window
    itself tells ("window")."""
    line_steps: int = 0
    """First steps, whose gaps start from the line whatever the filling: a good one leaves little to be learnt from."""
    hidden_share: float = 0.3
    """Expected share of hidden samples of a channel in span masks."""
    span_ms: tuple[float, float] = SPAN_MS
    """Shortest and longest hidden span, milliseconds."""
    schedule_weights: tuple[float, float, float] = (0.75, 0.05, 0.2)
    """Odds of random, whole-time and whole-channel masks."""
    mask_unit: MaskUnit = "samples"
    """What spans are drawn on; "patches" lengthens each to whole patches of 0.25 s."""
    reconstruction: float = 1.0
    """Weight of the masked reconstruction loss; 0 leaves the head out, and its measures at the end."""
    contrastive: float = 0.05
    """Weight of the contrastive channel loss; 0 leaves the head out."""
    spectral: float = 0.0
    """Weight of telling the log spectra of hidden tokens; 0 leaves the head out."""
    sleep: float = 0.0
    """Weight of telling sleep stages where windows carry one; 0 leaves the head out."""
    tokens: bool = False
    """Hide whole tokens, in blocks of seconds and neighbouring channels, behind a learnt token instead of a filling."""
    hidden_tokens: float = 0.6
    """With tokens: most of a window's tokens that are hidden; a block less are hidden on the whole."""
    gap_windows: float = 0.15
    """With tokens: share of windows that lose spans of samples instead."""
    latents: float = 0.0
    """Weight of predicting the latents of a teacher, the encoder of averaged weights; 0 leaves the head out."""
    decibels: float = 0.0
    """Weight of predicting standardised log spectra of hidden tokens; 0 leaves the head out."""
    gaps: float = 0.0
    """Weight of predicting the samples of spans from the trunk's tokens alone; 0 leaves the head out."""

    recording_contrast: float = 0.0
    """Weight of finding another stretch of a window's recording among those of others; 0 leaves the head out."""
    recording_temperature: float = 0.1
    """What cosines between windows and stretches are divided by."""
    knowledge: float = 0.0
    """Weight of describing a hidden stretch of 14 s by its pattern features, in windows of 35 s or more; 0: none."""

    def __post_init__(self) -> None:
        not_negative(self, "line_steps", *HEAD_FIELDS)
        positive(self, "recording_temperature")
        within(self, "hidden_tokens")
        shares(self, "gap_windows")
        if not self.tokens and (needy := [name for name in TOKEN_FIELDS if getattr(self, name)]):
            raise ValueError(f"{' and '.join(needy)} are of hidden tokens: give --objective.tokens too")

    def masks(self, patch_times: int) -> MaskPlan:
        """Return how windows are masked, for an encoder of patches of so many samples."""
        return MaskPlan(
            span_ms=self.span_ms,
            hidden_share=self.hidden_share,
            schedule_weights=self.schedule_weights,
            mask_unit=self.mask_unit,
            patch_times=patch_times,
        )

    def blocks(self, token_times: int) -> BlockPlan | None:
        """Return how whole tokens of so many samples are hidden; None where spans of samples are."""
        if not self.tokens:
            return None
        return BlockPlan(
            token_times=token_times,
            hidden_share=self.hidden_tokens,
            gaps_share=self.gap_windows,
            described_tokens=DESCRIBED_TOKENS if self.knowledge else 0,
        )

    @property
    def weights(self) -> dict[str, float]:
        """Weights of the heads that take part."""
        return {name: getattr(self, name) for name in HEAD_FIELDS if getattr(self, name) > 0}

    @property
    def taught(self) -> list[str]:
        """Names of the heads that take part and learn from a teacher."""
        return [name for name in TAUGHT_FIELDS if name in self.weights]

    @property
    def head_options(self) -> dict[str, dict[str, float]]:
        """Further arguments of heads, by their names."""
        return {
            "recording_contrast": {"temperature": self.recording_temperature},
            "knowledge": {"tokens": DESCRIBED_TOKENS},
        }
