"""The shard set of the wide generator is one that every command on shard sets takes."""

import json
from pathlib import Path

import numpy as np
import pytest

from pipelines.shards import main as shards
from signals.shards.manifest import read_manifest
from signals.shards.records import decode_window
from signals.shards.tfrecord import read_shard
from signals.tasks import SIX_CLASS
from synthetic import critical_corpus
from synthetic.critical_corpus import CorpusPlan, write_corpus
from synthetic.segments.families import Family, draw_segment
from synthetic.subject.carriers import Carrier


@pytest.fixture(scope="module")
def corpus(tmp_path_factory) -> Path:
    return write_corpus(tmp_path_factory.mktemp("critical") / "set", CorpusPlan(segments=6, held_out=6, seed=3))


def test_verify_takes_the_set_and_counts_agree(corpus, capsys):
    assert shards(["verify", str(corpus)]) == 0
    assert "12 windows in 2 shards of 2 sites" in capsys.readouterr().out
    counts = read_manifest(corpus).counts
    assert counts["windows"] == {"written": 12}
    # One window per class and family: classes come in turn.
    assert {site: entry["classes"] for site, entry in counts["sites"].items()} == {
        site: dict.fromkeys(sorted(SIX_CLASS.classes), 1) for site in ("simulated", "original")
    }


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (lambda m: m["counts"]["sites"]["simulated"].update(windows=7), "counts 7 windows of simulated"),
        (lambda m: m["counts"]["sites"].pop("simulated"), "shards of simulated, but no counts"),
        (lambda m: m["counts"]["sites"]["original"]["classes"].update(LPD=2), "classes of original"),
        (lambda m: m["counts"].update(files={"in": 1}), "files.jsonl is missing"),
    ],
)
def test_verify_notices_a_changed_manifest(corpus, capsys, change, problem):
    path = corpus / "manifest.json"
    whole = path.read_text()
    fields = json.loads(whole)
    change(fields)
    try:
        path.write_text(json.dumps(fields))
        assert shards(["verify", str(corpus)]) == 1
    finally:
        path.write_text(whole)
    assert problem in "".join(capsys.readouterr())


@pytest.mark.parametrize("command", [["stats"], ["merge", "--output", "x"]])
def test_what_needs_recordings_refuses_in_one_line(corpus, capsys, tmp_path, monkeypatch, command):
    monkeypatch.chdir(tmp_path)
    name, *options = command
    folders = [str(corpus)] * (2 if name == "merge" else 1)
    assert shards([name, *folders, *options]) == 1
    assert "made by a generator" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_one_seed_gives_one_set_and_a_longer_plan_begins_with_the_same_windows(corpus, tmp_path):
    again = write_corpus(tmp_path / "again", CorpusPlan(segments=7, held_out=0, seed=3))
    (first,) = [list(read_shard(path)) for path in corpus.glob("site=simulated/*.snappy")]
    (second,) = [list(read_shard(path)) for path in again.glob("site=simulated/*.snappy")]
    assert second[:6] == first
    assert decode_window(second[6]).key not in {decode_window(record).key for record in first}


def test_bad_options_leave_nothing(tmp_path, capsys):
    assert critical_corpus.main(["--output", str(tmp_path / "x"), "--segments", "5"]) == 2
    assert "segments=5 must be at least 6" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("sites", "problem"),
    [
        ({"carried": ("a",), "faint-and-uneven": ("b", "a")}, "sites a are both learnt from and held out"),
        (
            {"simulated": ("a",)},
            "no family on real backgrounds is called simulated; there are carried, faint-and-uneven",
        ),
    ],
)
def test_a_plan_refuses_sites_that_leak_or_that_nothing_lies_on(sites, problem):
    with pytest.raises(ValueError, match=problem):
        CorpusPlan(segments=6, held_out=6, seed=0, carrier_sites=sites)


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ([], "--carriers needs --carrier-sites"),
        (
            ["--carrier-sites", "carried=simulated,nowhere"],
            "no usable recording is of nowhere; sites of --carriers: orig",
        ),
        (["--carrier-sites", "carried"], "--carrier-sites carried: give each family once"),
        (["--carrier-sites", "carried=a,,b"], "give each family once, as FAMILY=SITE,SITE"),
        (["--carrier-sites", "carried=a", "carried=b"], "give each family once"),
    ],
)
def test_carriers_without_a_place_are_refused_in_one_line(corpus, tmp_path, capsys, options, problem):
    command = ["--output", str(tmp_path / "x"), "--carriers", str(corpus), "--segments", "6", *options]
    assert critical_corpus.main(command) == 2
    err = capsys.readouterr().err
    assert problem in err
    assert err.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_each_family_lies_on_its_own_sites():
    carriers = [
        Carrier(data=np.full((19, 2), n), ch_state=np.full(19, 2), site_id=site, subject_id="s", recording_id="r")
        for n, site in enumerate("abca")
    ]
    plan = CorpusPlan(segments=6, held_out=7, seed=0, carrier_sites={"carried": ("c", "a"), "unseen-sites": ("b",)})
    planned = {family.name: (n, [c.site_id for c in own]) for family, n, own in plan.families(carriers)}
    assert planned == {
        "simulated": (6, []), "carried": (6, ["c", "a", "a"]), "original": (7, []), "unseen-sites": (7, ["b"]),
    }  # fmt: skip
    with pytest.raises(ValueError, match="'carried' needs real backgrounds, and was given none"):
        draw_segment(np.random.default_rng(0), label="LPD", family=Family(name="carried", carriers=1.0))
