"""Potentials from channels: whatever the graph, differences that were measured come out as they were measured."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from signals.modality import EEG_1020
from signals.montage.derivations import as_recorded, connected_parts, joined, largest_part
from signals.montage.labels import find_electrodes
from signals.montage.references import DOUBLE_BANANA

NAMES = EEG_1020.ch_names
BANANA = " ".join(f"{a}-{b}" for a, b in DOUBLE_BANANA)


def derivations(labels):
    labels = labels.split()
    found = find_electrodes(labels, ["eeg"] * len(labels))
    assert len(found.picks) == len(labels)
    return found.derivations


def measured(channels, potentials, reference_uv=0.0):
    """Return the channels of potentials, shape (n_channels, n_times), by what each label names."""
    level = {name: 0.0 * next(iter(potentials.values())) + reference_uv for name in ("<ref>", "<le>", "<avg>")}
    values = level | potentials
    return np.stack([values[d.anode] - values[d.against] for d in channels])


def random_potentials(names, seed=0):
    rng = np.random.default_rng(seed)
    return {name: rng.standard_normal(20) for name in names}


def centred(rows):
    return rows - rows.mean(axis=0)


def test_a_referential_channel_is_its_electrode_exactly():
    channels = derivations("Fp1-REF F3-REF C3-REF")
    [part] = connected_parts(channels)
    assert (part.names, part.reference) == (("Fp1", "F3", "C3"), "<ref>")
    assert np.array_equal(part.matrix, np.eye(3))


def test_an_own_channel_wins_over_a_pair_listed_first():
    channels = derivations("F7-T3 F7-REF T3-REF Cz-REF")
    [part] = connected_parts(channels)
    assert part.names == ("F7", "T3", "Cz")
    assert np.array_equal(part.matrix, [[0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]])


def test_pairs_give_electrodes_without_a_channel_of_their_own():
    channels = derivations("F7-REF F7-T3 T5-T3 O1-REF T5-O1")
    potentials = random_potentials(["F7", "T3", "T5", "O1"])
    [part] = connected_parts(channels)
    out = part.matrix @ measured(channels, potentials, 3.0)
    assert np.allclose(out, [potentials[name] - 3.0 for name in part.names])
    # T3 and T5 are each determined twice over; both ways count.
    assert (part.matrix[part.names.index("T3")] != 0).all()
    assert np.array_equal(part.matrix[part.names.index("F7")], [1, 0, 0, 0, 0])


def test_the_scalp_electrode_of_a_common_reference_is_zero():
    [part] = connected_parts(derivations("F3-Cz C3-Cz P3-Cz"))
    assert (part.names, part.reference) == (("F3", "C3", "P3", "Cz"), "Cz")
    assert np.array_equal(part.matrix, np.vstack([np.eye(3), np.zeros(3)]))


def test_of_several_references_in_a_part_that_of_most_channels_is_taken():
    channels = derivations("F3-A2 C3-A2 O1-A2 F4-A1 C4-A1 A2-A1")
    potentials = random_potentials(["F3", "C3", "O1", "F4", "C4", "A1", "A2"])
    [part] = connected_parts(channels)
    assert part.reference == "A2"
    assert part.scalp == ("F3", "C3", "O1", "F4", "C4")
    out = part.matrix @ measured(channels, potentials)
    assert np.allclose(out, [potentials[name] - potentials["A2"] for name in part.names])


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10_000), n_pairs=st.integers(8, 40), n_referential=st.integers(0, 4))
def test_every_measured_difference_comes_out_as_measured(seed, n_pairs, n_referential):
    rng = np.random.default_rng(seed)
    pairs = {tuple(sorted(rng.choice(19, 2, replace=False).tolist())) for _ in range(n_pairs)}
    labels = [f"{NAMES[a]}-{NAMES[b]}" for a, b in sorted(pairs)]
    labels += [f"{NAMES[i]}-REF" for i in rng.choice(19, n_referential, replace=False)]
    found = find_electrodes(labels, ["eeg"] * len(labels))
    potentials = random_potentials(NAMES, seed)
    x = measured(found.derivations, potentials, 1.5)
    for result in (joined(found.derivations), as_recorded(found.derivations), largest_part(found.derivations)):
        out = result.matrix @ x
        for number in range(len(result.references)):
            rows = np.flatnonzero(result.part == number)
            truth = np.stack([potentials[result.names[row]] for row in rows])
            assert np.allclose(centred(out[rows]), centred(truth), atol=1e-8)
        # No electrode is lost or in two parts.
        everyone = sorted([*result.names, *(name for names in result.apart for name in names)])
        assert everyone == sorted({n for d in found.derivations for n in (d.anode, d.against) if n[0] != "<"})


def test_noise_of_the_pseudo_inverse_is_no_weight():
    whole = joined(derivations(BANANA))
    assert whole.is_joined
    assert whole.references == ("", "", "")
    # 8 pairs for each hemisphere, 2 for the midline: no electrode depends on another part's.
    n_of = {name: int(row.sum()) for name, row in zip(whole.names, whole.depends, strict=True)}
    assert {n_of[name] for name in ("T3", "C3", "T4", "C4")} == {8}
    assert {n_of[name] for name in ("Fz", "Cz", "Pz")} == {2}
    small = np.abs(whole.matrix[whole.matrix != 0])
    assert small.min() > 1e-6


def test_a_part_with_a_reference_comes_first_and_stays_as_it_is():
    names = " ".join(f"{name}-REF" for name in NAMES if name not in ("T3", "T5"))
    channels = derivations(f"T3-T5 {names}")
    parts = connected_parts(channels)
    assert [part.reference for part in parts] == ["<ref>", ""]
    whole = joined(channels)
    assert np.array_equal(whole.matrix[:17], parts[0].matrix)
    assert whole.part.tolist() == [0] * 17 + [1, 1]
    assert (whole.matrix[17:] != 0).all()


def test_larger_parts_come_before_smaller_ones():
    parts = connected_parts(derivations("Fp1-F7 F3-C3 C3-P3"))
    assert [part.names for part in parts] == [("F3", "C3", "P3"), ("Fp1", "F7")]


def test_the_order_of_channels_does_not_matter():
    channels = derivations(BANANA)
    order = np.random.default_rng(3).permutation(len(channels))
    first, second = joined(channels), joined(tuple(channels[i] for i in order))
    at = [second.names.index(name) for name in first.names]
    assert np.allclose(centred(second.matrix)[at], centred(first.matrix)[:, order])


@pytest.mark.parametrize(
    "labels", ["Fpz-Cz Pz-Oz", "C3-P3 C4-P4", "F3-C3 C3-P3 F4-C4 C4-P4", "Fp2-F4 F4-C4 C4-P4 P4-O2 F8-T4"]
)
def test_few_pairs_give_no_potentials(labels):
    channels = derivations(labels)
    for result in (joined(channels), as_recorded(channels), largest_part(channels)):
        assert result.names == ()
        assert result.matrix.shape == (0, len(channels))
        assert len(result.apart) == len(connected_parts(channels))


def test_eight_electrodes_are_enough_and_seven_are_not():
    assert len(joined(derivations("Fp1-F7 F7-T3 T3-T5 T5-O1 O1-P3 P3-C3 C3-F3")).names) == 8
    assert joined(derivations("Fp1-F7 F7-T3 T3-T5 T5-O1 O1-P3 P3-C3")).names == ()
    assert len(largest_part(derivations("Fp1-F7 F7-T3 T3-T5 T5-O1 O1-P3 P3-C3 C3-F3 Fz-Cz")).names) == 8
    assert largest_part(derivations("Fp1-F7 F7-T3 T3-T5 T5-O1 O1-P3 P3-C3 Fz-Cz")).names == ()


def test_what_geometry_cannot_join_stays_apart():
    # Two electrodes of the far side, against a reference of their own.
    left = " ".join(f"{name}-REF" for name in ["Fp1", "F7", "T3", "T5", "O1", "F3", "C3", "P3"])
    whole = joined(derivations(f"{left} T4-T6"))
    assert whole.apart == (("T4", "T6"),)
    assert not whole.is_joined
    # With the midline between them it can.
    near = joined(derivations(f"{left} Fz-REF Cz-REF Pz-REF F4-REF C4-REF P4-REF T4-T6"))
    assert near.apart == ()
    assert near.is_joined


def test_an_electrode_all_alone_is_not_joined():
    # Its constant is all that is known of it, and would be an interpolation that passes for a measurement.
    labels = " ".join(f"{name}-LE" for name in NAMES if name != "Cz")
    whole = joined(derivations(f"{labels} Cz-REF"))
    assert whole.apart == (("Cz",),)
    assert whole.references == ("<le>",)


def test_opposite_ears_are_joined_better_than_by_taking_them_for_one():
    from benchmarks.benches.recordings.montages_clinical import NAMES as PLANTED
    from benchmarks.benches.recordings.montages_clinical import planted

    x, _ = planted("T3")
    potentials = dict(zip(PLANTED, x, strict=False))
    channels = derivations(
        " ".join(
            [f"{n}-A2" for n in ["Fp1", "F7", "T3", "T5", "O1", "F3", "C3", "P3"]]
            + [f"{n}-A1" for n in ["Fp2", "F8", "T4", "T6", "O2", "F4", "C4", "P4"]]
        )
    )
    whole = joined(channels)
    truth = centred(np.stack([potentials[name] for name in whole.names if name[0] != "A"]))
    rows = [i for i, name in enumerate(whole.names) if name[0] != "A"]
    channel_values = measured(channels, potentials)

    def missed(estimate):
        return np.sqrt(((centred(estimate) - truth) ** 2).sum() / (truth**2).sum())

    ours = missed((whole.matrix @ channel_values)[rows])
    as_one = missed((as_recorded(channels).matrix @ channel_values)[rows])
    assert ours < 0.25
    assert ours < as_one / 2


def test_laplacian_derivations_give_nothing():
    channels = derivations("C3-SD C4-SD")
    assert connected_parts(channels) == []
    assert joined(channels).names == ()
    # Beside potentials they are left aside.
    assert joined(derivations("C3-SD Fp1-REF F3-REF")).names == ("Fp1", "F3")
