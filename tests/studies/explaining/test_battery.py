import numpy as np
import pytest

from explain.gates.card import NOT_VALIDATED
from explain.shortcuts import Recorded, detect
from signals.modality import EEG_1020
from studies.explaining.battery import Amounts, draw_cases, measure, truth_of
from studies.explaining.methods import METHODS
from studies.explaining.models import Trained
from studies.explaining.shortcut_runs import fitted, flagged_shares, run
from synthetic.evidence.planted import BURST_HZ, Design
from synthetic.evidence.shortcuts import DESIGN as TRACED
from synthetic.evidence.shortcuts import trace_bank, traced_corpus

DESIGN = Design(sfreq=128.0)


def reader(scale=12.0):
    """A model that knows the truth's kind: power in the bursts' bands, on the loudest channel."""

    def ask(windows):
        power = np.abs(np.fft.rfft(windows, axis=-1)) ** 2 / windows.shape[-1] ** 2
        freqs = np.fft.rfftfreq(windows.shape[-1], 1 / DESIGN.sfreq)
        found = [
            power[..., (freqs >= low) & (freqs <= high)].sum(axis=-1).max(axis=1) for low, high in BURST_HZ.values()
        ]
        theta, beta = (np.sqrt(each) for each in found)
        return np.stack([np.full(len(windows), scale * 0.25), scale * theta, scale * beta], axis=1)

    return Trained(name="by hand", ask=ask, auroc=1.0, design=DESIGN)


def test_amounts_keep_their_proportions():
    assert Amounts.of(24) == Amounts()
    assert Amounts.of(1) == Amounts(cases=1, stability=1, faithfulness=1)
    assert Amounts.of(8) == Amounts(cases=8, stability=3, faithfulness=4)


def test_cases_are_windows_whose_burst_decides():
    trained = reader()
    cases = draw_cases(trained, 6, seed=1)
    assert len(cases.windows) == 6
    for window in cases.windows:
        logits = trained.ask(np.stack([window.data, window.without]))
        assert logits.argmax(axis=1).tolist() == [window.label, 0]
        assert truth_of(window).channels.any()


def test_a_model_that_never_changes_its_mind_gives_no_case_and_validates_nothing():
    trained = Trained(name="stuck", ask=lambda x: np.tile([0.0, 9.0, 0.0], (len(x), 1)), auroc=0.5, design=DESIGN)
    cases = draw_cases(trained, 2, seed=1)
    assert (cases.windows, cases.n_skipped) == ((), 40)


def test_occlusion_of_a_model_by_hand_points_at_the_burst_and_methods_without_a_network_are_left_out():
    trained = reader()
    occlusion = [method for method in METHODS if method.fits(trained)]
    assert [method.name for method in occlusion] == ["occlusion", "grouped Shapley"]
    stuck = Trained(name="s", ask=lambda x: np.zeros((len(x), 3)), auroc=0.5, design=DESIGN)
    import studies.explaining.battery as battery

    original, battery.with_random_weights = battery.with_random_weights, lambda *_, **__: stuck
    try:
        amounts = Amounts(cases=4, stability=2, faithfulness=2, backgrounds=1)
        card = measure(trained, trained, stuck, amounts=amounts, methods=occlusion[:1], seed=3)
    finally:
        battery.with_random_weights = original
    (found,) = card.methods
    assert found.value("time_hit") == 1
    assert found.value("band_hit") == 1
    assert found.value("seeds") == pytest.approx(1)
    assert found.value("shuffled") == 0
    assert found.n_cases == 4
    assert (card.status("occlusion") == NOT_VALIDATED) == bool(found.failed())


def test_a_planted_run_is_flagged_by_its_trace_and_a_clean_one_is_not():
    bank = trace_bank(5, 40)
    found = [run(5, bank, trace="flat channels", is_planted=planted) for planted in (True, False)]
    assert flagged_shares(found) == (1.0, 0.0)
    assert np.isnan(flagged_shares(found[:1])[1])


def test_the_detector_sees_what_the_model_was_given_not_what_the_corpus_holds():
    # Trained on windows without any trace: the traces of the windows that it predicts change little.
    corpus = traced_corpus(6, trace_bank(6, 40), trace="gain", is_planted=True, n=500)
    ask = fitted(corpus, np.flatnonzero(~corpus.traced)[:300])
    recorded = Recorded(x=corpus.x[300:], sites=corpus.sites[300:], ch_names=EEG_1020.ch_names, sfreq=TRACED.sfreq)
    assert "flat channels" not in detect(ask, recorded, target=1).flagged
