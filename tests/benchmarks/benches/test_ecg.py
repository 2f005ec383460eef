"""The tables over hearts in their smallest form, and the measure of processor time."""

import time
from pathlib import Path

import numpy as np
import pytest

from benchmarks.benches.models.heart_classes import LIGHT, REGIONS, groups_of, methods, show, table
from benchmarks.benches.models.heart_corpora import Corpora
from benchmarks.benches.models.heart_preparation import preparation, processor_s
from model.encoder import Encoder
from model.encoder_config import sized
from model.pretraining.hubert import Hubert
from signals.tasks import TASKS
from training.corpus.corpus import Corpus
from training.corpus.labelled import labelled
from training.recipes.hubert import ecg_hubert

pytest.importorskip("wfdb")


def test_hours_a_minute_are_printed_for_every_way(tmp_path, capsys):
    preparation(tmp_path, n_people=1)
    values = {line.split()[1]: float(line.split()[2]) for line in capsys.readouterr().out.splitlines()}
    name = "ecg_preprocess_hours_per_minute"
    assert set(values) == {name, f"{name}_whole", f"{name}_wfdb_scipy", "ecg_preprocess_speed_against_wfdb_scipy"}
    assert min(values.values()) > 0


def test_processor_time_goes_on_while_this_process_works():
    before, started = processor_s(), time.process_time()
    while time.process_time() < started + 0.02:
        pass
    assert 0.02 <= processor_s() - before < 5


def test_a_table_holds_every_model_once_and_what_knows_the_classes_is_right(tmp_path, capsys):
    corpora = Corpora(root=tmp_path, data=Path(), people=12, steps=1)
    generated = corpora.generated()
    assert corpora.generated() == generated
    data = labelled(Corpus.open(generated), TASKS["ecg-superclass"])
    folds = groups_of(data, {"west": ("basel", "lagos")})
    assert [(fold.name, len(fold.test)) for fold in folds] == [("east", 24), ("west", 24)]
    assert {fold.name for fold in groups_of(data, {})} == {"basel", "lagos", "osaka", "quito"}
    Encoder(sized("tiny", dim=16, depth=1, n_heads=2, stem_dim=16)).save_pretrained(tmp_path / "encoder")
    names = [name for name in LIGHT if name not in ("multiscale", "pretrained, probe")]
    Hubert(ecg_hubert(tiny=True).model).save(tmp_path / "hubert")
    every = methods(1, tmp_path / "hubert")
    rows = table(data, folds, {name: every[name] for name in names}, encoder=tmp_path / "encoder", seeds=2, n_boot=20)
    assert list(rows) == names
    assert all(0 < row.auroc.value < 1 and row.draws.shape == (20,) for row in rows.values())
    assert rows["features, boosting"].auroc.value > 0.6  # generated classes are easy
    assert rows["random HuBERT, probe"].auroc.value != rows["pretrained HuBERT, probe"].auroc.value
    show("ecg_auroc_x", "x", rows, against="random, probe")
    printed = capsys.readouterr().out
    assert "figure ecg_auroc_x_features_boosting" in printed
    assert "less random, probe" in printed
    assert np.isfinite(rows["trivial"].draws).all()


def test_every_real_site_is_in_one_group():
    assert len({site for sites in REGIONS.values() for site in sites}) == sum(map(len, REGIONS.values()))
