"""Every number of a run's accounting, against sums made by hand; all differ, so that none can stand for another."""

import hashlib
import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.runs.accounting import (
    COPY,
    Accounts,
    Counts,
    FileCounts,
    Hours,
    LabelCounts,
    SiteCounts,
    WindowCounts,
    complaint,
    counted,
    run_counts,
    sources_digest,
)
from signals.shards.manifest import Shard
from signals.shards.tally import Sums
from signals.windows.labels import UNKNOWN_SOURCE


def used(recording_id, site, n_windows, hours, covered, **changes):
    row = {
        "recording_id": recording_id, "site_id": site, "n_windows": n_windows, "hours": hours, "hours_covered": covered,
        "native_sfreq": 200.0, "mains_hz": 50.0, "mains_detected": True, "reader": "edf", "notes": (),
        "bad_channels": (), "amplitude_uv": 10.0, "n_labels": 0, "n_labels_merged": 0,
    }  # fmt: skip
    return row | changes


def left(site, reason, hours):
    return {"site_id": site, "reason": reason, "hours": hours, "file_id": "f" * 16}


def shard(site, number, n_windows, n_bytes):
    return Shard(path=f"{site}/{number}", site_id=site, n_windows=n_windows, n_bytes=n_bytes, sha256="0" * 64)


SUMS = {"north": Sums(classes={"LPD": 8}, quality=(0, 8)), "south": Sums(classes={"": 6}, quality=(6, 0))}
ACCOUNTS = Accounts(
    accepted=[
        used("r3", "north", 7, 1.5, 1.25, notes=("mixed_rates", "ica_skipped"), bad_channels=(("T3", "flat"),),
             amplitude_uv=30.0, n_labels=5, n_labels_merged=1),
        used("r1", "north", 4, 0.5, 0.375, native_sfreq=512.5, mains_detected=False, notes=("ica_skipped",),
             bad_channels=(("T3", "noisy"), ("O1", "flat")), amplitude_uv=None, n_labels=4, n_labels_merged=1),
        used("r2", "south", 6, 2.0, 2.0, mains_hz=None, reader="bdf", amplitude_uv=20.0, n_labels=3,
             label_source="experts"),
    ],
    left_out=[
        left("north", "no_samples", None), left("north", "too_short", 0.25), left("north", COPY, 9.0),
        left("south", "too_short", 0.125), left("south", COPY, 8.0), left("west", "too_short", 3.0),
    ],
    labels=[{"site_id": "north", "reason": "label_out_of_range"}, {"site_id": "south", "reason": "label_in_gap"},
            {"site_id": "south", "reason": "label_out_of_range"}],
    rejected={("north", "flat"): 2, ("north", "mostly_missing"): 1, ("south", "flat"): 0},
    shards=[shard("north", 0, 5, 100), shard("north", 1, 3, 50), shard("south", 0, 6, 7)],
    sums=SUMS,
    subjects={"north": 2, "south": 1},
)  # fmt: skip
NORTH = SiteCounts(
    files_accepted=2,
    files_quarantined=2,
    files_by_reason={"no_samples": 1, "too_short": 1},
    # 8 written and 3 rejected windows of 450 s; 0.25 + 0.125 h in no window.
    hours=Hours(
        accepted=2.0, covered=1.625, uncovered=0.375, quarantined=0.25, quarantined_files_of_unknown_length=1,
        written=1.0, rejected=0.375,
    ),
    windows=8,
    windows_rejected=3,
    windows_by_reason={"flat": 2, "mostly_missing": 1},
    n_bytes=150,
    shards=2,
    native_sfreqs={"200": 1, "512.5": 1},
    mains_hz={"50 detected": 1, "50 given": 1},
    readers={"edf": 2},
    notes={"ica_skipped": 2, "mixed_rates": 1},
    bad_channels={"O1": 1, "T3": 2},
    amplitude_uv={"min": 30.0, "q25": 30.0, "median": 30.0, "q75": 30.0, "max": 30.0},
    subjects=2,
    files_copies=1,
    labels_refused={"label_out_of_range": 1},
    sums=SUMS["north"],
)  # fmt: skip


def counts_of(accounts=ACCOUNTS):
    return run_counts(accounts, n_side_files=11, window_s=450.0)


