"""The study chooses on held-out families alone."""

from pathlib import Path

import numpy as np
import pytest

from evaluation.schemas.predictions import read_predictions
from signals.bundles.calibration import tempered
from signals.patterns.features import pattern_features
from studies.baselines import patterns
from studies.synthetic_to_real import MEMBERS, Study, best_temperature, family_loss, greedy_average, main
from synthetic.critical_corpus import CorpusPlan, write_corpus
from training.corpus.corpus import Corpus


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """12 simulated segments and 12 of the fixed corpus' generator."""
    folder = tmp_path_factory.mktemp("study") / "corpus"
    return write_corpus(folder, CorpusPlan(segments=12, held_out=12, seed=0))


@pytest.fixture(scope="module")
def test_set(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Segments of another seed under another site's name, in the place of real ones."""
    from synthetic import critical_corpus
    from synthetic.segments.families import Family

    folder = tmp_path_factory.mktemp("study") / "held-out"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(critical_corpus, "TRAINED", (Family(name="elsewhere"),))
        return write_corpus(folder, CorpusPlan(segments=6, held_out=0, seed=9))


def test_it_leaves_predictions(
    corpus: Path, test_set: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(patterns, "N_TREES", 10)
    members = ["prior", "patterns/extra-trees", "patterns/logistic", "stored-features/extra-trees"]
    main(["--corpus", str(corpus), "--output", str(tmp_path), "--test", str(test_set), "--members", *members])
    assert "patterns/logistic" in capsys.readouterr().out
    held = read_predictions(tmp_path / "predictions.parquet")
    assert set(held.models) == {*members, "average"}
    assert set(held.of("average")["site_id"]) == {"elsewhere", "original"}


def test_test_windows_choose_nothing(corpus: Path, test_set: Path, tmp_path: Path) -> None:
    alone, both = Study(corpus, None, None, tmp_path), Study(corpus, test_set, None, tmp_path)
    assert alone.test.size == 0
    assert both.test.size == 6
    np.testing.assert_array_equal(alone.learn, both.learn)
    assert list(both.held_out) == ["original"]
    uniform = np.full((len(both.families), 6), 1 / 6)
    changed = uniform.copy()
    changed[both.test] = np.eye(6)[0]
    assert family_loss(both, uniform) == family_loss(both, changed)


def test_the_average_takes_what_helps(corpus: Path, tmp_path: Path) -> None:
    study = Study(corpus, None, None, tmp_path)
    truth = study.data.targets.astype(np.float64)
    odd = np.arange(len(truth)) % 2 == 1
    guess = np.full_like(truth, 1 / 6)
    answers = {
        "odd": np.where(odd[:, None], 0.9 * truth + 0.1 / 6, guess), "guess": guess,
        "even": np.where(odd[:, None], guess, 0.9 * truth + 0.1 / 6),
    }  # fmt: skip
    assert set(greedy_average(study, answers)) == {"odd", "even"}
    unsure = 0.2 * truth + 0.8 / 6
    assert best_temperature(study, unsure) < 1.0
    np.testing.assert_allclose(tempered(np.array([[0.5, 0.25, 0.25]]), 0.5), [[2 / 3, 1 / 6, 1 / 6]])


def test_features_are_kept_on_disk(corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shards = Corpus.open(corpus)
    names, first = patterns.pattern_table(shards, [0, 3], keep=tmp_path / "kept.npz")
    window = shards.window(3)
    np.testing.assert_allclose(
        first[1], list(pattern_features(window.data, window.sfreq).values()), rtol=1e-5, atol=1e-5
    )
    monkeypatch.setattr(patterns.patterns, "pattern_features", lambda *_: pytest.fail("was kept"))
    again, second = patterns.pattern_table(shards, [3, 0], keep=tmp_path / "kept.npz")
    assert again == names
    np.testing.assert_array_equal(second, first[::-1])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--members", "oracle"], "unknown members oracle"),
        (["--members", "patterns/extra-trees", "linear-probe/pretrained"], "needs --encoder"),
    ],
)
def test_bad_options(options: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        main(["--corpus", str(tmp_path), "--output", str(tmp_path / "out"), *options])
    assert left.value.code == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_corpus_of_others_is_refused(make_toy_shards, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:  # type: ignore[no-untyped-def]
    shards = make_toy_shards(n_sites=1, n_subjects=1, n_windows=2, window_s=50.0)
    with pytest.raises(SystemExit) as left:
        main(["--corpus", str(shards), "--output", str(tmp_path / "out")])
    assert left.value.code == 2
    assert "no family to learn from" in capsys.readouterr().err
    assert "resnet-gru" in MEMBERS
