"""What a model had seen before it was tested: test people, recordings or sites in pretraining, or in training.

Subjects are compared by their salted ids where the salts are the same, recordings by the digests of their files, which
do not depend on a salt, windows by their content.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import pandas as pd

from evaluation.audit.duplicates import copies_of
from evaluation.audit.findings import Finding, some
from evaluation.schemas.origin import RANDOM, Origin

NONE, INDUCTIVE, TRANSDUCTIVE, UNKNOWN = "none", "inductive", "transductive", "unknown"


@dataclass(frozen=True, kw_only=True)
class Exposure:
    """What pretraining had seen, without labels, of the data that a model is tested on."""

    status: str
    """"none": no pretraining. "inductive": nothing of the test data. "transductive": something. "unknown" otherwise."""
    n_subjects: int
    """Test subjects in the pretraining data."""
    n_test_subjects: int
    n_recordings: int
    """Test recordings in the pretraining data."""
    sites: tuple[str, ...]
    """Test sites in the pretraining data."""
    reason: str = ""
    """Why the status is unknown."""


def exposure(frame: pd.DataFrame, origin: Origin) -> Exposure:
    """Return what pretraining had seen of the rows of one model; of encoders per fold, each of its own fold's rows."""
    own = [fold for fold in origin.folds if fold.has_own_encoder]
    if not own:
        return _exposure(frame, origin)
    parts = [_exposure(rows, origin.of_fold(fold)) for fold in own if len(rows := frame[frame["fold"] == fold.name])]
    rest = frame[~frame["fold"].isin([fold.name for fold in own])]
    parts += [_exposure(rest, origin)] if len(rest) else []
    worst = min(parts, key=lambda part: (TRANSDUCTIVE, UNKNOWN, INDUCTIVE, NONE).index(part.status))
    return Exposure(
        status=worst.status,
        n_subjects=sum(part.n_subjects for part in parts),
        n_test_subjects=frame["subject_id"].nunique(),
        n_recordings=sum(part.n_recordings for part in parts),
        sites=tuple(sorted({site for part in parts for site in part.sites})),
        reason=worst.reason,
    )


def _exposure(frame: pd.DataFrame, origin: Origin) -> Exposure:
    seen_subjects = origin.pretrain_subjects or frozenset()
    subjects = set(frame["subject_id"]) & seen_subjects if origin.same_salt is not False else set()
    recordings = set(frame["recording_id"]) & (origin.pretrain_recordings or frozenset())
    test_sites = set(frame["site_id"])
    met = frame["subject_id"].isin(subjects) | frame["recording_id"].isin(recordings)
    sites = (test_sites & (origin.pretrain_sites or frozenset())) | set(frame.loc[met, "site_id"])
    status, reason = _status(origin, any_seen=bool(subjects or recordings or sites))
    return Exposure(
        status=status,
        n_subjects=len(set(frame.loc[met, "subject_id"])),
        n_test_subjects=frame["subject_id"].nunique(),
        n_recordings=len(recordings),
        sites=tuple(sorted(sites)),
        reason=reason,
    )


def _status(origin: Origin, *, any_seen: bool) -> tuple[str, str]:
    if any_seen:
        return TRANSDUCTIVE, ""
    if origin.encoder == RANDOM or origin.pretrain_subjects == frozenset():
        return NONE, ""
    if origin.pretrain_subjects is None and origin.pretrain_recordings is None:
        return UNKNOWN, "the file does not list the data of pretraining"
    if origin.pretrain_recordings is None and origin.same_salt is False:
        return UNKNOWN, "subject ids were made with another salt, and no recordings of pretraining are listed"
    return INDUCTIVE, ""


def exposure_findings(frame: pd.DataFrame, origin: Origin) -> list[Finding]:
    """Return what pretraining had seen of the test data, and what cannot be compared."""
    known = exposure(frame, origin)
    findings = []
    if known.status == UNKNOWN:
        severity = "warning" if origin.same_salt is False else "info"
        code = "pretraining_of_another_salt" if origin.same_salt is False else "pretraining_unknown"
        message = f"Whether pretraining had seen test subjects is not known: {known.reason}."
        findings.append(Finding(severity, code, message))
    if known.n_subjects:
        by = f", {known.n_recordings} recordings by their digests" if known.n_recordings else ""
        message = (
            f"{known.n_subjects} of {known.n_test_subjects} test subjects were in the pretraining data{by} (signal "
            "only, no labels): the encoder has seen them, and results for new patients may be lower."
        )
        code = "pretrained_recordings" if origin.same_salt is False else "pretraining_overlap"
        findings.append(Finding("warning", code, message))
    elif known.sites:
        message = (
            f"The encoder was pretrained on data of the test sites {some(known.sites)} (signal only, no labels): "
            "results at a site that pretraining has not seen may be lower."
        )
        findings.append(Finding("warning", "transductive_site", message))
    return findings


@dataclass(frozen=True, kw_only=True)
class Overlap:
    """What a second data set shares with everything that training, choice or pretraining used."""

    n_windows: int
    """Windows of the second data set."""
    n_same_windows: int
    """Windows with the key, the samples or the fingerprint of a window of the first file."""
    n_subjects: int
    n_recordings: int
    n_shared_windows: int
    """Windows of the second data set that any of these touches."""
    complete: bool
    """Whether the files list all that has to be compared; otherwise no overlap proves little."""


def overlap(second: pd.DataFrame, second_origin: Origin, first: pd.DataFrame, first_origin: Origin) -> Overlap:
    """Return what the rows of a second data set share with the first one, its training and its pretraining."""
    subjects = _union(
        set(first["subject_id"]), *(o.trained_subjects for o in (first_origin, second_origin)),
        *(o.pretrain_subjects or () for o in (first_origin, second_origin)),
    )  # fmt: skip
    recordings = _union(
        set(first["recording_id"]), *(o.trained_recordings for o in (first_origin, second_origin)),
        *(o.pretrain_recordings or () for o in (first_origin, second_origin)),
    )  # fmt: skip
    same = second["window_key"].isin(set(first["window_key"]))
    if "content_hash" in second.columns and "content_hash" in first.columns:
        same |= second["content_hash"].isin(set(first["content_hash"]) - {""})
    same |= copies_of(second, first)
    by_subject, by_recording = second["subject_id"].isin(subjects), second["recording_id"].isin(recordings)
    return Overlap(
        n_windows=len(second),
        n_same_windows=int(same.sum()),
        n_subjects=second.loc[by_subject, "subject_id"].nunique(),
        n_recordings=second.loc[by_recording, "recording_id"].nunique(),
        n_shared_windows=int((same | by_subject | by_recording).sum()),
        complete=second_origin.lists_training and second_origin.pretrain_subjects is not None,
    )


def _union(*groups: Iterable[str]) -> set[str]:
    return {name for group in groups for name in group}
