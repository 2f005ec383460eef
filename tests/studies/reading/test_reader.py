"""A reader is fitted on some families, decided about on others, and its bundle answers as its members do."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from benchmarks.benches.parts import narrowed
from model.supervised.supervised import new_network
from serving.runtime import probabilities
from signals.bundles.bundle import load_bundle
from signals.bundles.calibration import softmax
from signals.modality import EEG_1020
from signals.readers.memory import recording_of_array
from signals.shards.normalise import Normaliser
from signals.tasks import SIX_CLASS
from signals.windows.margins import as_if_short, with_margins
from studies import stack
from studies.reading import choice, members
from studies.reading.bundling import _answers
from studies.reading.intervals import over_people
from studies.reading.rows import HeldOut, Reading, short
from studies.six_class_reader import N_PARITY, ReaderCommand, build, main
from synthetic.critical_corpus import CorpusPlan, write_corpus


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """12 simulated segments, and 6 each of two other families."""
    folder = tmp_path_factory.mktemp("reader") / "corpus"
    return write_corpus(folder, CorpusPlan(segments=12, held_out=6, seed=0, simulate_missing=True))


@pytest.fixture(scope="module")
def built(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str]]:
    """A bundle, and what was printed."""
    folder = tmp_path_factory.mktemp("built")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stack, "MOST_STEPS", 8)
        patch.setattr(members, "N_TREES", 5)
        patch.setattr("model.patterns.perceptron.EPOCHS", 10)
        lines = build(ReaderCommand(corpus=corpus, output=folder / "bundle"))
    return folder / "bundle", lines


def test_the_bundle_answers_windows_and_ten_seconds(built: tuple[Path, list[str]], corpus: Path) -> None:
    bundle, reading = load_bundle(built[0]), Reading.open(corpus)
    assert set(reading.families[reading.learn]) == {"simulated"}
    assert set(reading.families[reading.held_out]) == {"original", "faint-and-uneven"}
    windows = list(reading.windows(reading.held_out[:2]))
    answered = probabilities(bundle, windows)
    np.testing.assert_allclose(answered.sum(axis=1), 1)
    assert np.abs(answered[0] - answered[2]).max() > 1e-4  # ten seconds are not fifty
    assert bundle.about["parity"]["max_probability_difference"] <= 1e-4
    assert bundle.about["parity"]["n_windows"] == 2 * min(N_PARITY, 12)
    assert bundle.calibration.conformal is not None
    assert bundle.trained_on is not None
    assert len(bundle.trained_on) == 24  # members, and what decided about them
    assert any(line.startswith("perceptron-0") for line in built[1])
    assert any(line.startswith("attention over members instead of the stack: KL lower by ") for line in built[1])


def test_who_decides_is_in_no_member(built: tuple[Path, list[str]], corpus: Path, tmp_path: Path) -> None:
    reading = Reading.open(corpus)
    assert not set(reading.data.subjects[reading.learn]) & set(reading.data.subjects[reading.held_out])
    knowing = Knowing(reading)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(members, "load_exportable", lambda folder: knowing)
        with pytest.raises(ValueError, match="trained on 1 of the subjects"):
            members.network(tmp_path, reading)


def test_the_published_encoder_is_a_member_whose_graph_answers_as_it_does(corpus: Path, tmp_path: Path) -> None:
    reading = Reading.open(corpus)
    member = members.network(Path(__file__).parents[3] / "release" / "six_class", reading)
    assert (member.name, member.file) == ("encoder", "encoder.onnx")
    graph = member.write(tmp_path)
    windows = list(reading.windows(reading.held_out[:2]))
    theirs = members.predictor_of(tmp_path, [graph])(windows)[0]
    assert theirs.shape == (4, 6)
    ours = np.stack([_answers(member, graph, [window])[0] for window in windows])
    np.testing.assert_allclose(softmax(theirs), softmax(ours), atol=1e-4)
    assert np.abs(softmax(theirs[0]) - softmax(theirs[2])).max() > 1e-3  # ten seconds are not fifty


class Knowing:
    """A network that has learnt from a subject who decides."""

    def __init__(self, reading: Reading) -> None:
        self.task, self.modality = SIX_CLASS, reading.data.shards.manifest.modality
        self.provenance = {"train_subjects": [reading.data.subjects[reading.held_out][0]]}


def held(n: int = 40, seed: int = 0) -> HeldOut:
    """Two families; one member is right on the first, the other on the second, a third knows nothing."""
    rng = np.random.default_rng(seed)
    label, family = rng.integers(0, 6, 2 * n), np.repeat(["a", "b"], n)
    right, none = 4.0 * np.eye(6)[label], np.zeros((2 * n, 6))
    first = np.where((family == "a")[:, None], right, none)
    return HeldOut(
        names=("first", "second-0", "empty"), logits=np.stack([first, right - first, none]),
        target=0.8 * np.eye(6)[label] + 0.2 / 6, family=family, subject=np.arange(2 * n).astype(str),
        is_short=np.arange(2 * n) % 2 == 1,
    )  # fmt: skip


def test_a_family_is_answered_by_what_did_not_see_it() -> None:
    rows = held()
    seen: list[set[str]] = []

    def fit(chosen: np.ndarray) -> int:
        seen.append(set(rows.family[chosen]))
        return len(seen)

    answered = choice.across_families(rows, fit, lambda number, inside: np.full((len(inside), 6), number))
    assert seen == [{"b"}, {"a"}]
    np.testing.assert_array_equal(answered[rows.family == "a"], 1)
    np.testing.assert_array_equal(answered[rows.family == "b"], 2)


def test_attention_takes_the_stacks_place_only_where_people_drawn_again_agree(monkeypatch: pytest.MonkeyPatch) -> None:
    rows, fitted = held(), []
    share = np.random.default_rng(0).uniform(0, 0.2, (len(rows.target), 1))  # of the truth: people gain unequally
    stack_answers = choice.mean_answers(rows)
    better = (1 - share) * stack_answers + share * rows.target

    def answers(held: HeldOut, *, seed: int, combiner: str = choice.STACK) -> np.ndarray:
        fitted.append((combiner, seed))
        return attention if combiner == choice.ATTENTION else stack_answers

    monkeypatch.setattr(choice, "stack_answers", answers)
    monkeypatch.setattr(choice, "chosen_members", lambda held, **_: held.names)
    attention = better
    gain = choice.attention_gain(rows, seed=5)
    assert {one for one in fitted if one[0] == choice.ATTENTION} == {(choice.ATTENTION, seed) for seed in (5, 6, 7)}
    kl = [choice.family_kl(rows, one) for one in (stack_answers, better)]
    assert gain.value == pytest.approx(kl[0] - kl[1])
    assert 0 < gain.low < gain.value < gain.high
    assert choice.choose(rows, seed=0).combiner == choice.ATTENTION
    # Better for one person alone, by as much on average: no resample without that person agrees.
    attention = np.where((rows.subject == "3")[:, None], rows.target, stack_answers)
    assert choice.attention_gain(rows, seed=0).low <= 0 < choice.attention_gain(rows, seed=0).value
    assert choice.choose(rows, seed=0).combiner != choice.ATTENTION


def test_intervals_draw_all_rows_of_a_person_and_keep_families_whole() -> None:
    family, subject = np.repeat(["a", "b"], 6), np.repeat(["p", "q", "r", "s"], 3)
    seen: list[np.ndarray] = []

    def measure(rows: np.ndarray) -> float:
        seen.append(rows)
        return float(rows.mean())

    found = over_people(measure, family, subject, seed=0)
    assert found.value == 5.5  # the mean of 0 ... 11
    for rows in seen:
        assert np.isin(family[rows], "a").sum() == 6
        assert all(count % 3 == 0 for count in np.unique(subject[rows], return_counts=True)[1])
    # Each family's two people: their means are 1 and 4, 7 and 10; both of a kind at worst, one draw in four each.
    assert (found.low, found.high) == (4.0, 7.0)


def test_a_member_that_adds_nothing_goes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stack, "MOST_STEPS", 8)
    monkeypatch.setattr(choice, "stack_answers", lambda rows, **_: choice.mean_answers(rows))
    # Of the plain mean: without "empty" the answers are surer, and right.
    assert choice.chosen_members(held(), seed=0) == ("first", "second-0")


def test_a_calibration_is_measured_on_families_it_did_not_see(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = held(60)
    monkeypatch.setattr(choice, "stack_answers", lambda held, **_: choice.mean_answers(held))
    chosen = choice.choose(rows, seed=0)
    assert chosen.coverage >= 0.85  # families alike: what one promises holds in the other
    odd = replace(rows, target=np.where((rows.family == "b")[:, None], np.roll(rows.target, 1, axis=1), rows.target))
    worse = choice.choose(odd, seed=0)
    assert worse.coverage < chosen.coverage or worse.set_size > chosen.set_size + 1
    assert choice.kind_of("perceptron-2") == "perceptron"
    assert choice.kind_of("resnet-gru") == "resnet-gru"
    np.testing.assert_allclose(choice.mean_answers(rows), softmax(rows.logits).mean(axis=0))


def test_the_bench_of_cuts_runs_to_its_end(corpus: Path, tmp_path: Path, capsys) -> None:  # type: ignore[no-untyped-def]
    reading = Reading.open(corpus)
    known = reading.data.subjects[reading.learn].tolist()
    network = new_network(
        "resnet_gru", SIX_CLASS, EEG_1020, Normaliser(kind="window"), dropout=0.1, profile={},
        provenance={"train_subjects": known},
    )  # fmt: skip
    network.save_pretrained(tmp_path / "network")
    narrowed.measure(corpus, tmp_path, network=tmp_path / "network", epochs=1, shares=(0.3,))
    printed = capsys.readouterr().out
    figures = dict(line.split()[1:3] for line in printed.splitlines() if line.startswith("figure "))
    assert 0.3 <= float(figures["pruned_network_parameters_share"]) < 0.33
    lost, low, high = (float(figures[f"pruned_network_accuracy_lost{end}"]) for end in ("", "_low", "_high"))
    assert low <= lost <= high
    rows = [line for line in printed.splitlines() if line.startswith("  mixed 0.3")]
    assert len(rows) == 2
    assert all("100,212" not in row for row in rows)


def test_ten_seconds_are_mirrored_as_a_recording_of_ten_seconds_is(corpus: Path) -> None:
    reading = Reading.open(corpus)
    window = next(reading.windows(reading.learn[:1]))
    start, stop = 20 * 256, 30 * 256
    alone = recording_of_array(window.data[:, start:stop], ch_names=reading.data.shards.manifest.modality.ch_names,
                               sfreq=256.0)  # fmt: skip
    wide = with_margins(alone, (20.0, 20.0))
    np.testing.assert_array_equal(short(window).data, wide.read(range(19), segment=0).astype(np.float32))
    np.testing.assert_array_equal(as_if_short(window.data, start, stop)[:, start:stop], window.data[:, start:stop])


def test_bad_input(corpus: Path, built: tuple[Path, list[str]], tmp_path: Path, capsys) -> None:  # type: ignore[no-untyped-def]
    alone = write_corpus(tmp_path / "alone", CorpusPlan(segments=6, held_out=6, seed=0))
    for argv, words in (
        (["--corpus", str(alone), "--output", str(tmp_path / "b")], "at least two to choose on"),
        (["--corpus", str(corpus), "--output", str(built[0])], "exists already"),
    ):
        with pytest.raises(SystemExit) as left:
            main(argv)
        assert left.value.code == 2
        err = capsys.readouterr().err
        assert words in err
        assert err.count("\n") == 1
        assert not (tmp_path / "b").exists()
