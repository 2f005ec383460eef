"""Who an encoder was trained on: what a test set is compared with before it counts as unseen."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from training.corpus.corpus import Corpus

SUBJECTS_FILE = "pretrain_subjects.json"


def trained_on(corpora: Sequence[Corpus], subjects: Sequence[str], *, former: Path | None) -> dict[str, Any]:
    """Return who was trained on, with recordings, sites and the salt of the ids: what a test set is compared with.

    What a `former` run whose weights were taken over had trained on counts too; "is_known" is False where its folder
    does not list that. Recording ids are digests of files, so they are the same under every salt.
    """
    wanted = set(subjects)
    known = [entry for corpus in corpora for name, entry in corpus.manifest.subjects.items() if name in wanted]
    facts: dict[str, Any] = {
        "train": sorted(wanted),
        "recordings": sorted({recording for entry in known for recording in entry.recording_ids}),
        "sites": sorted({entry.site_id for entry in known}),
        "salt_id": "+".join(sorted({corpus.manifest.salt_id for corpus in corpora})),
    }
    return facts if former is None else _with_former(facts, former / SUBJECTS_FILE)


def trunk_of(run: Path) -> str:
    """Return what a pretraining trained under its heads (`model.pretraining.trunks.TRUNKS`); the encoder by default."""
    path = run / SUBJECTS_FILE
    facts = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    return str(facts.get("config", {}).get("model", {}).get("trunk", "encoder"))


def _with_former(facts: dict[str, Any], path: Path) -> dict[str, Any]:
    before: dict[str, Any] = {"is_known": False}
    if path.is_file():
        before = json.loads(path.read_text(encoding="utf-8"))
    lists = {name: sorted({*facts[name], *before.get(name, ())}) for name in ("train", "recordings", "sites")}
    salts = sorted({facts["salt_id"], str(before.get("salt_id", facts["salt_id"]))})
    is_known = before.get("is_known", True) and {"train", "recordings", "sites"} <= set(before)
    return {**facts, **lists, "salt_id": "+".join(salts), **({} if is_known else {"is_known": False})}
