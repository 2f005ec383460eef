"""The command over real runs: a shard set against another, against an archive's answers, with embeddings."""

import json

import numpy as np
import pytest

from cerebeam.drift import main
from evaluation.drift.drift import compare
from evaluation.drift.exposition import exposition
from evaluation.drift.facts import RecordingFacts
from pipelines.preprocess import main as preprocess
from pipelines.score import main as score
from tests.pipelines.conftest import write_edf
from tests.service.monitoring.test_watching import DRIFT
from tests.small_bundle import write_small_bundle

SALT = ("--salt", "s", "--site-from", "folder")


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Sixteen recordings of a site as shards; as many of another rate as shards and as answers; a bundle."""
    root = tmp_path_factory.mktemp("runs")
    bundle = write_small_bundle(root / "small")
    for name, sfreq in (("before", 200), ("now", 256)):
        for number in range(16):
            write_edf(root / name / "north" / f"{number}.edf", seconds=60, sfreq=sfreq, seed=number + sfreq)
        args = ["--input", str(root / name), "--output", str(root / f"{name}-shards"), *SALT]
        assert preprocess(args) == 0
    args = ["--input", str(root / "now"), "--bundle", str(bundle), "--output", str(root / "answers"), *SALT]
    assert score(args) == 0
    return root


def test_a_change_of_rate_is_found_in_shards_and_in_answers(runs, tmp_path, capsys):
    args = ["--corpus", str(runs / "before-shards"), "--current", str(runs / "now-shards")]
    metrics = tmp_path / "metrics" / "drift.prom"
    metrics.parent.mkdir()
    assert main([*args, "--bundle", str(runs / "small"), "--metrics", str(metrics), "--fail"]) == 1
    out = capsys.readouterr().out
    assert "site north: 16 recordings, against itself" in out
    assert "DRIFT rate_hz" in out
    assert "embedding_distance" in out
    assert 'cerebeam_drift_found{site="north",fact="rate_hz"} 1' in metrics.read_text()
    assert main([*args[:2], "--current", str(runs / "answers"), "--json"]) == 0
    (site,) = map(json.loads, capsys.readouterr().out.splitlines())
    assert site["facts"][0]["fact"] == "rate_hz"
    assert main([*args[:2], "--current", str(runs / "before-shards"), "--fail"]) == 0


@pytest.mark.parametrize("missing", ["--corpus", "--current", "--bundle"])
def test_what_is_no_run_is_one_line(runs, tmp_path, capsys, missing):
    places = {"--corpus": runs / "before-shards", "--current": runs / "now-shards", "--bundle": runs / "small"}
    args = [part for name, place in (places | {missing: tmp_path}).items() for part in (name, str(place))]
    assert main(args) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_the_metrics_that_the_watching_tests_leave_are_those_of_the_command():
    def site(seed):
        values = np.random.default_rng(seed).normal(size=20)
        return [RecordingFacts(recording_id=f"{seed}-{k}", site_id="a", numbers={"x": v}, words={"mains_hz": "50"})
                for k, v in enumerate(values)]  # fmt: skip

    text = exposition(compare(site(0), site(1)), at=0.0)
    names = {line.split("{")[0].split()[0] for line in text.splitlines() if not line.startswith("#")}
    assert names == {line.split("{")[0].split()[0] for line in DRIFT.splitlines() if not line.startswith("#")}
