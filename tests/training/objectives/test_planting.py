from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from model.montage import Montage
from model.pretraining.draws import Draws
from model.pretraining.masking import MaskPlan
from model.pretraining.truth_heads import COURSE, COURSE_UNITS, FINDINGS
from signals.electrodes import POSITIONS
from signals.modality import ECG_12, EEG_1020, Modality
from signals.montage.splines import spline_matrix
from signals.patterns.bank import ARTIFACTS, BOTH, LEFT, RIGHT, Bank
from signals.tasks import SIX_CLASS
from signals.window import ABSENT, MEASURED
from training.objectives.planting.planted_bank import Laying, PlantedBank, open_bank
from training.objectives.planting.planter import BankTensors, Chances, Planted, Planter, mirrored
from training.objectives.planting.targets import Truth, TruthPlan, octaves
from training.objectives.preparation import Preparation

SFREQ, CROP = 256.0, 20 * 256
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def opened(toy_bank: Path) -> PlantedBank:
    found = open_bank(toy_bank, Laying(chances=Chances(), plan=TruthPlan(), normalisation="window", crop_s=20.0), CPU)
    assert found is not None
    return found


def windows(samples: list[int], *, modality: Modality = EEG_1020, n_times: int = CROP) -> dict[str, Tensor]:
    """Average-referenced noise of 20 µV: the same for a sample in any company."""
    x = np.stack([np.random.default_rng(s).normal(0, 20, (modality.n_chans, n_times)) for s in samples])
    x = torch.from_numpy((x - x.mean(1, keepdims=True)).astype(np.float32))
    state = torch.full(x.shape[:2], MEASURED)
    return {
        "x_BCT": x, "inverse_scale_BC": torch.full(x.shape[:2], 0.05), "sample_B": torch.tensor(samples),
        "sleep_target_B": torch.full((len(samples),), -1), **Montage.of(modality, state).tensors(),
    }  # fmt: skip


def laid(bank: Bank, samples: list[int], *, background: float = 0.0, n_times: int = CROP) -> tuple[Tensor, Planted]:
    raw = windows(samples, n_times=n_times)
    planter = Planter(BankTensors(bank, CPU), Chances(background=background))
    return planter(Draws((0, 1), raw["sample_B"]), raw["x_BCT"], Montage.from_batch(raw), sfreq=SFREQ)


def targets_of(bank: Bank, planted: Planted) -> dict[str, Tensor]:
    state = torch.full(planted.size_BC.shape, MEASURED)
    return Truth(BankTensors(bank, CPU), TruthPlan())(planted, state)


def test_what_is_planted_depends_on_the_sample_number_alone(opened: PlantedBank) -> None:
    preparation = Preparation(sfreq=SFREQ, masks=MaskPlan(), seed=(0, 1), planting=opened.planting)
    together, alone = preparation(windows([3, 4, 5, 6])), preparation(windows([5]))
    for name, value in alone.items():
        assert torch.equal(together[name][2:3], value), name
    other = replace(preparation, seed=(0, 2))(windows([5]))
    assert not torch.equal(other["x_BCT"], alone["x_BCT"])


def test_a_pattern_is_the_bank_s_times_a_peak_at_its_place_and_on_its_side(toy_patterns: Bank) -> None:
    samples = list(range(20))
    x_BCT, planted = laid(toy_patterns, samples)
    names = list(EEG_1020.ch_names)
    flip = [names.index(mirrored(name)) for name in names]
    raw = windows(samples)["x_BCT"]
    assert {bool(m) for m in planted.mirrored_B} == {True, False}
    for b in samples:
        entry = int(planted.entry_B[b])
        start = round(float(planted.start_s_B[b]) * SFREQ)
        whole = toy_patterns.samples(entry)
        whole = whole[flip] if planted.mirrored_B[b] else whole
        part = whole[:, start : start + CROP]
        added = planted.pattern_BCT[b].numpy()
        peak = float(planted.prominence_B[b] * np.median(planted.size_BC[b]))
        np.testing.assert_allclose(added, peak * (part - part.mean(0)), atol=2e-3 * max(peak, 1))
        np.testing.assert_allclose(
            x_BCT[b].numpy(), raw[b].numpy() * planted.envelope_BT[b].numpy() + added, atol=1e-3
        )  # fmt: skip
        np.testing.assert_allclose(x_BCT[b].mean(0).numpy(), 0, atol=1e-3)  # the average reference is kept


