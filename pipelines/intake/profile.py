"""Which profile a run takes where none is named: that of what was recorded."""

from collections import Counter
from collections.abc import Sequence

from pipelines.intake.inputs import FileRef
from pipelines.runs import storage
from signals.description.systems import system_of
from signals.readers.registry import open_recording
from signals.readers.remote import TransferError
from signals.recording.recording import UnreadableError
from signals.windows.profiles import DEFAULTS, Profile

N_FILES = 5


def fitting_profile(files: Sequence[FileRef]) -> Profile:
    """Return the default profile whose channels most of a few files hold; the first of `DEFAULTS` where none does.

    Headers of up to `N_FILES` local files, spread over the run, are looked at; remote ones are not fetched for it.
    """
    local = [ref for ref in files if not storage.is_remote(ref.uri)]
    chosen = [local[i * len(local) // N_FILES] for i in range(N_FILES)] if len(local) > N_FILES else local
    votes: Counter[int] = Counter()
    for ref in chosen:
        try:
            recording = open_recording(ref.uri, declared=ref.declared)
        except (UnreadableError, TransferError):
            continue  # it is quarantined by the run itself, with its reason
        n_channels = [
            len(system_of(profile.signal).find(recording.ch_names, recording.sensor_types).picks)
            for profile in DEFAULTS
        ]
        if any(n_channels):
            votes[n_channels.index(max(n_channels))] += 1
    return DEFAULTS[votes.most_common(1)[0][0]] if votes else DEFAULTS[0]
