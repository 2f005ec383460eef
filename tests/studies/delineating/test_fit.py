import numpy as np
import pytest

from evaluation.measures.boundaries import EC57_MS, boundary_scores, macro_f1
from model.delineation.network import CLASSES, SFREQ, Delineator, DelineatorConfig
from model.delineation.waves import Found, prepared, probabilities, waves_of
from studies.delineating.examples import IGNORED, Lead, arrays, boundaries, generated, judged, marked
from studies.delineating.fit import DelineatorRecipe, fit


def test_generated_leads_have_a_class_where_they_show_a_wave():
    leads = list(generated(2, seed=0, conditions=("normal", "fibrillation")))
    assert len(leads) == 24
    assert {wave.kind for lead in leads[:12] for wave in lead.waves} == {"P", "QRS", "T"}
    assert {wave.kind for lead in leads[12:] for wave in lead.waves} == {"QRS", "T"}
    lead = leads[1]
    target = lead.target(2500)
    wave = next(wave for wave in lead.waves if wave.kind == "QRS")
    middle = round((wave.onset_s + wave.offset_s) / 2 * SFREQ)
    assert CLASSES[target[middle]] == "QRS"
    assert target[0] == IGNORED or lead.waves[0].onset_s < 0.05
    hidden = Lead(person="a", name="I", condition="", x_mv=lead.x_mv, sfreq=SFREQ, waves=(Found("QRS", 1.0, 1.1),
                  Found("T", 3.0, 3.2)), unseen=(Found("P", 2.0, 2.1),))  # fmt: skip
    assert (hidden.target(2500)[500:525] == IGNORED).all()
    found = [Found("P", 2.02, 2.08), Found("P", 0.5, 0.6), Found("QRS", 2.02, 2.08)]
    assert judged(found, hidden) == [Found("QRS", 2.02, 2.08)]


def test_marks_of_a_record_are_its_waves_and_half_ones_are_none(tmp_path):
    wfdb = pytest.importorskip("wfdb")
    x = np.random.default_rng(0).normal(size=(2500, 1))
    wfdb.wrsamp("a", fs=500, units=["mV"], sig_name=["ii"], p_signal=x, fmt=["16"], write_dir=str(tmp_path))
    samples, symbols = [100, 120, 150, 200, 220, 250, 400, 450, 470], list("(p)(N)t)(")
    wfdb.wrann("a", "ii", np.array(samples), symbol=symbols, write_dir=str(tmp_path))
    (lead,) = marked(tmp_path)
    assert lead.waves == (Found("P", 0.2, 0.3), Found("QRS", 0.4, 0.5))
    assert lead.span_s == (0.2, 0.5)
    assert list(boundaries(lead.waves)["QRS offset"]) == [0.5]


def test_training_finds_waves_that_it_did_not_see():
    leads = list(generated(6, seed=0, leads=("II", "V5"), conditions=("normal", "infarction")))
    x, target = arrays(leads)
    recipe = DelineatorRecipe(steps=40, batch=8, crop_s=3.0, learning_rate=1e-2)
    model = fit(x, target, recipe, model=Delineator(DelineatorConfig(widths=(8, 12, 16, 16), kernel=9)))
    others = list(generated(4, seed=1, leads=("II",), conditions=("normal",)))
    found = probabilities(model, np.stack([prepared(lead.x_mv[None], lead.sfreq)[0] for lead in others]))
    pairs = [
        (boundaries(judged(waves_of(prob), lead)), boundaries(lead.waves))
        for prob, lead in zip(found, others, strict=True)
    ]
    scores = boundary_scores(pairs, EC57_MS)
    assert scores["QRS onset"].f1 > 0.9
    assert macro_f1(scores) > 0.6


def test_what_cannot_be_trained_is_refused():
    with pytest.raises(ValueError, match="shorter than a crop"):
        fit(np.zeros((2, 300), np.float32), np.zeros((2, 300), int))
    with pytest.raises(ValueError, match="at least 1"):
        DelineatorRecipe(steps=0)
    x = np.full((2, 1000), np.nan, np.float32)
    with pytest.raises(FloatingPointError, match="step 0"):
        fit(x, np.zeros((2, 1000), int), DelineatorRecipe(steps=1))
