import os
import subprocess
import sys

from threadpoolctl import threadpool_info, threadpool_limits

from signals.threads import one_thread


def threads():
    return {pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"}


def test_the_limit_holds_until_the_last_of_several_threads_has_left():
    with threadpool_limits(limits=4, user_api="blas"):
        before = threads()
        assert before != {1}
        first, second = one_thread(), one_thread()
        first.__enter__()
        second.__enter__()
        assert threads() == {1}
        first.__exit__(None, None, None)
        assert threads() == {1}
        second.__exit__(None, None, None)
        assert threads() == before


_DIGEST = """
import hashlib, numpy as np
from signals.modality import EEG_1020
from signals.recording.recording import Recording, Segment
from signals.windows.plan import plan_recording
from signals.windows.prepare import prepare_recording
from signals.windows.profiles import PRETRAIN

x = (20 * np.random.default_rng(0).standard_normal((19, 250 * 60))).astype(np.float32)
recording = Recording(
    uri="memory", reader="memory", ch_names=EEG_1020.ch_names, sensor_types=("eeg",) * 19, sfreqs=(250.0,) * 19,
    segments=(Segment(0.0, 60.0),), read_samples=lambda picks, _, a, b: x[picks, a:b].copy(),
)
plan = plan_recording(recording, PRETRAIN, site_id="s", subject_id="p", source_sha256="0" * 64)
digest = hashlib.sha256()
for window in prepare_recording(recording, plan):
    digest.update(window.data.tobytes() + window.features.tobytes() + window.quality.tobytes())
print(digest.hexdigest())
"""


def test_windows_do_not_depend_on_the_number_of_blas_threads():
    # Without the guard two threads change the last bits of the average reference.
    results = [
        subprocess.run([sys.executable, "-c", _DIGEST], env={**os.environ, "OMP_NUM_THREADS": n}, check=True,
                       capture_output=True, text=True, timeout=300).stdout
        for n in ("1", "2")
    ]  # fmt: skip
    assert len(results[0]) == 65
    assert results[0] == results[1]
