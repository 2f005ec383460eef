"""Studies of generated hearts: their arithmetic on cases that are known, and each to its end in its small form."""

import numpy as np
import pytest
import torch
from sklearn.metrics import average_precision_score

from benchmarks.benches.models import ecg_sources
from evaluation.measures.intervals import Estimate
from evaluation.measures.metrics import auprc
from model.supervised.multiscale import MultiScaleNet
from model.supervised.networks import NetworkShape
from signals.modality import ECG_12, LIMB_LEADS
from studies.hearts import doubt, evidence, page_evidence, rare, sources
from synthetic.heart.pages import coarse_pages
from synthetic.heart.stacks import draw_stack
from training.fitting.arrays import fit_arrays, row_batches
from training.recipes.finetuning import FinetuneOptim, FinetuneRecipe


def test_weights_put_the_test_at_the_prevalence_of_training():
    rng = np.random.default_rng(0)
    positive, score = rng.random(300) < 0.3, rng.normal(size=300)
    weight = np.where(positive, 1.0, 40.0)
    assert auprc(score, positive, weight) == pytest.approx(
        average_precision_score(positive, score, sample_weight=weight)
    )
    drawn = rare.draw(rare.Amounts(positives=2, ratio=10, tested=(6, 25)), seed=0)
    yes = drawn.test.condition == 0
    assert (yes.sum(), (~yes).sum()) == (6, 25)
    weight = drawn.weight(drawn.test)
    assert weight[yes].sum() / weight.sum() == pytest.approx(1 / 11)
    assert (drawn.train.condition == 0).sum() == 2
    # A model that answers the prevalence everywhere: right on average, its log loss the entropy of 1/11.
    losses = rare.statement_losses(np.eye(11)[:, :1], rare.FinetuneObjective(class_weights="never"))
    found = rare.score(np.full((31, 1), 1 / 11), np.full((len(drawn.fitted.x), 1), 0.5), losses, drawn)
    assert found.mean_over_prevalence == pytest.approx(1.0)
    assert found.log_loss == pytest.approx(-(np.log(1 / 11) / 11 + 10 * np.log(10 / 11) / 11))
    assert found.fitted_log_loss > found.log_loss  # shifted by what others needed, who were answered 0.5
    assert (found.auroc, found.auprc) == (0.5, pytest.approx(1 / 11))


def test_the_same_hearts_are_recorded_at_home_and_away():
    stacks = doubt.shifted_stacks(doubt.Amounts(test=2), seed=3)
    quiet = [stacks[name].x for name in ("home", "site")]
    r = np.corrcoef(quiet[0][:, :, 20:].ravel(), quiet[1][:, :, 20:].ravel())[0, 1]
    assert 0.3 < r < 0.99
    assert np.abs(stacks["noise"].x - stacks["home"].x).std() > 0


def test_exchanged_arms_keep_einthoven_and_come_back():
    x = draw_stack([("normal", 2)], seed=0, duration_s=1.0).x
    moved = doubt.arms_exchanged(x)
    np.testing.assert_array_equal(doubt.arms_exchanged(moved), x)
    for row, (a, b) in enumerate(LIMB_LEADS.values()):
        np.testing.assert_allclose(moved[:, row], a * moved[:, 0] + b * moved[:, 1], atol=1e-4)
    np.testing.assert_array_equal(moved[:, 0], -x[:, 0])
    np.testing.assert_array_equal(moved[:, 6:], x[:, 6:])


def test_a_way_that_knows_its_mistakes_is_better_by_an_interval():
    rng = np.random.default_rng(0)
    true, wrong = rng.integers(0, 6, 200), rng.random(200) < 0.3
    answered = np.where(wrong, (true + 1) % 6, true)
    knows, blind = (np.full((200, 6), 0.02) for _ in range(2))
    knows[np.arange(200), answered] = np.where(wrong, 0.3, 0.9)
    blind[np.arange(200), answered] = 0.5 + 0.4 * rng.random(200)
    found = doubt.selection(knows, blind, true)
    assert found.accuracy == pytest.approx(1 - wrong.mean())
    assert found.against_single.high < 0
    same = doubt.selection(blind, blind, true)
    assert same.against_single.value == 0


