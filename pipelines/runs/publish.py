"""From a working folder to what people find: a shard set without paths, its private part beside it, or a failure."""

from pipelines.runs import storage
from pipelines.runs.progress import forget
from signals.shards.manifest import MANIFEST

PRIVATE = "quarantine.jsonl"
"""Paths, persons and details of quarantined files, in the folder beside the shard set."""
PRIVATE_LABELS, PRIVATE_WINDOWS = "labels.jsonl", "windows.jsonl"
"""The same of refused labels, and of windows that could not be made."""
REPLACED = ".replaced"
"""How the name of an output ends while another takes its place; a crash in between leaves the older one there."""


def private_folder(output: str) -> str:
    """Return the folder beside a shard set that holds what must not leave the house."""
    return output.rstrip("/") + ".private"


def failed_folder(output: str) -> str:
    """Return the folder beside an output that keeps the report of a run which must not count."""
    return output.rstrip("/") + ".failed"


def clear(working: str) -> None:
    """Remove a working folder and what lies beside it."""
    for folder in (working, private_folder(working)):
        storage.delete_folder(folder)


def publish(working: str, output: str) -> None:
    """Let a finished working folder take the place of the output, and its private part that beside it."""
    clear(failed_folder(output))
    if working != output:
        _move(working, output)


def publish_failure(working: str, output: str) -> str:
    """Keep the report and the accounting of a run that must not count, without its shards; return their folder."""
    failed = failed_folder(output)
    for path in storage.list_files(working):
        if path.removeprefix(working.rstrip("/") + "/").startswith("site="):
            storage.delete(path)
    storage.delete(storage.join(working, MANIFEST))
    forget(working)
    _move(working, failed)
    return failed


def _move(working: str, output: str) -> None:
    """Put a folder and what lies beside it in the place of another; what was there is removed last."""
    replaced = output.rstrip("/") + REPLACED
    clear(replaced)
    for old, new in ((output, replaced), (working, output)):
        storage.move_folder(private_folder(old), private_folder(new))
        storage.move_folder(old, new)
    clear(replaced)
