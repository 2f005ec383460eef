"""Every fault that was planted in prepared recordings is flagged by its name; the clean file is not."""

import json
from dataclasses import replace

import numpy as np
import pytest

from studies.planted import faults
from studies.planted.corpus import Corpus, make_corpus, recopied
from studies.planted.faults import FAULTS, Fault, findings_of, is_flagged
from studies.planted.gap import recover


@pytest.fixture(scope="module")
def corpus() -> Corpus:
    return make_corpus(seed=0)


@pytest.mark.parametrize("fault", FAULTS, ids=[fault.name for fault in FAULTS])
def test_each_fault_is_flagged_by_name(fault: Fault, corpus: Corpus) -> None:
    _, findings = findings_of(fault, corpus)
    assert is_flagged(fault, findings), [finding.code for finding in findings]


def test_names_differ_and_one_control_is_clean() -> None:
    assert len({fault.name for fault in FAULTS}) == len(FAULTS)
    codes = [fault.code for fault in FAULTS]
    assert codes.count("") == 1
    assert len(set(codes)) >= len(codes) - 1  # the shifted copy is found by the finding for copies


def test_a_missed_fault_ends_with_1_and_is_named(monkeypatch, tmp_path, capsys) -> None:
    clean = next(fault for fault in FAULTS if not fault.code)
    monkeypatch.setattr(faults, "FAULTS", (clean, replace(clean, name="blind", code="site_shortcut")))
    assert faults.main(["--output", str(tmp_path), "--json"]) == 1
    rows = json.loads(capsys.readouterr().out)["faults"]
    assert [(row["fault"], row["wanted"], row["is_flagged"]) for row in rows] == [
        (clean.name, "", True), ("blind", "site_shortcut", False),
    ]  # fmt: skip


def test_a_fault_that_is_not_flagged_is_noticed(corpus: Corpus) -> None:
    clean = next(fault for fault in FAULTS if not fault.code)
    blind = Fault(name="blind", code="site_shortcut", plant=clean.plant)
    assert not is_flagged(blind, findings_of(blind, corpus)[1])


def test_the_copy_has_other_samples_but_the_same_signal(corpus: Corpus) -> None:
    more = recopied(corpus, np.random.default_rng(0))
    copied = more.recordings == "copy"
    assert copied.sum() == 10
    assert not set(more.hashes[copied]) & set(corpus.hashes)


def test_a_planted_gap_is_recovered_in_order() -> None:
    # Three sizes, far apart: the origin's twin, a poor amplifier, a very poor one.
    found = recover(seed=0, sizes=(0.0, 4.0, 8.0), n_subjects=6)
    assert found.mmd2[0] < found.mmd2[1] < found.mmd2[2]
    assert found.a_distance[2] > 1.5
    assert found.rho["mmd2"] == pytest.approx(1.0)
