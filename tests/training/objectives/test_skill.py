"""Skill is 0 for what needs no network, 1 for the best in reach, and decides what is published."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from model.encoder import Encoder
from model.encoder_config import sized
from model.pretraining.pretraining import PretrainModel
from signals.shards.normalise import Normaliser
from training import publish
from training.corpus.corpus import Corpus
from training.objectives.skill import PARTS, SKILL_FILE, Skill, read_skill, write_skill
from training.objectives.skill_meter import Products, SkillMeter
from training.provenance import SUBJECTS_FILE

WINDOW = Normaliser(kind="window")
GOOD = Skill(
    gaps=0.1, channels=0.4, seconds=float("nan"), n_windows=9, n_subjects=3, intervals={"channels": (0.3, 0.5)}
)


def untrained(*heads: str) -> PretrainModel:
    torch.manual_seed(0)
    encoder = Encoder(sized("tiny", dim=16, depth=1, n_heads=2, stem_dim=16))
    return PretrainModel(encoder, dict.fromkeys(("reconstruction", *heads), 1.0))


def measured(shards: Path, model: PretrainModel, filling: str = "window") -> Skill:
    corpus = Corpus.open(shards)
    people = sorted({entry.subject_id for entry in corpus.entries})
    held_out = [n for n, entry in enumerate(corpus.entries) if entry.subject_id == people[0]]
    trained = [n for n, entry in enumerate(corpus.entries) if entry.subject_id != people[0]]
    meter = SkillMeter(model=model, filling=filling, seed=0)  # type: ignore[arg-type]
    meter.add_corpus(corpus, WINDOW, trained=trained, held_out=held_out, max_windows=8)
    return meter.skill()


class Knows(PretrainModel):
    """Reconstructs the truth itself, but for a share of the error of what it is given."""

    share = 0.0

    def reconstruct(self, batch: dict[str, Tensor]) -> Tensor:  # type: ignore[override]
        return batch["x_BCT"] + self.share * (batch["filled_BCT"] - batch["x_BCT"])


def test_a_network_that_adds_nothing_to_its_filling_has_no_skill_in_gaps(toy_shards: Path) -> None:
    # Heads start at zero, so an untrained network gives back what it is given.
    known = measured(toy_shards, untrained())
    assert known.gaps == 0.0
    assert np.isnan(known.seconds)
    assert known.n_subjects == 1
    # From the line instead, it is worse than the window's own filling, and is not excused by where it starts.
    assert measured(toy_shards, untrained(), "line").gaps < -0.05


def test_the_truth_has_all_the_skill_there_is_and_errors_count_as_squares(toy_shards: Path) -> None:
    knows = Knows(untrained().encoder, {"reconstruction": 1.0})
    known = measured(toy_shards, knows)
    assert known.gaps == pytest.approx(1.0, abs=1e-6)
    assert known.channels >= 1.0  # even the ridge of the very recording makes errors
    knows.share = 0.5
    assert measured(toy_shards, knows).gaps == pytest.approx(1 - 0.25, abs=1e-4)  # half of the error, squared


def test_spectra_of_hidden_seconds_are_compared_with_their_neighbours(toy_shards: Path) -> None:
    model = untrained("spectral")
    head = model.heads["spectral"]
    masks: list[Tensor] = []

    def exact(out: dict[str, Tensor], batch: dict[str, Tensor]) -> dict[str, Tensor]:
        masks.append(batch["mask_BCT"])
        return {"spectra_BCNF": model.encoder.spectra(batch["x_BCT"])}

    untaught = measured(toy_shards, model).seconds
    assert untaught < 0  # a fresh head says 0 or so for every line
    head.forward = exact  # type: ignore[method-assign]
    assert measured(toy_shards, model).seconds == pytest.approx(1.0)
    whole = masks[0][0].unflatten(-1, (-1, model.encoder.config.token_times))
    assert set(whole.float().mean(-1).flatten().tolist()) == {0.0, 1.0}  # whole seconds, in all channels at once
    assert (whole.any(-1).any(0) == whole.all(-1).all(0)).all()


def test_a_ridge_of_products_is_that_of_the_samples() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(5, 5)) @ rng.normal(size=(5, 4000))
    measured_all = np.ones(5, bool)
    products = Products.none(5)
    for part in np.split(x, 4, axis=1):  # windows
        products.add(part, measured_all)
    gone = np.array([True, False, False, True, False])
    weights = products.ridge(gone, ~gone)
    # Against the mean of the visible channels, and in sums: (Xv Xv' + penalty) w = Xv xh'.
    shown = x - x[~gone].mean(axis=0)
    own = shown[~gone] @ shown[~gone].T
    penalty = 0.03 * own.trace() / 3
    expected = np.linalg.solve(own + penalty * np.eye(3), shown[~gone] @ shown[gone].T).T
    assert weights is not None
    np.testing.assert_allclose(weights, expected, rtol=1e-6)
    never = Products.none(5)
    never.add(x, np.array([True, True, True, False, True]))
    assert never.ridge(gone, ~gone) is None  # the fourth was never measured


def test_a_skill_file_comes_back_and_others_are_refused(tmp_path: Path) -> None:
    write_skill(tmp_path, GOOD)
    back = read_skill(tmp_path)
    assert back.measured == {"gaps": 0.1, "channels": 0.4}
    assert np.isnan(back.seconds)
    assert back.intervals == GOOD.intervals
    assert np.isnan(back.interval("gaps")).all()
    assert str(back) == "skill on 3 held-out people, 9 windows: gaps +0.100, channels +0.400 [+0.300, +0.500]"
    (tmp_path / SKILL_FILE).write_text(json.dumps({"gaps": 1.0}))
    with pytest.raises(ValueError, match="is no skill file"):
        read_skill(tmp_path)
    with pytest.raises(FileNotFoundError, match="pretrain again"):
        read_skill(tmp_path / "elsewhere")


@pytest.fixture
def finished(tmp_path: Path) -> Callable[[Skill], Path]:
    def write(skill: Skill) -> Path:
        run = tmp_path / "run"
        (run / "encoder").mkdir(parents=True)
        untrained().encoder.save_pretrained(run / "encoder")
        (run / "encoder" / SUBJECTS_FILE).write_text("{}")
        (run / "reconstruction.parquet").write_bytes(b"rows")
        for folder in (run, run / "encoder"):
            write_skill(folder, skill)
        return run

    return write


def test_an_encoder_of_some_skill_is_published(
    finished: Callable[[Skill], Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = finished(GOOD)
    publish.main(["--run", str(run), "--output", str(tmp_path / "out"), "--json"])
    printed = json.loads(capsys.readouterr().out)
    assert (printed["output"], printed["channels"], printed["seconds"]) == (str(tmp_path / "out"), 0.4, None)
    assert {path.name for path in (tmp_path / "out").iterdir()} >= {
        "config.json", "model.safetensors", SUBJECTS_FILE, SKILL_FILE, "reconstruction.parquet",
    }  # fmt: skip
    with pytest.raises(SystemExit) as refused:  # what is there stays
        publish.main(["--run", str(run), "--output", str(tmp_path / "out")])
    assert refused.value.code == 2


@pytest.mark.parametrize(
    ("skill", "words"),
    [
        (replace(GOOD, gaps=0.0), "adds nothing to what needs none (gaps +0.000)"),
        (replace(GOOD, seconds=-0.2, channels=-1.0), "(channels -1.000, seconds -0.200)"),
        (replace(GOOD, gaps=float("nan"), channels=float("nan")), "no skill that could be measured"),
    ],
)
def test_no_skill_is_not_published(
    skill: Skill, words: str, finished: Callable[[Skill], Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as refused:
        publish.main(["--run", str(finished(skill)), "--output", str(tmp_path / "out")])
    assert refused.value.code == 2
    assert words in capsys.readouterr().err
    assert not list(tmp_path.glob("out*"))


@pytest.mark.parametrize("part", PARTS)
def test_the_interval_of_every_part_resamples_people(part: str) -> None:
    meter = SkillMeter(model=untrained(), filling="window", seed=0)
    for person in ("a", "b"):
        meter.add(part, person, model=2.0, nothing=3.0, best=1.0)
    assert meter.skill().measured == {part: 0.5}
    assert not meter.skill().intervals  # two people say nothing about others
    meter.add(part, "c", model=4.0, nothing=6.0, best=2.0)
    assert meter.skill().intervals == {part: (0.5, 0.5)}  # all three have a skill of 0.5: so has every resample
    meter.add(part, "c", model=8.0, nothing=6.0, best=2.0)
    assert meter.skill().interval(part) == (0.0, 0.5)  # c alone, and c never, in 1 of 27 and 8 of 27 draws
    assert meter.skill().measured == {part: pytest.approx((18 - 16) / (18 - 6))}


def test_where_there_is_no_way_there_is_no_skill() -> None:
    meter = SkillMeter(model=untrained(), filling="window", seed=0)
    for person in "abc":
        meter.add("channels", person, model=1.0, nothing=2.0, best=2.0)
    assert meter.skill().measured == {}
    assert not meter.skill().intervals


def test_every_part_is_measured_by_person(toy_shards: Path) -> None:
    corpus = Corpus.open(toy_shards)
    everyone = range(len(corpus.entries))
    meter = SkillMeter(model=untrained("spectral"), filling="window", seed=0)
    meter.add_corpus(corpus, WINDOW, trained=everyone, held_out=everyone, max_windows=12)
    seen = meter.subjects
    assert len(seen) > 2
    assert {part: set(people) for part, people in meter.sums.items()} == {
        "gaps": seen, "channels": seen, "seconds": seen, "stretches": set(),
    }  # fmt: skip
