"""Every figure of the page, by hand from small facts: what a cell shows, which line appears, and when none does."""

import re
from dataclasses import replace
from html import unescape

import pytest

from pipelines.report.advice import ADVICE, NOTES
from pipelines.report.facts import RunFacts, Timings
from pipelines.report.page import page
from pipelines.report.traces import Example, Row
from pipelines.runs.accounting import Counts, FileCounts, Hours, LabelCounts, SiteCounts, WindowCounts
from signals.description.artifacts import KINDS
from signals.shards.tally import Sums

NORTH = SiteCounts(
    files_accepted=1200, files_quarantined=3, files_by_reason={"no_samples": 1, "too_short": 2},
    hours=Hours(accepted=1500, covered=1400, uncovered=100, quarantined=34, written=1400, rejected=1),
    windows=4000, windows_rejected=7, windows_by_reason={"flat": 7}, n_bytes=2_500_000, shards=2,
    native_sfreqs={"200": 1000, "256": 200}, mains_hz={"50 given": 1200}, readers={"edf": 1200},
    notes={"gaps": 5}, bad_channels={"T3": 4}, subjects=1100, labels_refused={"label_out_of_range": 3},
    amplitude_uv={"min": 1.0, "q25": 5.0, "median": 10.0, "q75": 20.0, "max": 100.0},
    sums=Sums(classes={"": 10, "LPD": 30, "GPD": 20}, quality=(0, 0, 0, 0, 0, 0, 0, 0, 1000, 3000),
              channel_seconds={"all": 10_000, "flat": 2500, "muscle": 4, "gap": 0}),
)  # fmt: skip
SOUTH = replace(
    NORTH, files_accepted=1, files_quarantined=2, files_by_reason={"too_short": 2}, windows=1, windows_rejected=0,
    windows_by_reason={}, hours=Hours(accepted=0.5, covered=0.25, uncovered=0.25), n_bytes=1, shards=1,
    native_sfreqs={"200": 1}, mains_hz={}, notes={}, subjects=1, labels_refused={}, sums=Sums(),
)  # fmt: skip
WEST = replace(
    SOUTH, files_accepted=0, files_quarantined=1, files_by_reason={"no_samples": 1}, windows=0, hours=Hours(),
    n_bytes=0, shards=0, subjects=0, native_sfreqs={}, readers={}, amplitude_uv={},
)  # fmt: skip
COUNTS = Counts(
    files=FileCounts(n_in=1207, accepted=1201, quarantined=6, side_files=9, by_reason={"too_short": 4}, copies=1),
    windows=WindowCounts(planned=4008, written=4001, rejected=7, by_reason={"flat": 7}),
    hours=Hours(
        accepted=1500.5, covered=1400.25, uncovered=100.25, quarantined=34, quarantined_files_of_unknown_length=2,
        written=1400, rejected=1,
    ),
    n_bytes=2_500_001, sources_digest="d" * 64, sites={"north": NORTH, "south": SOUTH, "west": WEST},
    labels=LabelCounts(n_in=2000, refused=3),
)  # fmt: skip
ROWS = (Row(name="Fp1", values=(0, 100)), Row(name="F3", values=None))
EXAMPLE = Example(
    site_id="north", recording_id="ab" * 8, label="LPD", start_s=130.5, native_sfreq=200.0, sfreq=256.0,
    band=(0.5, 90.0), mains_hz=50.0, before=ROWS, after=ROWS, ch_state=(1, 0), flags=((0,), (0,)),
)  # fmt: skip
FACTS = RunFacts(
    complaint=None, profile={"name": "pretrain", "modality": "eeg_1020", "window_s": 10, "cleaning": {"ica": False}}, ch_names=("Fp1", "F3"),
    sfreq=256.0, unit="uV", config_hash="c" * 16, code_version="0.1+abc", salt_id="e" * 16, options={"shard_mb": 64.0},
    versions={"python": "3.11"}, counts=COUNTS, shard_bytes=(1_000_000, 1_600_000), examples=(EXAMPLE,),
    timings=Timings(
        wall_s=120.0, runner="two processes",
        stages={"plan": {"elements": 1207, "milliseconds": 3000}, "quarantine": {"too_short": 4},
                "write": {"elements": 4001, "bytes": 2_500_001, "milliseconds": 1_500_000}},
    ),
)  # fmt: skip


def plain(html):
    return " ".join(unescape(re.sub(r"<[^>]+>", " ", html)).split())


def tables(html):
    """{first heading and last: rows of cells as plain text}."""
    found = {}
    for table in re.findall(r"<table>.*?</table>", html, re.DOTALL):
        head = [plain(cell) for cell in re.findall(r"<th.*?</th>", table)]
        rows = re.findall(r"<tr>(.*?)</tr>", table.split("<tbody>")[1])
        found[head[0], head[-1]] = [[plain(cell) for cell in re.findall(r"<td.*?</td>", row)] for row in rows]
    return found


def listed(html):
    return dict(re.findall(r"<tr><td>([^<]*)</td><td><code>([^<]*)</code>", html))


