from collections.abc import Callable
from pathlib import Path

from signals.tasks import SIX_CLASS
from training.corpus.corpus import Corpus
from training.corpus.labelled import labelled, with_contrast


def test_targets_know_how_many_experts_stand_behind_them(make_toy_shards: Callable[..., Path]) -> None:
    voted = labelled(Corpus.open(make_toy_shards(n_sites=1, window_s=50.0, n_windows=2)), SIX_CLASS)
    assert voted.has_votes
    # 8 for the class and 2 for Other
    assert voted.n_votes.tolist() == [10.0] * len(voted.windows)
    hard = labelled(Corpus.open(make_toy_shards(n_sites=1, window_s=50.0, n_windows=2, votes=False)), SIX_CLASS)
    assert (hard.has_votes, hard.n_votes.tolist()) == (False, [0.0] * len(hard.windows))
    kept = with_contrast(voted)
    assert len(kept.n_votes) == len(kept.windows) == len(kept.targets)
