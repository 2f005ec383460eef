"""Who an encoder was trained on: what a test set is compared with before it counts as unseen."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from model.saved import is_task_model
from training.corpus.corpus import Corpus

SUBJECTS_FILE = "pretrain_subjects.json"
_LISTS = {"train": "subjects", "recordings": "recordings"}


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
    return facts if former is None else _with_former(facts, facts_of(former) or {"is_known": False})


def facts_of(folder: Path) -> dict[str, Any] | None:
    """Return whom a saved encoder, a pretraining or a task model has seen; None where its folder does not list that."""
    if is_task_model(folder):
        return seen_by(json.loads((folder / "config.json").read_text(encoding="utf-8"))["provenance"])
    path = folder / SUBJECTS_FILE
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None


def seen_by(provenance: Mapping[str, Any]) -> dict[str, Any]:
    """Return whom a task model of this provenance has seen, fitted or pretrained, in the form of `SUBJECTS_FILE`.

    Sites are not listed, nor what it lacks: they count as not known.
    """
    facts: dict[str, Any] = {"manifest_digest": provenance.get("manifest_digest")}
    for name, kind in _LISTS.items():
        fitted, before = provenance.get(f"train_{kind}"), provenance.get(f"pretrain_{kind}")
        if fitted is not None and before is not None:
            facts[name] = sorted({*fitted, *before})
    salts = {str(provenance[name]) for name in ("salt_id", "pretrain_salt_id") if provenance.get(name)}
    return {**facts, "train": facts.get("train", []), "is_known": "train" in facts, "salt_id": "+".join(sorted(salts))}


def pretraining_of(provenances: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return what several models together were pretrained on, entries of `evaluation.schemas.origin`.

    A list is None where one of them does not state it.
    """
    salts = {str(one.get("pretrain_salt_id") or "") for one in provenances if one.get("pretrain_subjects") != []}
    names = ("pretrain_subjects", "pretrain_recordings", "pretrain_sites")
    return {name: _union(provenances, name) for name in names} | {"pretrain_salt_id": "+".join(sorted(salts))}


def _union(provenances: Sequence[Mapping[str, Any]], name: str) -> list[str] | None:
    if any(one.get(name) is None for one in provenances):
        return None
    return sorted({value for one in provenances for value in one[name]})


def pretraining_config(run: Path) -> dict[str, Any]:
    """Return the resolved configuration of a pretraining, by section; empty where it is not known."""
    path = run / SUBJECTS_FILE
    facts = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    return dict(facts.get("config", {}))


def trunk_of(run: Path) -> str:
    """Return what a pretraining trained under its heads (`model.pretraining.trunks.TRUNKS`); the encoder by default."""
    return str(pretraining_config(run).get("model", {}).get("trunk", "encoder"))


def _with_former(facts: dict[str, Any], before: Mapping[str, Any]) -> dict[str, Any]:
    lists = {name: sorted({*facts[name], *before.get(name, ())}) for name in ("train", "recordings", "sites")}
    salts = sorted({facts["salt_id"], str(before.get("salt_id", facts["salt_id"]))})
    is_known = before.get("is_known", True) and {"train", "recordings", "sites"} <= set(before)
    return {**facts, **lists, "salt_id": "+".join(salts), **({} if is_known else {"is_known": False})}