@pytest.fixture
def html():
    """The page of FACTS."""
    return page(FACTS)


@pytest.fixture
def text(html):
    """What a reader sees of it."""
    return plain(html)


def test_the_first_sentences(html, text):
    assert "The run completed, and its accounting adds up." in text
    # 1400.25 of 1500.5 + 34 hours.
    assert (
        "1,207 files came in from 3 sites, 1,201 were used and 6 left out. Of 1,534 h of recording that could be read, "
        "91.3% lies in windows; 4,001 windows of 10 s were written, 7 rejected. "
        "The length of 2 of the files left out could not be read."
    ) in text
    assert (
        "1,534 hours read 1,400 hours in windows 4,001 windows 1,101 subjects 2.5 MB of shards 6 files left out" in text
    )
    assert "Profile pretrain, code 0.1+abc." in text
    assert "<title>Run report: pretrain</title>" in html


def test_a_failed_run_states_so_first():
    text = plain(page(replace(FACTS, complaint="a < b")))
    assert "The run failed: a < b. No shards were kept" in text
    assert "The run completed" not in text


def test_one_of_everything():
    counts = replace(
        COUNTS, files=FileCounts(n_in=1, accepted=1, quarantined=0, side_files=0, by_reason={}),
        windows=WindowCounts(planned=1, written=1, rejected=0, by_reason={}), hours=Hours(accepted=0.5, covered=0.5),
        labels=LabelCounts(), sites={"south": replace(SOUTH, files_quarantined=0, files_by_reason={})},
    )  # fmt: skip
    text = plain(page(replace(FACTS, counts=counts)))
    assert "1 file came in from 1 site, 1 were used" in text
    assert "Of 0.50 h of recording that could be read, 100.0% lies in windows" in text
    assert "written and none was rejected." in text
    for absent in ("could not be read", "Look at this", "Labels refused", "Time that no window", "Remarks", "by label"):
        assert absent not in text, absent
    assert "No file was left out." in text
    assert "No window was rejected." in text


@pytest.mark.parametrize(
    ("hours", "shown"),
    [(999.94, "999.9"), (1000.0, "1,000"), (12345.6, "12,346"), (100.0, "100.0"), (99.994, "99.99"), (0.0, "0.00")],
)
def test_hours_have_three_digits_or_more(hours, shown):
    counts = replace(COUNTS, hours=Hours(accepted=hours, covered=hours))
    assert f"Of {shown} h of recording" in plain(page(replace(FACTS, counts=counts)))


def test_what_a_person_should_look_at(text):
    assert text.count("Look at this.") == 4
    assert "1 file had the content of another one and were left out as copies." in text
    assert "3 of 2,000 labels were refused; the recordings were used without." in text
    assert "Most files of site south were left out." in text
    assert "Nothing of site west was used." in text
    # As many used as left out is not most.
    even = replace(COUNTS, sites={"south": replace(SOUTH, files_accepted=2)}, labels=LabelCounts())
    assert "Most files" not in page(replace(FACTS, counts=even))


def test_the_table_of_sites(html):
    start = html.index("<h2>Sites</h2>")
    assert re.findall(r"<th(?: [^>]*)?>([^<]*)", html[start : html.index("</table>", start)]) == [
        "Site", "Files used", "Subjects", "Hours in", "In windows", "Windows", "MB", "Native Hz", "Mains Hz", "Reader",
    ]  # fmt: skip
    assert tables(html)["Site", "Reader"] == [
        ["north", "1,200 3 left out", "1,100", "1,534", "1,400", "4,000 7 rejected", "2.5 2 shards",
         "200 ×1,000 256 ×200", "50 given", "edf"],
        ["south", "1 2 left out", "1", "0.50", "0.25", "1", "0.0 1 shard", "200", "–", "edf"],
        ["west", "0 1 left out", "0", "0.00", "0.00", "0", "0.0", "–", "–", "–"],
    ]  # fmt: skip


def test_artifacts_are_shares_of_the_channel_seconds(html):
    ((site, *cells),) = tables(html)["Site", KINDS[-1]]
    assert site == "north"  # the others have no windows, so no row
    shown = dict(zip(KINDS, cells, strict=True))
    assert (shown.pop("flat"), shown.pop("muscle")) == ("25.0%", "<0.1%")
    assert set(shown.values()) == {"0"}
    # 0.6 x sqrt(0.25), 0.6 x sqrt(0.0004)
    assert re.findall(r"rgba\(179,38,30,([\d.]+)\)", html) == (
        ["0.30", "0.01"] if KINDS.index("flat") < KINDS.index("muscle") else ["0.01", "0.30"]
    )
    none = replace(COUNTS, sites={"south": SOUTH})
    assert "Artifacts, share" not in page(replace(FACTS, counts=none))


def test_a_share_of_half_a_per_mille_is_shown():
    sums = replace(NORTH.sums, channel_seconds={"all": 10_000, "flat": 5})
    html = page(replace(FACTS, counts=replace(COUNTS, sites={"north": replace(NORTH, sums=sums)})))
    assert "0.1%" in tables(html)["Site", KINDS[-1]][0]


