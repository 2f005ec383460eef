"""The scores of bench-live on stretches made by hand: what is found, false, late, and how a log goes on."""

import json
from dataclasses import asdict

import numpy as np
import pytest

pytest.importorskip("timescoring")

from benchmarks.benches.beds.monitored import Raised, Stretch
from benchmarks.benches.beds.reader import BANDS_HZ, class_at, write_graph
from benchmarks.benches.beds.scores import show
from benchmarks.benches.services.live import read_log
from service.live.alarms import ICTAL, NO_ELECTRODES
from serving.runtime import new_session
from synthetic.recordings.monitoring import Day, Episode


def raised(condition, onset_s, raised_s):
    return asdict(Raised(condition=condition, severity="medium", onset_s=onset_s, raised_s=raised_s))


def made(*alarms, ictal_s=(), seed=1):
    return Stretch(
        seed=seed, hours=2.0, status_s=(1000.0, 1900.0), seizures_s=[(300.0, 400.0), (1000.0, 1900.0)],
        leads_off_s=(6000.0, 6120.0), alarms=list(alarms), ictal_s=list(ictal_s), n_hops=700, centred=(90, 100),
        right_aligned=(70, 100), centred_changed=(8, 10), right_aligned_changed=(2, 10),
    )  # fmt: skip


def figures(capsys, stretches):
    show(stretches)
    lines = [line.split() for line in capsys.readouterr().out.splitlines() if line.startswith("figure")]
    return {line[1]: float(line[2]) for line in lines}


def test_what_is_found_is_not_false_and_what_is_late_is_lost(capsys):
    good = made(raised(ICTAL, 990.0, 1200.0), raised(NO_ELECTRODES, 6000.0, 6015.0),
                ictal_s=[(310.0, 320.0), (1010.0, 1020.0), (4000.0, 4010.0)])  # fmt: skip
    late = made(raised(ICTAL, 1850.0, 1961.0), raised(NO_ELECTRODES, 6000.0, 6022.0), raised(ICTAL, 5000.0, 5200.0))
    found = figures(capsys, [good, late])
    assert found["alarm_hours"] == 4.0
    assert found["alarm_found_share"] == 0.5  # 61 s after its end is too late
    assert found["technical_alarm_s"] == 22.0  # the slowest
    # The late alarm's evidence lies within the status, so timescoring counts it as found; the one at 5000 s is false.
    assert found["alarm_sensitivity"] == 1.0
    assert found["alarm_false_per_24h"] == pytest.approx(6.0)  # one in four hours
    assert found["alarm_false_per_hour"] == pytest.approx(0.25)
    assert found["threshold_sensitivity"] == 0.5  # two of four seizures, short ones counted
    assert found["threshold_false_per_24h"] == pytest.approx(6.0)
    assert found["live_accuracy_centred"] == 0.9
    assert found["live_accuracy_right_aligned_changed"] == 0.2


def test_no_false_alarm_has_a_bound_and_a_missing_alarm_is_infinitely_late(capsys):
    found = figures(capsys, [made(raised(ICTAL, 1000.0, 1200.0))])
    assert found["alarm_false_per_24h"] == 0.0
    assert found["alarm_false_per_24h_bound"] == pytest.approx(36.0)  # 3 events in 2 h, by the day
    assert found["technical_alarm_s"] == float("inf")


def test_a_log_that_was_cut_off_goes_on(tmp_path):
    log = tmp_path / "log"
    assert read_log(log) == []
    line = json.dumps(asdict(made(seed=7)))
    log.write_text(f"{line}\n{line[:100]}")
    (one,) = read_log(log)
    assert one.seed == 7
    assert one.centred == [90, 100]


def test_the_planted_class_of_seconds():
    day = Day(episodes=(Episode("LPD", 100, 60),), gap_s=None, loose="T4", loose_s=(0, 1),
              status=Episode("Seizure", 500, 600))  # fmt: skip
    assert class_at(day, 110, 120) == "LPD"
    assert class_at(day, 95, 105) is None
    assert class_at(day, 200, 210) == "Other"
    assert class_at(day, 600, 610) == "Seizure"


def test_the_readers_graph_reads_bands_of_the_middle_ten_seconds(tmp_path):
    write_graph(tmp_path / "g.onnx")
    session = new_session((tmp_path / "g.onnx").read_bytes(), threads=1)
    t, rng = np.arange(50 * 256) / 256, np.random.default_rng(0)
    x = rng.normal(0, 0.01, (2, 19, len(t))).astype(np.float32)
    middle = (t >= 20) & (t < 30)
    x[0, 3, middle] += np.sin(2 * np.pi * 5.5 * t[middle])  # 4 to 7 Hz, one channel
    x[1, 3, ~middle] += np.sin(2 * np.pi * 5.5 * t[~middle])  # elsewhere: it must not be seen
    feed = {"signal": x, "ch_state": np.zeros((2, 19), dtype=np.int64)}
    logits, features = session.run(["logits", "representation"], feed)
    assert logits.shape == (2, 6)
    assert features.shape == (2, 2 * 19 * len(BANDS_HZ))
    power = features[:, : 19 * len(BANDS_HZ)].reshape(2, 19, len(BANDS_HZ))
    # Sorted over channels, the largest first: a sine of amplitude 1 has the power one half.
    assert power[0, 0, 2] == pytest.approx(np.log(0.5), abs=0.05)
    assert power[0, 0].argmax() == 2
    assert power[0, 1, 2] < -6
    assert power[1, 0, 2] < -6
