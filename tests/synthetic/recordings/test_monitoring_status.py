"""A monitored half hour with status and disconnected leads: where they were planted, and nothing else near by."""

import numpy as np

from signals.readers.registry import open_recording
from synthetic.recordings.monitoring import LEADS_OFF, monitoring_day

STATUS_S, OFF_S = (400, 1000), (1500, 1560)


def test_status_and_disconnected_leads_are_where_they_were_planted(tmp_path):
    day = monitoring_day(tmp_path / "a.edf", hours=0.5, seed=1, status_s=STATUS_S, leads_off_s=OFF_S)
    assert day.status is not None
    assert (day.status.label, day.status.onset_s, day.status.duration_s) == ("Seizure", 400, 600)
    assert day.leads_off_s == OFF_S
    for one in day.episodes:  # five minutes around a status there is no other pattern
        assert one.onset_s + one.duration_s < 100 or one.onset_s > 1300
    x = np.asarray(open_recording(str(tmp_path / "a.edf")).read(range(19), segment=0))
    seconds = x[:, : 1800 * 256].reshape(19, 1800, 256).std(axis=2)
    off = seconds[:, OFF_S[0] : OFF_S[1]]
    assert off[:LEADS_OFF].max() == 0.0
    assert off[LEADS_OFF:].min() > 0.0
    # The background is the same three loops throughout: what an electrode has more during the status was planted.
    early, late, during = (np.median(seconds[:, a:b], axis=1) for a, b in ((110, 240), (250, 390), STATUS_S))
    assert (late / early).max() < 1.1
    assert (during / early).max() > 1.2