def test_pages_show_what_leads_do_and_twice_as_large_is_further_from_the_middle():
    x = np.zeros((1, 12, 96), dtype=np.float32)
    x[0, 5] = 2.0
    page = coarse_pages(x)
    assert (page.shape, page.dtype) == ((1, 3, 64, 96), np.float32)
    ink = 1 - page[0, 0]
    middle = [
        (ink[row * 16 : row * 16 + 16, of * 32 : of * 32 + 32] * np.arange(16)[:, None]).sum()
        for row in (0, 1)
        for of in (2,)
    ]
    assert middle[1] < middle[0]  # lead 5 stands in the second row, third column, and rises
    assert ink.sum() > 0
    with pytest.raises(ValueError, match="3 leads do not fill"):
        coarse_pages(x[:, :3])


@pytest.mark.parametrize(
    ("low", "high", "decision"),
    [
        (0.01, 0.05, "adds"),
        (-0.004, 0.006, "redundant"),
        (0.002, 0.008, "redundant"),
        (0.002, 0.03, "adds"),
        (-0.02, 0.05, "undecided"),
        (-0.05, -0.01, "harms"),
    ],
)
def test_a_source_is_redundant_only_where_its_gain_is_known_to_be_small(low, high, decision):
    gain = sources.Gain(source="images", beside=("signals",), gain=Estimate((low + high) / 2, low, high))
    assert gain.decision == decision


def test_some_source_is_always_kept_and_the_others_go_at_random():
    people = sources.draw_people(24, seed=0)
    rng = np.random.default_rng(0)
    there = torch.cat([sources.change(rng, people.tensors)["there_BS"] for _ in range(4)])
    assert there.any(1).all()
    assert 0.5 < there.float().mean() < 0.95
    assert (people.severity[people.target[:, -1] == 1] == 0).all()
    assert set(people.severity[people.target[:, 0] == 1]) <= {1, 2, 3}
    other = (people.target[:, 0] == 0) & (people.target[:, -1] == 0)
    assert (people.severity[other] == -1).all()


def test_confidence_is_calibrated_on_others_and_its_error_is_counted_in_bins():
    right = np.array([1.0, 0.0, 1.0, 1.0])
    assert sources.calibration_error(np.full(4, 0.75), right, n_bins=1) == pytest.approx(0.0)
    assert sources.calibration_error(np.full(4, 0.5), right, n_bins=1) == pytest.approx(0.25)


def test_planted_levels_are_in_two_leads_of_one_stretch_only():
    rng = np.random.default_rng(0)
    for _ in range(5):
        case = evidence.planted(rng)
        moved = case.x != case.without
        assert (moved.any(axis=1) == case.truth.channels).all()
        assert case.truth.channels.sum() == 2
        assert not case.truth.channels[:6].any()
        at = np.flatnonzero(moved.any(axis=0)) / 100
        assert case.truth.start_s - 0.011 <= at.min() < at.max() <= case.truth.stop_s + 0.011


def test_a_map_is_compared_with_other_people_not_with_the_window_less_its_evidence(monkeypatch):
    seen = []
    monkeypatch.setattr(
        evidence, "methods", lambda: {"any": lambda network, x, backgrounds: seen.append((x, backgrounds))}
    )
    monkeypatch.setattr(evidence, "_figures", lambda cases, maps, others: None)
    torch.manual_seed(0)
    network = MultiScaleNet(NetworkShape(n_chans=12, sfreq=100.0, n_classes=2), widths=(6, 8))
    evidence.measure(network.eval(), evidence.SMALL, seed=0)
    for x, backgrounds in seen:
        # Another person's beats come at other times: nearly every sample differs, in leads without evidence too.
        assert all((x != each).mean() > 0.9 for each in backgrounds)


