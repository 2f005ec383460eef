"""A small six-class model with random weights, calibrated by hand, as a bundle; shards and a recording for it."""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch

from model.classifier import new_classifier
from model.encoder import Encoder
from model.encoder_config import sized
from model.export import export, load_models
from signals.modality import EEG_1020
from signals.shards.normalise import Normaliser
from signals.shards.writer import write_set
from signals.tasks import SIX_CLASS
from signals.windows.profiles import SIX_CLASS as PROFILE
from synthetic.recordings.one_window import write_segment
from tests.toy_shards import toy_window, write_toy_shards
from training.corpus.corpus import Corpus
from training.corpus.frozen import FrozenTokens

CALIBRATION = {
    "temperature": 1.5,
    "conformal": {"method": "class-conditional", "alpha": 0.1, "thresholds": [0.1, 0.1, 0.1, 0.1, 0.1, 0.0]},
    "abstain_below": 0.2,
    "split_digest": "d",
}


@dataclass(frozen=True)
class Served:
    """Folders and files."""

    root: Path
    shards: Path
    model: Path
    bundle: Path
    edf: Path


def save_model(folder: Path, *, seed: int, dim: int = 16) -> None:
    """Save a classifier whose random logits are spread, so that equal answers mean something."""
    torch.manual_seed(seed)
    classifier = new_classifier(
        Encoder(sized("tiny", dim=dim, depth=1, stem_dim=16, n_heads=2)), SIX_CLASS, EEG_1020,
        Normaliser(kind="window"), dropout=0.1, profile=PROFILE.to_dict(),
        provenance={"manifest_digest": "m", "train_subjects": ["a", "b"], "pretrain_subjects": []},
    )  # fmt: skip
    with torch.no_grad():
        classifier.head.classes.weight *= 20
    classifier.save_pretrained(folder)


@pytest.fixture(scope="session")
def served(tmp_path_factory):
    """A bundle and what it was made of."""
    root = tmp_path_factory.mktemp("served")
    shards = write_toy_shards(root / "shards", n_sites=1, n_subjects=2, n_windows=6, window_s=50.0)
    save_model(root / "model", seed=0)
    (root / "model" / "calibration.json").write_text(json.dumps(CALIBRATION))
    export(load_models([root / "model"]), [shards], root / "bundle", n_windows=24)
    write_segment(root / "segment.edf", EEG_1020, window_s=PROFILE.window_s)
    return Served(root, shards, root / "model", root / "bundle", root / "segment.edf")


@pytest.fixture(scope="session")
def learnt(tmp_path_factory):
    """A bundle that decides with confidence, shards it was trained on, and the same windows of other people.

    Three classes learnt by heart: INT8's gate is about decisions that stay, not about patients to come. It is large
    enough for weights to outweigh nodes and scales.
    """
    root = tmp_path_factory.mktemp("learnt")
    for name, site in (("shards", "known"), ("evaluate", "new")):
        write_set(root / name, {site: [_windows(site, subject) for subject in range(4)]}, profile=PROFILE)
    torch.manual_seed(0)
    classifier = new_classifier(
        Encoder(sized("tiny", dim=64, depth=1, stem_dim=64, n_heads=2)), SIX_CLASS, EEG_1020, Normaliser(kind="window"),
        dropout=0.0, profile=PROFILE.to_dict(),
        provenance={"train_subjects": [f"known-{k}" for k in range(4)], "pretrain_subjects": []},
    ).eval()  # fmt: skip
    corpus = Corpus.open(root / "shards")
    with torch.no_grad():
        tokens, ch_state = FrozenTokens(corpus, classifier).batch(classifier, range(24), [False] * 24)
        classifier.head.standardise(classifier.features(tokens, ch_state))
    wanted = torch.tensor([SIX_CLASS.classes.index(entry.label) for entry in corpus.entries])
    optimizer = torch.optim.Adam(classifier.head.parameters(), lr=3e-3)
    for _ in range(20):
        loss = torch.nn.functional.cross_entropy(classifier.classify(tokens, ch_state)[0], wanted)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    classifier.save_pretrained(root / "model")
    export(load_models([root / "model"]), [root / "shards"], root / "bundle", n_windows=24)
    return Served(root, root / "shards", root / "model", root / "bundle", root / "none.edf")


def _windows(site, subject):
    rng, labels = np.random.default_rng(subject), ("Seizure", "GPD", "Other") * 2
    return [
        toy_window(rng, site=site, subject=f"{site}-{subject}", number=k, label=label, window_s=50.0)
        for k, label in enumerate(labels)
    ]


@pytest.fixture(scope="session")
def second_model(served):
    """Another network of the same task."""
    save_model(served.root / "second", seed=1)
    return served.root / "second"
