"""Whether files belong together: classes, subjects, recordings and digests."""

from pathlib import Path

from evaluation.audit.findings import some
from evaluation.schemas.predictions import Predictions
from signals.shards.manifest import read_manifest
from signals.tasks import TASKS


def check_same_task(second: Predictions, predictions: Predictions, path: Path) -> None:
    """Raise ValueError if a second file has a different task, or different classes, from the predictions."""
    if (second.task, second.classes) != (predictions.task, predictions.classes):
        raise ValueError(f"{path} is of task {second.task!r}, the predictions are of {predictions.task!r}")


def check_classes(predictions: Predictions) -> None:
    """Raise ValueError if the predictions name a known task but have different classes."""
    known_task = TASKS.get(predictions.task)
    if known_task is not None and known_task.classes != predictions.classes:
        raise ValueError(
            f"predictions have the classes {list(predictions.classes)}, task {predictions.task!r} has "
            f"{list(known_task.classes)}"
        )


def check_manifest(predictions: Predictions, shards: Path) -> None:
    """Raise ValueError, in one line, unless the predictions are of this shard set.

    `shards` is its folder, or manifest.json in it. Compared are the manifest's digest, and every subject with site
    and recordings.
    """
    manifest = read_manifest(shards if shards.is_dir() else shards.parent)
    digest = predictions.meta.get("manifest_digest")
    if digest is not None and digest != manifest.digest:
        raise ValueError(
            f"predictions were made from the shard set {digest[:12]}, {shards} is {manifest.digest[:12]}: give the one "
            "they were made from, or predict again"
        )
    seen = predictions.frame[["subject_id", "site_id", "recording_id"]].drop_duplicates()
    if strangers := set(seen["subject_id"]) - set(manifest.subjects):
        raise ValueError(f"{len(strangers)} subject(s) of the predictions are not in {shards}: {some(strangers)}")
    for row in seen.itertuples():
        entry = manifest.subjects[row.subject_id]
        if row.site_id != entry.site_id or row.recording_id not in entry.recording_ids:
            raise ValueError(
                f"recording {row.recording_id} of subject {row.subject_id} at site {row.site_id} is not in {shards}"
            )