def test_a_share_of_windows_gets_nothing_and_is_left_as_it_was(toy_patterns: Bank) -> None:
    samples = list(range(400))
    raw = windows(samples, n_times=256)
    planter = Planter(BankTensors(toy_patterns, CPU), Chances(background=0.3))
    x_BCT, planted = planter(Draws(0, raw["sample_B"]), raw["x_BCT"], Montage.from_batch(raw), sfreq=SFREQ)
    n = int((~planted.is_planted_B).sum())
    assert 90 <= n <= 150  # 120 expected, a standard deviation of 9.2
    assert torch.equal(x_BCT[~planted.is_planted_B], raw["x_BCT"][~planted.is_planted_B])
    assert len(set(planted.entry_B.tolist())) == len(toy_patterns)


def test_peaks_are_the_drawn_multiple_of_the_background(toy_patterns: Bank) -> None:
    _, planted = laid(toy_patterns, list(range(600)), n_times=256)
    is_lpd = toy_patterns.class_E[planted.entry_B] == SIX_CLASS.classes.index("LPD")
    drawn = np.log(planted.prominence_B.numpy()[is_lpd])
    # Family: median 4.5, spread 0.5 in log units, cut at 2.5 spreads; about 100 windows.
    assert np.median(drawn) == pytest.approx(np.log(4.5), abs=0.2)
    assert drawn.std() == pytest.approx(0.49, abs=0.12)


@pytest.mark.parametrize("names", [("AF7", "TP8", "CPz", "POz", "C3"), ("C4", "T3", "O2", "Fz")])
def test_other_montages_carry_patterns_by_name_and_by_splines(toy_patterns: Bank, names: tuple[str, ...]) -> None:
    planter = Planter(BankTensors(toy_patterns, CPU), Chances(background=0.0))
    montage = Montage.named(names, torch.full((2, len(names)), MEASURED))
    weight = planter.weights(montage)[0].numpy()
    own = np.asarray(EEG_1020.positions)
    splines = spline_matrix(own, np.array([POSITIONS[name] for name in names]))
    for row, name in enumerate(names):
        if name in EEG_1020.ch_names:
            expected = np.eye(19)[EEG_1020.ch_names.index(name)]
            np.testing.assert_array_equal(weight[row], expected)
        else:
            np.testing.assert_allclose(weight[row], splines[row], atol=1e-4)
    x = torch.zeros(2, len(names), CROP)
    out, planted = planter(Draws(0, torch.arange(2)), x, montage, sfreq=SFREQ)
    assert planted.is_planted_B.all()
    np.testing.assert_allclose(out.mean(1).numpy(), 0, atol=1e-3)


def test_windows_that_cannot_carry_a_pattern_stay_and_count_nothing(opened: PlantedBank) -> None:
    few = windows([0, 1])
    few["ch_state_BC"] = torch.full((2, 19), ABSENT)
    few["ch_state_BC"][:, :3] = MEASURED
    few["position_BC3"] = few["position_BC3"].clone()
    few["position_BC3"][:, 3:] = torch.nan
    heart = windows([0, 1], modality=ECG_12, n_times=2560)
    for raw, sfreq in ((few, SFREQ), (heart, ECG_12.sfreq), (windows([0, 1]), 200.0)):
        made = opened.planting(Draws(0, raw["sample_B"]), raw, sfreq=sfreq)
        assert torch.equal(made["x_BCT"], raw["x_BCT"])
        assert torch.equal(made["inverse_scale_BC"], raw["inverse_scale_BC"])
        assert (made["planted_B"] == -1).all()
        for name in ("discharge_weight_BCS", "phase_weight_BCS", "votes_weight_B", "course_weight_BV", "side_weight_B",
                     "findings_weight_BF"):  # fmt: skip
            assert made[name].sum() == 0, name


