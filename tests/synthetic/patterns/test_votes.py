import numpy as np

from signals.tasks import SIX_CLASS
from synthetic.patterns.votes import draw_votes


def shares(label: str, clarity: float, **where: object) -> np.ndarray:
    rng = np.random.default_rng(0)
    votes = np.array([draw_votes(rng, label, clarity=clarity, **where) for _ in range(300)])  # type: ignore[arg-type]
    return votes.sum(axis=0) / votes.sum()


def test_clear_patterns_unite_the_experts() -> None:
    for label in SIX_CLASS.classes:
        own = SIX_CLASS.classes.index(label)
        assert shares(label, 1.0)[own] > 0.95  # drawn with 0.98
        assert 0.42 < shares(label, 0.0)[own] < 0.75  # drawn with 0.42, then made the majority


def test_doubt_follows_the_known_confusions() -> None:
    seizure, lpd, gpd, lrda, grda, _ = range(6)
    of_lpd, of_gpd = shares("LPD", 0.2), shares("GPD", 0.2)
    assert of_lpd[lrda] > of_lpd[grda]
    assert of_gpd[grda] > of_gpd[lrda]
    assert shares("LPD", 0.2, rate_hz=2.5)[seizure] > 1.5 * of_lpd[seizure]
    focal, general = shares("Seizure", 0.2, lateral=True), shares("Seizure", 0.2, lateral=False)
    assert focal[lpd] > focal[gpd]
    assert general[gpd] > general[lpd]