def test_a_map_of_the_page_is_counted_in_the_boxes_of_its_leads():
    x = np.zeros((1, 12, 600), dtype=np.float32)
    page = page_evidence.drawn(x)[0, 0].numpy()
    raised = x.copy()
    raised[0, 7, 300:450] = 2.0  # lead V2, seconds 3 to 4.5
    moved = np.abs(page_evidence.drawn(raised)[0, 0].numpy() - page)
    found = page_evidence.on_leads("any", moved, 600).channels_steps
    assert found.shape == (12, 24)
    assert found.sum() == pytest.approx(moved.sum())
    assert set(np.flatnonzero(found.sum(axis=1))) == {7}
    # 64 columns for 6 s: a column may reach into the step on either side
    assert set(range(12, 18)) <= set(np.flatnonzero(found[7])) <= set(range(11, 19))
    # A map as coarse as a network's last layer: row 2 of 4, the first half of column 1 of 3.
    coarse = np.zeros((4, 6))
    coarse[2, 2] = 1.0
    found = page_evidence.on_leads("any", coarse, 600).channels_steps
    np.testing.assert_allclose(found[7, :12], 1 / 12)
    assert found.sum() == pytest.approx(1.0)
    assert pytest.approx(2 / 12) == page_evidence.BOXES_BY_CHANCE


def test_what_two_boxes_of_a_page_decide_is_explained_by_one_of_them():
    class Ink(torch.nn.Module):
        """Knows where the level would be: how dark the page is above the middle of V1's and V2's boxes."""

        def forward(self, image):
            dark = 1 - image[:, 0]
            logit = dark[:, 64:74, :128].mean((1, 2)) * 300  # row 2 of 4, its first two boxes
            return torch.stack([-logit, logit], 1)

    rng = np.random.default_rng(3)
    case = next(c for c in iter(lambda: evidence.planted(rng), None) if c.truth.channels[[6, 7]].all())
    bank = np.stack([evidence.planted(rng).without for _ in range(2)])
    reader = page_evidence.OnPaper(Ink())
    for name in ("occlusion", "grouped Shapley"):
        found = page_evidence.methods()[name](reader, case.x, bank)
        assert np.abs(found.channels_steps).sum(axis=1).argmax() in (6, 7), name


def test_arrays_are_seen_once_an_epoch_and_wrong_ones_are_refused():
    rows = row_batches(10, 5, seed=0)
    epoch = torch.cat([next(rows), next(rows)])
    assert sorted(epoch.tolist()) == list(range(10))
    recipe = FinetuneRecipe(optim=FinetuneOptim(batch=4))
    for arrays in ({"a": torch.zeros(3)}, {"a": torch.zeros(8), "b": torch.zeros(7)}):
        with pytest.raises(ValueError, match="batch=4 of arrays"):
            fit_arrays(torch.nn.Linear(1, 1), arrays, recipe, n_steps=1)


def test_every_part_of_the_bench_runs_to_its_end_in_its_small_form(capsys):
    for name in ("losses", "doubt", "sources", "evidence", "pages"):
        ecg_sources.PARTS[name](small=True, seed=0)
    lines = [line.split()[1:3] for line in capsys.readouterr().out.splitlines() if line.startswith("figure ")]
    values = {name: float(value) for name, value in lines}
    assert len(values) == len(lines)
    wanted = {"ecg_signal_auroc", "ecg_multi_auroc", "ecg_source_gain_images", "ecg_ldam_auprc_gain",
              "ecg_ldam_calibration_cost", "ecg_aurc_ensemble", "ecg_aurc_mc_dropout", "ecg_aurc_ensemble_swap",
              "ecg_aurc_mc_dropout_site", "ecg_evidence_occlusion_channel_hit",
              "ecg_page_evidence_occlusion_channel_hit", "ecg_page_evidence_grad-cam_pair_hit"}  # fmt: skip
    assert wanted <= set(values)
    assert np.isfinite([values[name] for name in wanted]).all()


def test_leads_of_these_studies_are_the_modality_s():
    assert evidence.ECG_12 is ECG_12
    assert ECG_12.ch_names[evidence.FIRST_CHEST] == "V1"