def test_the_whole_run():
    counts = counts_of()
    assert replace(counts, sites={}) == Counts(
        files=FileCounts(
            n_in=9, accepted=3, quarantined=4, side_files=11, by_reason={"no_samples": 1, "too_short": 3}, copies=2
        ),
        windows=WindowCounts(planned=17, written=14, rejected=3, by_reason={"flat": 2, "mostly_missing": 1}),
        # Copies are no loss: their hours count nowhere.
        hours=Hours(
            accepted=4.0, covered=3.625, uncovered=0.375, quarantined=3.375, quarantined_files_of_unknown_length=1,
            written=1.75, rejected=0.375,
        ),
        n_bytes=157,
        sources_digest=hashlib.sha256(b"r1\nr2\nr3").hexdigest(),
        sites={},
        labels=LabelCounts(
            n_in=12, placed=7, merged=2, refused=3, by_reason={"label_in_gap": 1, "label_out_of_range": 2},
            by_source={"experts": 3, UNKNOWN_SOURCE: 9},
        ),
    )  # fmt: skip
    assert list(counts.files.by_reason) == ["no_samples", "too_short"]


def test_each_site_has_what_is_its_own():
    sites = counts_of().sites
    assert list(sites) == ["north", "south", "west"]
    assert sites["north"] == NORTH
    south = sites["south"]
    assert (south.files_accepted, south.files_quarantined, south.files_copies) == (1, 1, 1)
    assert (south.windows, south.windows_rejected, south.windows_by_reason) == (6, 0, {"flat": 0})
    assert (south.n_bytes, south.shards, south.subjects) == (7, 1, 1)
    assert (south.readers, south.mains_hz, south.sums) == ({"bdf": 1}, {"none found": 1}, SUMS["south"])
    assert south.labels_refused == {"label_in_gap": 1, "label_out_of_range": 1}
    assert south.hours == Hours(accepted=2.0, covered=2.0, quarantined=0.125, written=0.75)
    # A site of which nothing was used is there too.
    assert (sites["west"].files_accepted, sites["west"].files_quarantined, sites["west"].subjects) == (0, 1, 0)
    assert (sites["west"].amplitude_uv, sites["west"].sums) == ({}, Sums())
    assert sites["west"].hours == Hours(quarantined=3.0)


def test_the_sites_add_up_to_the_run():
    counts = counts_of()
    sites = counts.sites.values()
    assert sum(site.files_accepted for site in sites) == counts.files.accepted
    assert sum(site.files_quarantined for site in sites) == counts.files.quarantined
    assert sum(site.files_copies for site in sites) == counts.files.copies
    assert sum(site.windows for site in sites) == counts.windows.written
    assert sum(site.windows_rejected for site in sites) == counts.windows.rejected
    assert sum(site.n_bytes for site in sites) == counts.n_bytes
    assert counts.subjects == 3
    for name in ("accepted", "covered", "uncovered", "quarantined", "written", "rejected"):
        total = sum(getattr(site.hours, name) for site in sites)
        assert total == pytest.approx(getattr(counts.hours, name)), name


def test_the_accounting_goes_through_json():
    counts = counts_of()
    fields = json.loads(json.dumps(counts.to_dict()))
    assert Counts.from_dict(fields) == counts
    assert (fields["files"]["in"], fields["bytes"], fields["sites"]["north"]["bytes"]) == (9, 157, 150)
    assert fields["sites"]["north"]["classes"] == {"LPD": 8}
    assert not {"n_in", "n_bytes"} & {*fields, *fields["files"], *fields["sites"]["north"]}
    # Sets of earlier versions have no labels and no copies.
    del fields["labels"], fields["files"]["copies"]
    for site in fields["sites"].values():
        del site["files_copies"], site["labels_refused"]
    old = Counts.from_dict(fields)
    assert (old.labels, old.files.copies, old.sites["north"].files_copies) == (LabelCounts(), 0, 0)
    assert old.sites["north"].labels_refused == {}


def test_labels_of_older_rows_count_nothing():
    rows = [{name: value for name, value in row.items() if "n_labels" not in name} for row in ACCOUNTS.accepted]
    labels = counts_of(replace(ACCOUNTS, accepted=rows, labels=[])).labels
    assert labels == LabelCounts()