def test_longer_windows_than_patterns_are_refused(toy_patterns: Bank) -> None:
    raw = windows([0], n_times=51 * 256)
    planter = Planter(BankTensors(toy_patterns, CPU), Chances())
    with pytest.raises(ValueError, match=r"windows of 13056 samples are longer than the bank's patterns of 12800"):
        planter(Draws(0, raw["sample_B"]), raw["x_BCT"], Montage.from_batch(raw), sfreq=SFREQ)


def test_the_window_s_scale_follows_what_was_laid_over_it(opened: PlantedBank) -> None:
    raw = windows(list(range(12)))
    raw["inverse_scale_BC"] = (1 / raw["x_BCT"].std(-1, correction=0).median(1).values)[:, None].expand(-1, 19)
    made = opened.planting(Draws(0, raw["sample_B"]), raw, sfreq=SFREQ)
    scaled = made["x_BCT"] * made["inverse_scale_BC"][..., None]
    np.testing.assert_allclose(scaled.std(-1, correction=0).median(1).values.numpy(), 1, rtol=1e-4)


def test_slots_of_discharges_and_their_phase_are_those_of_the_onsets(toy_patterns: Bank) -> None:
    samples = list(range(60))
    _, planted = laid(toy_patterns, samples)
    targets = targets_of(toy_patterns, planted)
    n_trains = 0
    for b in samples:
        entry, start = int(planted.entry_B[b]), float(planted.start_s_B[b])
        onsets = toy_patterns.onsets(entry).astype(float) - start
        peak = np.rint(onsets * SFREQ)  # waves are laid on whole samples
        inside = peak[(peak >= 0) & (peak < CROP)]
        expected = np.zeros(80)
        expected[(inside // 64).astype(int)] = 1
        found = targets["discharge_BCS"][b].numpy()
        assert (found.max(0) <= expected).all()
        known = targets["discharge_weight_BCS"][b].numpy()
        if toy_patterns.train_E[entry] < 0:
            assert not known.any()
            continue
        if toy_patterns.train_E[entry] != 1 or inside.size < 2:
            assert not targets["phase_weight_BCS"][b].any()
            continue
        n_trains += 1
        largest = np.abs(planted.pattern_BCT[b].numpy()).reshape(19, 80, 64).max(2)
        ratio = largest[:, expected > 0].mean(1) / planted.size_BC[b].numpy()
        for channel in range(19):
            assert found[channel].tolist() == (expected * (ratio[channel] >= 1.5)).tolist()
            is_unclear = 0.75 < ratio[channel] < 1.5
            assert known[channel, expected > 0].any() != is_unclear
        cos, sin = targets["phase_BS2"][b].numpy().T
        weight = targets["phase_weight_BCS"][b].numpy().max(0) > 0
        for slot in np.flatnonzero(weight):
            centre = (slot + 0.5) * 0.25
            before, after = onsets[onsets < centre].max(), onsets[onsets >= centre].min()
            turn = 2 * np.pi * (centre - before) / (after - before)
            assert cos[slot] == pytest.approx(np.cos(turn), abs=1e-2)
            assert sin[slot] == pytest.approx(np.sin(turn), abs=1e-2)
            assert after - before < 3
    assert n_trains > 10


def test_sides_votes_and_courses_are_those_of_what_was_laid(toy_patterns: Bank) -> None:
    samples = list(range(60))
    _, planted = laid(toy_patterns, samples)
    targets = targets_of(toy_patterns, planted)
    x = np.asarray(EEG_1020.positions)[:, 0]
    n_sides, other = 0, SIX_CLASS.classes.index("Other")
    votes = targets["votes_BK"].numpy()
    np.testing.assert_allclose(votes.sum(1), 1, rtol=1e-5)
    for b in samples:
        entry, start = int(planted.entry_B[b]), float(planted.start_s_B[b])
        first, last = toy_patterns.span_E2[entry] - start
        label = int(toy_patterns.class_E[entry])
        covered = max(0.0, min(15.0, last) - max(5.0, first)) / 10
        weight = float(targets["votes_weight_B"][b])
        if covered >= 0.8:
            assert (votes[b].argmax(), weight) == (label, 1.0)
        elif covered == 0:
            assert (votes[b].argmax(), weight) == (other, 0.25)
        else:
            assert weight == 0
        if targets["side_weight_B"][b] > 0:
            power = (planted.pattern_BCT[b].numpy() ** 2).sum(1)
            left, right = power[x < -0.1].sum(), power[x > 0.1].sum()
            side = int(targets["side_B"][b])
            n_sides += side != BOTH
            assert side == BOTH or side == (RIGHT if right > left else LEFT)
        rate, known = (
            targets["course_BV"][b, COURSE.index("rate")],
            targets["course_weight_BV"][b, COURSE.index("rate")],
        )
        steady = toy_patterns.rate_E2[entry]
        if known and steady[0] == steady[1]:
            assert float(rate) * COURSE_UNITS[0] == pytest.approx(np.log2(steady[0]), abs=1e-4)
        if known:
            assert min(steady) * 0.999 <= 2 ** float(rate) <= max(steady) * 1.001
    assert n_sides > 8


def test_suppression_and_artifacts_are_those_in_the_crop(toy_patterns: Bank) -> None:
    # One artifact in each pattern, of all kinds in turn, 2 s long, ever later.
    events = np.array([[e % len(ARTIFACTS), 0.8 * e, 2.0] for e in range(len(toy_patterns))], np.float32)
    bank = replace(toy_patterns, artifact_M3=events, artifact_first_E=np.arange(len(toy_patterns) + 1))
    samples = list(range(90))
    _, planted = laid(bank, samples, background=0.2)
    targets = targets_of(bank, planted)
    found, weight = targets["findings_BF"].numpy(), targets["findings_weight_BF"].numpy()
    n_suppressed = n_artifacts = 0
    for b in samples:
        entry, start = int(planted.entry_B[b]), round(float(planted.start_s_B[b]) * SFREQ)
        is_planted = bool(planted.is_planted_B[b])
        row = int(bank.envelope_E[entry])
        share = (bank.envelope_VT[row, start : start + CROP] < 0.5).mean() if row >= 0 and is_planted else 0.0
        assert found[b, FINDINGS.index("suppressed")] == pytest.approx(share, abs=1e-4)
        n_suppressed += share > 0
        of_entry = bank.artifact_M3[slice(*bank.artifact_first_E[entry : entry + 2])]
        for k, kind in enumerate(ARTIFACTS):
            own = of_entry[of_entry[:, 0] == k, 1:] - [[start / SFREQ, 0]]
            there = is_planted and bool(((own[:, 0] < 20) & (own.sum(1) > 0)).any())
            assert found[b, FINDINGS.index(kind)] == there
            assert weight[b, FINDINGS.index(kind)] == (1.0 if there else 0.25)
            n_artifacts += there
    assert n_suppressed > 2
    assert n_artifacts > 2


def test_rates_are_two_lines_in_octaves_that_meet_at_the_bend() -> None:
    share = torch.tensor([[0.0, 0.15, 0.3, 0.65, 1.0]])
    found = octaves(torch.tensor([[2.0, 8.0]]), torch.tensor([0.3]), share)
    # From 1 to 3 octaves; the middle, 2, at a share of 0.3.
    np.testing.assert_allclose(found.numpy(), [[1.0, 1.5, 2.0, 2.5, 3.0]], atol=1e-5)
