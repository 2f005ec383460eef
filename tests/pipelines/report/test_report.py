import json
import re
from collections import Counter
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.report.page import page
from pipelines.report.report import read_facts
from pipelines.report.traces import STEP_UV, extremes
from pipelines.runs.accounting import Accounts, Counts, run_counts
from pipelines.stages.plan_files import covered_s
from signals.modality import EEG_1020
from signals.shards.manifest import read_manifest
from signals.shards.records import decode_window
from signals.shards.tfrecord import read_shard
from signals.windows.blocks import WindowStart


@pytest.fixture
def facts(finished):
    return read_facts(str(finished[1]))


def test_the_page_is_made_of_run_json_alone(finished, facts):
    assert (finished[1] / "report.html").read_text() == page(facts)


def test_the_page_needs_nothing_else(finished):
    html = (finished[1] / "report.html").read_text()
    assert "<script" not in html
    assert not re.search(r"(?:src|href)=|url\(|@import|https?://", html)
    stack = []

    class Balanced(HTMLParser):
        def handle_starttag(self, tag, attrs):
            if tag not in {"meta", "br", "rect", "circle", "line", "path"}:
                stack.append(tag)

        def handle_endtag(self, tag):
            if tag not in {"meta", "br", "rect", "circle", "line", "path"}:
                assert stack.pop() == tag

    Balanced().feed(html)
    assert stack == []


def test_the_page_has_the_accounting(finished, facts):
    text = re.sub(r"<[^>]+>", " ", page(facts))
    # 4 of 5 files, 65 s each: 240 of 260 s lie in windows.
    assert re.search(r"5 files came in from 2 sites,\s+4\s+were used and\s+1\s+left out", text)
    assert "92.3%" in text
    assert "corrupt_header" in text
    assert "Header and file size contradict each other: export it again." in text
    assert "The run completed, and its accounting adds up." in text


def test_decisions_on_quality_are_those_of_the_records(facts, finished):
    shards = read_manifest(finished[1]).shards
    stored = [decode_window(record) for shard in shards for record in read_shard(finished[1] / shard.path)]
    counted = {
        site: dict(Counter(window.quality_verdict for window in stored if window.site_id == site))
        for site in ("north", "south")
    }
    assert {site: entry.sums.decisions for site, entry in facts.counts.sites.items()} == counted


def test_decisions_on_quality_on_the_page(facts):
    def row(decisions):
        site = facts.counts.sites["north"]
        sites = {"north": replace(site, sums=replace(site.sums, decisions=decisions))}
        html = page(replace(facts, counts=replace(facts.counts, sites=sites)))
        text = re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", html))
        return text, re.search(r"Good .*? north ([^A-Za-z]*)", text)

    # 12 windows; artifacts speak against 1 + 2 of them, noise against 2: 25.0% and 16.7%.
    text, found = row({"good": 9, "artifacts": 1, "artifacts+noise": 2})
    assert found.group(1).split() == ["12", "9", "75.0%", "0", "0", "25.0%", "0", "16.7%"]
    assert "Of the windows of site north" not in text
    text, _ = row({"good": 1, "noise": 2})
    assert "Of the windows of site north 33.3% are of good quality." in text
    text, found = row({})  # of a set written before decisions were stored
    assert found is None


def test_counters_of_every_stage(facts):
    stages = facts.timings.stages
    # 5 files looked at, 24 windows written, an example of each of 2 sites.
    assert {name: stages[name]["elements"] for name in ("plan", "write", "example")} == {
        "plan": 5, "write": 24, "example": 2,
    }  # fmt: skip
    assert stages["write"]["bytes"] == facts.counts.n_bytes
    assert stages["quarantine"] == {"corrupt_header": 1}
    assert facts.timings.wall_s > 0


def test_a_run_whose_launcher_left(facts):
    assert "The job ended without its launcher" in page(replace(facts, timings=None))


def test_examples_are_one_a_site_before_and_after(facts, finished):
    assert [example.site_id for example in facts.examples] == ["north", "south"]
    known = {
        row["recording_id"] for row in map(json.loads, (finished[1] / "recordings.jsonl").read_text().splitlines())
    }
    for example in facts.examples:
        assert example.recording_id in known
        assert [row.name for row in example.before] == list(EEG_1020.ch_names)
        # The noise of these files is 20 µV; the average reference takes a nineteenth of its power, the band little more.
        for side in (example.before, example.after):
            peak = np.abs([row.values for row in side]).max() * STEP_UV
            assert 40 < peak < 150


def test_a_page_without_any_window(facts):
    accounts = Accounts(
        accepted=[], rejected={}, shards=[], sums={}, subjects={}, labels=[],
        left_out=[{"site_id": "north", "reason": "no_samples", "hours": None, "file_id": "0" * 16}],
    )  # fmt: skip
    counts = run_counts(accounts, n_side_files=0, window_s=10)
    assert Counts.from_dict(counts.to_dict()) == counts
    html = page(replace(facts, counts=counts, examples=(), shard_bytes=(), complaint="no window was written"))
    assert "The run failed: no window was written" in html
    assert "nan" not in html


def test_words_from_files_are_escaped(facts):
    sites = {"<b>north</b>" if site == "north" else site: entry for site, entry in facts.counts.sites.items()}
    first = replace(facts.examples[0], label="<script>")
    html = page(replace(facts, counts=replace(facts.counts, sites=sites), examples=(first,)))
    assert "<b>north" not in html
    assert "<script" not in html


def test_every_run_draws_the_same_examples(finished, facts, tmp_path):
    from pipelines.preprocess import main

    clinics = finished[0]
    args = [
        "--input",
        str(clinics),
        "--labels",
        str(clinics / "labels.csv"),
        "--salt",
        "secret",
        "--site-from",
        "folder",
    ]
    assert main([*args, "--output", str(tmp_path / "again"), "--shard-mb", "0.2"]) == 0
    again = read_facts(str(tmp_path / "again"))
    # Other shards, the same examples, and numbers without a gap.
    assert again.examples == facts.examples
    assert len(again.shard_bytes) > len(facts.shard_bytes)


@given(
    x=st.lists(st.floats(-500, 500) | st.just(np.nan), min_size=1, max_size=400),
    n_bins=st.integers(1, 50),
)
def test_extremes_keep_every_peak(x, n_bins):
    x = np.array(x)
    values = extremes(x, n_bins)
    known = [value for value in values if value is not None]
    assert len(values) == 2 * max(1, min(n_bins, len(x) // 2))
    if np.isfinite(x).any():
        assert max(known) == round(np.nanmax(x) / STEP_UV)
        assert min(known) == round(np.nanmin(x) / STEP_UV)
    else:
        assert known == []


def test_a_spike_is_drawn_where_it_is():
    x = np.zeros(2560)
    x[1280] = 300.0
    values = extremes(x, 220)
    # Sample 1280 of 2560 is the first of the second half, so it lies in the first of the second 110 bins.
    assert values.index(3000) // 2 == 110
    assert sum(value != 0 for value in values) == 1


@pytest.mark.parametrize(
    ("starts", "seconds"),
    [
        ([(0, 0), (0, 10)], 20),
        ([(0, 0), (0, 5)], 15),  # overlapping windows cover what they share once
        ([(0, 5), (0, 0)], 15),
        ([(0, 0), (1, 0)], 20),
        ([(0, 3), (0, 40)], 20),
    ],
)
def test_covered_seconds(starts, seconds):
    class Plan:
        class profile:
            signal, window_s = EEG_1020, 10

    assert covered_s(Plan, [WindowStart(segment, s * 256) for segment, s in starts]) == seconds