@pytest.mark.parametrize("n_windows", [4, 6])
def test_a_window_too_few_or_too_many_ends_the_run(n_windows):
    shards = [shard("north", 0, n_windows, 100), *ACCOUNTS.shards[1:]]
    with pytest.raises(RuntimeError, match=f"17 windows were planned, {n_windows + 9} written \\+ 3 rejected"):
        counts_of(replace(ACCOUNTS, shards=shards))


def test_a_recording_that_is_used_twice_ends_the_run():
    twice = [*ACCOUNTS.accepted[:2], {**ACCOUNTS.accepted[2], "recording_id": "r1"}]
    with pytest.raises(RuntimeError, match="1 recordings were used twice"):
        counts_of(replace(ACCOUNTS, accepted=twice))


@pytest.mark.parametrize(
    ("hours", "expected"),
    [
        (Hours(accepted=4, covered=3, uncovered=1, quarantined=2, rejected=0.5), (2.5, 0.5, 1, 2)),
        # Overlapping windows: more hours rejected than the recording has.
        (Hours(accepted=4, covered=3, uncovered=1, quarantined=2, rejected=5), (0, 3, 1, 2)),
        (Hours(), (0, 0, 0, 0)),
    ],
)
def test_fates_add_up_to_all_that_could_be_read(hours, expected):
    names = ("in windows", "windows rejected", "no window fits", "files left out")
    assert hours.fates == dict(zip(names, expected, strict=True))
    assert hours.readable == sum(expected) == hours.accepted + hours.quarantined


def test_a_window_beyond_the_last_sample_leaves_no_negative_hours():
    row = used("r1", "north", 1, 0.125, 0.125001)
    accounts = Accounts(
        accepted=[row], left_out=[], labels=[], rejected={}, shards=[shard("north", 0, 1, 1)], sums={}, subjects={}
    )
    assert counts_of(accounts).hours.uncovered == 0.0


@given(st.lists(st.floats(0.0, 1000.0), min_size=1, max_size=30), st.randoms(use_true_random=False))
def test_hours_do_not_depend_on_the_order_of_files(hours, rng):
    def total(values):
        rows = [used(f"r{i}", "north", 0, value, 0.0) for i, value in enumerate(values)]
        empty = Accounts(accepted=rows, left_out=[], labels=[], rejected={}, shards=[], sums={}, subjects={})
        return counts_of(empty).hours.accepted

    shuffled = list(hours)
    rng.shuffle(shuffled)
    assert total(shuffled) == total(hours)


def test_amplitudes_by_nearest_rank():
    # Of 0 to 8 the ranks 0, 2, 4, 6 and 8; of 4 values the ranks 0, 0.75, 1.5, 2.25 and 3, rounded to 0, 1, 2, 2, 3.
    for values, expected in (
        ([8.0, 1, 2, 3, 4, 5, 6, 7, 0], (0, 2, 4, 6, 8)), ([40.00049, 10, 30, 20], (10, 20, 30, 30, 40.0))
    ):  # fmt: skip
        rows = [used(f"r{i}", "north", 0, 1.0, 1.0, amplitude_uv=value) for i, value in enumerate(values)]
        empty = Accounts(accepted=rows, left_out=[], labels=[], rejected={}, shards=[], sums={}, subjects={})
        amplitude = counts_of(empty).sites["north"].amplitude_uv
        assert amplitude == dict(zip(("min", "q25", "median", "q75", "max"), expected, strict=True))


def test_a_run_is_complained_of_beyond_the_share_only():
    counts = counts_of()  # 4 of 9 files
    assert complaint(counts, 0.45) is None
    assert complaint(replace(counts, files=replace(counts.files, n_in=8)), 0.5) is None  # as many as are allowed
    assert complaint(counts, 0.4) == (
        "44.4% of the files were quarantined, --max-quarantined allows 40.0% (1 no_samples, 3 too_short)"
    )


def test_a_run_without_windows_states_why():
    counts = counts_of()
    empty = replace(counts, windows=replace(counts.windows, written=0))
    assert complaint(empty, 1.0) == (
        "no window was written: 4 of 9 files quarantined (1 no_samples, 3 too_short, 2 flat, 1 mostly_missing)"
    )


def test_counted_and_digest():
    assert list(counted(["b", "a", "b"]).items()) == [("a", 1), ("b", 2)]
    one, other = [{"recording_id": "a"}, {"recording_id": "b"}], [{"recording_id": "b"}, {"recording_id": "a"}]
    assert sources_digest(one) == sources_digest(other) != sources_digest(one[:1])