def test_labels_of_windows_the_commonest_first(html):
    assert tables(html)["Site", "Labels"] == [["north", "LPD 30 · GPD 20 · without 10"]]
    assert "<th class=words>Labels<" in html
    unlabelled = replace(NORTH, sums=Sums(classes={"": 40}, quality=(40,)))
    assert "Windows by label" not in page(replace(FACTS, counts=replace(COUNTS, sites={"north": unlabelled})))


def test_losses_come_with_advice(html, text):
    found = tables(html)
    assert found["Reason", "Files"] == [
        [f"no_samples {ADVICE['no_samples']}", "north", "1"],
        [f"no_samples {ADVICE['no_samples']}", "west", "1"],
        [f"too_short {ADVICE['too_short']}", "north", "2"],
        [f"too_short {ADVICE['too_short']}", "south", "2"],
    ]
    assert found["Reason", "Windows"] == [[f"flat {ADVICE['flat']}", "north", "7"]]
    assert found["Reason", "Labels"] == [[f"label_out_of_range {ADVICE['label_out_of_range']}", "north", "3"]]
    assert found["Note", "Files"] == [[f"gaps {NOTES['gaps']}", "north", "5"]]
    assert "Time that no window covers: 100.2 h" in text
    assert "shorter than a window of 10 s" in text


def test_the_most_of_a_reason_comes_first():
    south = replace(SOUTH, files_by_reason={"too_short": 9, "flux": 1})
    html = page(replace(FACTS, counts=replace(COUNTS, sites={"north": NORTH, "south": south})))
    # A reason without advice stands by its name.
    assert [row[0].split()[0] + row[1] + row[2] for row in tables(html)["Reason", "Files"]] == [
        "fluxsouth1", "no_samplesnorth1", "too_shortsouth9", "too_shortnorth2",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("mains_hz", "words"),
    [(50.0, ", mains 50 Hz taken out."), (90.0, ", mains 90 Hz taken out."), (100.0, ", mains 100 Hz beyond the band."),
     (None, "band 0.5 to 90 Hz.")],
)  # fmt: skip
def test_the_caption_of_an_example(mains_hz, words):
    text = plain(page(replace(FACTS, examples=(replace(EXAMPLE, mains_hz=mains_hz),))))
    assert "Recording abababababababab from second 130.5, label LPD; band 0.5 to 90 Hz" in text
    assert words in text


def test_examples_are_drawn_before_and_after(html):
    # 90% of the swings of Fp1 lie below 10 µV: 2.2 times that is 22, rounded up to 50 µV from row to row.
    assert html.index("Before: as read, 200 Hz") < html.index("After: prepared, 256 Hz")
    assert html.count("rows lie 50 µV apart") == 2
    without = page(replace(FACTS, examples=()))
    assert "Before and after" not in without
    assert "label LPD" not in page(replace(FACTS, examples=(replace(EXAMPLE, label=""),)))


def test_where_the_time_went(html, text):
    assert tables(html)["Stage", "Share"] == [
        ["plan", "1,207", "0.0", "3.0", "0.2%"],
        ["write", "4,001", "2.5", "1,500.0", "99.8%"],
    ]
    # 1500.5 h in two minutes.
    assert "1,500 h of EEG in 120.0 s by the wall clock, start of the runner included: 750.2 h per minute" in text
    assert "0.0 MB of shards per second, on two processes." in text
    fast = replace(FACTS, timings=Timings(wall_s=0.5, runner="one", stages={}))
    assert "5.0 MB of shards per second" in plain(page(fast))
    assert "The runner gave no counters." in page(fast)
    assert "The job ended without its launcher" in page(replace(FACTS, timings=None))


def test_how_to_repeat(html):
    shown = listed(html)
    assert shown == {
        "code": "0.1+abc", "config hash": "c" * 16, "digest of the recordings used": "d" * 64,
        "salt (which, not what)": "e" * 16, "python": "3.11", "shard_mb": "64.0", "shards": "2, 1.0 to 1.6 MB",
        "name": "pretrain", "modality": "eeg_1020", "window_s": "10", "cleaning.ica": "False",
    }  # fmt: skip
    assert html.index(">python<") < html.index("<h3>Profile</h3>") < html.index(">cleaning.ica<")
    assert "shards" not in listed(page(replace(FACTS, shard_bytes=())))


def test_sections_in_their_order(html):
    headings = re.findall(r"<h2>(.*?)</h2>", html)
    assert headings == ["Sites", "What was lost, and what to do about it", "Before and after", "Where the time went",
                        "How to repeat"]  # fmt: skip


def test_facts_go_through_json():
    import json

    fields = json.loads(json.dumps(FACTS.to_dict()))
    assert RunFacts.from_dict(fields) == FACTS
    assert fields["signal"] == {"ch_names": ["Fp1", "F3"], "sfreq": 256.0, "unit": "uV"}
    assert fields["schema_version"] == 1
    assert not {"ch_names", "sfreq", "unit"} & set(fields)
    assert RunFacts.from_dict({**fields, "timings": None}).timings is None
