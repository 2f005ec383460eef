"""Partners of windows: of the same recording, far apart where it allows, by seed and sample number alone."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
import torch

from signals.shards.normalise import Normaliser
from training.corpus.corpus import Corpus
from training.corpus.order import MicroBatch
from training.corpus.partners import FAR_S, Partners, _partners, check_pairs, subject_code
from training.corpus.source import Choice, Source
from training.corpus.stream import Reading, Stream, step_batches

CROP = 512


def partners_of(
    corpus: Corpus, *, is_listed: bool = True, subjects: list[str] | None = None, seed: int = 0
) -> Partners:
    choice = Choice(corpus.manifest.subjects if subjects is None else subjects)
    return Partners(corpus, choice, crop_times=CROP, seed=(seed, 6), is_listed=is_listed)


def drawn(partners: Partners, windows: list[int], samples: list[int]) -> dict[int, int]:
    """Return the partner of each sample that has one."""
    found = partners.of(MicroBatch(windows=tuple(windows), samples=tuple(samples), n_times=CROP))
    return dict(zip(found.samples, found.windows, strict=True))


@pytest.mark.parametrize("is_listed", [True, False])
@pytest.mark.parametrize("n_windows", [9, 3])
def test_partners_are_all_windows_that_are_far_apart_or_else_do_not_overlap(
    make_toy_shards: Callable[..., Path], n_windows: int, is_listed: bool
) -> None:
    corpus = Corpus.open(make_toy_shards(n_sites=2, n_subjects=2, n_windows=n_windows))
    partners = partners_of(corpus, is_listed=is_listed)
    for number, entry in enumerate(corpus.entries):
        apart = {
            other: abs(of_other.start_s - entry.start_s)
            for other, of_other in enumerate(corpus.entries)
            if of_other.recording_id == entry.recording_id and other != number
        }
        # Windows of 10 s follow one another: in 90 s the first three and the last three have some 60 s away.
        far = {other for other, distance in apart.items() if distance >= FAR_S}
        found = set(drawn(partners, [number] * 200, list(range(200))).values())
        assert found == (far or set(apart))


def bounds(starts_s: list[float], lengths: list[int], window_s: list[float]) -> list[set[int]]:
    """Return the partners of each row of one recording, in the order of `Stretches`."""
    spans = _partners(np.zeros(len(starts_s), int), np.array(lengths), np.array(starts_s), np.array(window_s))
    columns = (spans[name].tolist() for name in ("first", "n_before", "after", "stop"))
    return [{*range(first, first + n), *range(after, stop)} for first, n, after, stop in zip(*columns, strict=True)]


def test_windows_that_overlap_or_differ_in_length_are_no_partners() -> None:
    # 10-s windows every 5 s: the neighbour overlaps; the second next does not.
    assert bounds([0, 5, 10, 15], [10] * 4, [10.0] * 4) == [{2, 3}, {3}, {0}, {0, 1}]
    # Windows longer than a minute: 60 s apart they still overlap.
    assert bounds([0, 60, 120, 300], [10] * 4, [100.0] * 4) == [{2, 3}, {3}, {0, 3}, {0, 1, 2}]
    # As cut, the first two are of one length and the others of another.
    assert bounds([0, 200, 400, 600], [8, 8, 10, 10], [8.0, 8.0, 10.0, 10.0]) == [{1}, {0}, {3}, {2}]


def test_a_window_is_as_long_as_it_was_stored_not_as_it_is_cut(make_toy_shards: Callable[..., Path]) -> None:
    corpus = Corpus.open(make_toy_shards(n_sites=1, n_subjects=1, n_windows=4))
    plain = corpus.index

    def every_5_s(shard: int) -> pa.Table:
        table = plain(shard)
        column = table.schema.get_field_index("start_s")
        return table.set_column(column, "start_s", pc.divide(table["start_s"], 2.0))

    corpus.index = every_5_s  # type: ignore[method-assign]
    assert set(drawn(partners_of(corpus), [1] * 50, list(range(50))).values()) == {3}  # the others overlap


def test_a_corpus_without_pairs_of_two_people_is_refused(make_toy_shards: Callable[..., Path]) -> None:
    one_each = partners_of(Corpus.open(make_toy_shards(n_sites=1, n_subjects=3, n_windows=1)))
    with pytest.raises(ValueError, match="recording_contrast: 0 windows to train on, of 0 people"):
        check_pairs([one_each])
    corpus = Corpus.open(make_toy_shards(n_sites=1, n_subjects=3, n_windows=3))
    alone = partners_of(corpus, subjects=sorted(corpus.manifest.subjects)[:1])
    with pytest.raises(ValueError, match="3 windows to train on, of 1 people"):
        check_pairs([alone, one_each])
    check_pairs([partners_of(corpus), one_each])
    check_pairs([partners_of(corpus, is_listed=False, subjects=[]), alone])  # too large to be listed: not known


def test_a_partner_depends_on_seed_and_sample_number_alone(toy_shards: Path) -> None:
    corpus = Corpus.open(toy_shards)
    windows, samples = list(range(36)), list(range(100, 136))
    whole = drawn(partners_of(corpus), windows, samples)
    fresh, apart = partners_of(corpus), {}
    for row in reversed(range(36)):
        apart |= drawn(fresh, windows[row : row + 1], samples[row : row + 1])
    assert apart == whole
    assert drawn(partners_of(corpus, seed=1), windows, samples) != whole
    assert drawn(partners_of(corpus), windows, [s + 1 for s in samples]) != whole


def test_a_recording_of_one_window_has_no_partner(make_toy_shards: Callable[..., Path]) -> None:
    corpus = Corpus.open(make_toy_shards(n_sites=1, n_subjects=3, n_windows=1))
    assert drawn(partners_of(corpus), [0, 1, 2], [0, 1, 2]) == {}


def test_partners_are_chosen_windows_and_pairs_name_their_subject(toy_shards: Path) -> None:
    corpus = Corpus.open(toy_shards)
    subjects = sorted(corpus.manifest.subjects)[:2]
    partners = partners_of(corpus, subjects=subjects)
    chosen = [number for number, entry in enumerate(corpus.entries) if entry.subject_id in subjects]
    micro = MicroBatch(windows=tuple(chosen), samples=tuple(range(50, 50 + len(chosen))), n_times=CROP)
    read = {"sample_B": torch.tensor(micro.samples[::-1])}
    ids = partners.identified(read, micro, source=1, n_sources=3)
    assert ids["pair_B"].tolist() == [3 * sample + 1 for sample in micro.samples[::-1]]
    assert ids["subject_B"].tolist() == [subject_code(corpus.entry(w).subject_id) for w in chosen[::-1]]
    assert set(partners.of(micro).windows) <= set(chosen)


@pytest.mark.parametrize("is_listed", [True, False])
def test_a_stream_reads_the_same_pairs_for_any_number_of_processes(toy_shards: Path, is_listed: bool) -> None:
    def read(rank: int, world_size: int) -> list[tuple[int, int, float]]:
        corpus = Corpus.open(toy_shards)
        source = Source(corpus=corpus, normaliser=Normaliser(kind="window"), crop_times=CROP, seed=(0, 1))
        reading = Reading(batch=8, micro_batch=2, seed=0, n_lanes=4, listed_most=1 << 20 if is_listed else 1,
                          rank=rank, world_size=world_size)  # fmt: skip
        partners = [partners_of(corpus, is_listed=is_listed)]
        stream = Stream([source], [Choice(corpus.manifest.subjects)], reading, partners=partners)
        pairs = []
        for step in step_batches(stream, range(2), None, n_workers=0):
            assert step.partners is not None
            own = {int(p): int(s) for b in step.micro_batches for p, s in zip(b["pair_B"], b["subject_B"], strict=True)}
            for batch in step.partners.micro_batches:
                for pair, subject, x in zip(batch["pair_B"], batch["subject_B"], batch["x_BCT"], strict=True):
                    assert own[int(pair)] == int(subject)
                    pairs.append((step.step, int(pair), float(x.double().sum())))
        return pairs

    alone = read(0, 1)
    assert len(alone) == 16  # every toy recording has three windows
    assert sorted(read(0, 2) + read(1, 2)) == sorted(alone)
    assert np.isfinite([total for _, _, total in alone]).all()
