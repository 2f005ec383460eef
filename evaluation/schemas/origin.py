"""Where predictions come from: labels, split, pretraining. The default of each entry claims nothing.

Writers put these entries into `Predictions.meta`; every sentence of a report about training or labels is derived from
them, so an entry that is missing weakens the sentence instead of passing for good news.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from signals.windows.labels import LABEL_SOURCES, UNKNOWN_SOURCE

PRETRAINED, RANDOM = "pretrained", "random"
"""Values of meta["encoder"]."""


@dataclass(frozen=True, kw_only=True)
class FoldSides:
    """Who stood on which side of one fold."""

    name: str
    train_subjects: frozenset[str] = frozenset()
    test_subjects: frozenset[str] = frozenset()
    train_recordings: frozenset[str] = frozenset()
    test_recordings: frozenset[str] = frozenset()
    pretrain_subjects: frozenset[str] | None = None
    """Of the fold's own encoder, which was pretrained without the fold; None where all folds share one."""
    pretrain_recordings: frozenset[str] | None = None
    pretrain_sites: frozenset[str] | None = None
    pretrain_salt_id: str = ""

    @property
    def has_own_encoder(self) -> bool:
        """Whether the file states what this fold's encoder was pretrained on."""
        return self.pretrain_subjects is not None or self.pretrain_recordings is not None


@dataclass(frozen=True, kw_only=True)
class Origin:
    """Entries of `Predictions.meta` that a report relies on."""

    grouping: str = "unknown"
    """"site" or "subject": what was left out in each fold; "apart": a model of other data; else unknown."""
    label_source: str = UNKNOWN_SOURCE
    """One of `signals.windows.labels.LABEL_SOURCES`."""
    encoder: str = "unknown"
    """PRETRAINED, RANDOM, or unknown."""
    salt_id: str = ""
    """Salt of the subject ids (`signals.shards.manifest`); empty where it was not recorded."""
    split_digest: str = ""
    manifest_digest: str = ""
    folds: tuple[FoldSides, ...] = field(default=(), repr=False)
    pretrain_subjects: frozenset[str] | None = field(default=None, repr=False)
    """Subjects of pretraining; None where it was not recorded, empty for no pretraining."""
    pretrain_recordings: frozenset[str] | None = field(default=None, repr=False)
    """Recording ids of pretraining: digests of files, so they do not depend on a salt."""
    pretrain_sites: frozenset[str] | None = None
    pretrain_salt_id: str = ""
    train_salt_id: str = ""
    """Salt of the ids of training subjects where the model comes from other shards; empty for that of the rows."""

    def of_fold(self, fold: FoldSides) -> "Origin":
        """Return the origin of one fold's rows, whose encoder is its own."""
        return replace(
            self,
            pretrain_subjects=fold.pretrain_subjects,
            pretrain_recordings=fold.pretrain_recordings,
            pretrain_sites=fold.pretrain_sites,
            pretrain_salt_id=fold.pretrain_salt_id,
        )

    @property
    def trained_subjects(self) -> frozenset[str]:
        """Subjects on the training side of any fold."""
        return frozenset().union(*(fold.train_subjects for fold in self.folds))

    @property
    def trained_recordings(self) -> frozenset[str]:
        """Recordings on the training side of any fold."""
        return frozenset().union(*(fold.train_recordings for fold in self.folds))

    @property
    def lists_training(self) -> bool:
        """Whether training can be compared with the rows: subjects of one salt, or recordings, which need none."""
        comparable = self.train_salt_id in ("", self.salt_id) or bool(self.trained_recordings)
        return bool(self.folds) and comparable

    @property
    def same_salt(self) -> bool | None:
        """Whether subject ids can be compared with those of pretraining; None where a salt was not recorded."""
        if not self.salt_id or not self.pretrain_salt_id:
            return None
        return self.salt_id == self.pretrain_salt_id


def origin_of(meta: Mapping[str, Any]) -> Origin:
    """Return the origin that a file's metadata states; raises ValueError for an unknown label source."""
    source = str(meta.get("label_source") or UNKNOWN_SOURCE)
    if source not in LABEL_SOURCES:
        raise ValueError(f"label_source {source!r} is not one of {', '.join(LABEL_SOURCES)}")
    return Origin(
        grouping=str(meta.get("grouping") or "unknown"),
        label_source=source,
        encoder=str(meta.get("encoder") or "unknown"),
        salt_id=str(meta.get("salt_id") or ""),
        split_digest=str(meta.get("split_digest") or ""),
        manifest_digest=str(meta.get("manifest_digest") or ""),
        folds=tuple(_fold(fold) for fold in meta.get("folds") or ()),
        pretrain_subjects=_names(meta.get("pretrain_subjects")),
        pretrain_recordings=_names(meta.get("pretrain_recordings")),
        pretrain_sites=_names(meta.get("pretrain_sites")),
        pretrain_salt_id=str(meta.get("pretrain_salt_id") or ""),
        train_salt_id=str(meta.get("train_salt_id") or ""),
    )


def _fold(fold: Mapping[str, Any]) -> FoldSides:
    sides = ("train_subjects", "test_subjects", "train_recordings", "test_recordings")
    return FoldSides(
        name=str(fold["name"]),
        **{side: frozenset(fold.get(side) or ()) for side in sides},
        pretrain_subjects=_names(fold.get("pretrain_subjects")),
        pretrain_recordings=_names(fold.get("pretrain_recordings")),
        pretrain_sites=_names(fold.get("pretrain_sites")),
        pretrain_salt_id=str(fold.get("pretrain_salt_id") or ""),
    )


def _names(values: Iterable[str] | None) -> frozenset[str] | None:
    return None if values is None else frozenset(values)
