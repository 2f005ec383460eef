"""The example of a site: which block, which window of it, and which samples are drawn."""

import hashlib
from dataclasses import replace

import numpy as np

from pipelines.intake.inputs import FileRef
from pipelines.report.traces import extremes
from pipelines.stages import example_traces
from pipelines.stages.example_traces import block_hash, by_site, read_example, smallest_hash
from pipelines.stages.outcome import Refused
from pipelines.stages.plan_files import plan_file
from pipelines.stages.prepare import reopened
from signals.modality import EEG_1020
from signals.shards.records import as_stored
from signals.window import MEASURED
from signals.windows.labels import Label
from signals.windows.prepare import prepare_block
from signals.windows.profiles import PROFILES, SIX_CLASS
from tests.pipelines.conftest import write_edf

NAMES = EEG_1020.ch_names


def window_of(block):
    return prepare_block(reopened(block.plan), block).windows[0]


def test_before_and_after_are_the_same_seconds(planned):
    block = planned.blocks[1]  # from 20 s
    example = read_example(block)
    window = window_of(block)
    assert (example.site_id, example.recording_id) == ("north", planned.file.recording_id)
    assert (example.label, example.start_s) == ("", 20.0)
    assert (example.native_sfreq, example.sfreq, example.band) == (200.0, 256.0, (0.5, 90.0))
    assert example.mains_hz == 50.0
    assert example.ch_state == (int(MEASURED),) * 19
    assert example.flags == tuple(map(tuple, window.artifact_mask.tolist()))
    x = reopened(block.plan).read(list(range(19)), segment=0, start=4000, stop=6000)
    for row, name, samples, offset in zip(example.before, NAMES, x, block.plan.offsets, strict=True):
        assert (row.name, row.values) == (name, extremes(samples - np.float32(offset)))
    for row, name, samples in zip(example.after, NAMES, window.data, strict=True):
        assert row.name == name
        assert row.values == extremes(as_stored(samples[None], ("eeg",))[0])


def six_class(path, labels=()):
    return plan_file(FileRef(str(path), "north", "", 50.0, tuple(labels)), SIX_CLASS, "s")


def test_a_label_of_the_middle_is_drawn_there(tmp_path):
    path = write_edf(tmp_path / "a.edf", seconds=70)
    (block,) = six_class(path, [Label(onset_s=15.0, label="LPD", votes=(0, 3, 0, 0, 0, 0))]).blocks
    example = read_example(block)
    # The label of a 50-s window from 15 s speaks of its seconds 20 to 30.
    assert (example.label, example.start_s) == ("LPD", 35.0)
    window = window_of(block)
    assert example.flags == tuple(map(tuple, window.artifact_mask[:, 20:30].tolist()))
    stored = as_stored(window.data, window.sensor_types)[3, 20 * 256 : 30 * 256]
    assert example.after[3].values == extremes(stored)
    x = reopened(block.plan).read([3], segment=0, start=35 * 200, stop=45 * 200)[0]
    assert example.before[3].values == extremes(x - np.float32(block.plan.offsets[3]))


def test_channels_that_were_not_recorded_are_empty_before(tmp_path):
    names = [name for name in NAMES if name != "Cz"]
    (block, *_) = plan_file(
        FileRef(str(write_edf(tmp_path / "a.edf", names=names)), "n", "", 50.0, ()), PROFILES["pretrain"], "s"
    ).blocks
    example = read_example(block)
    cz = NAMES.index("Cz")
    assert example.before[cz].values is None
    assert example.after[cz].values is not None  # interpolated
    assert sum(row.values is None for row in example.before) == 1


def test_pairs_are_drawn_as_recorded(tmp_path):
    from signals.montage.references import DOUBLE_BANANA

    pairs = [f"{a}-{b}" for a, b in DOUBLE_BANANA]
    path = write_edf(tmp_path / "a.edf", names=pairs)
    raw = path.read_bytes()
    for name in pairs:  # the writer calls them "EEG Fp1-F7-REF"
        raw = raw.replace(f"EEG {name}-REF".ljust(16).encode()[:16], f"EEG {name}".ljust(16).encode())
    path.write_bytes(raw)
    planned = plan_file(FileRef(str(path), "n", "", 50.0, ()), PROFILES["pretrain"], "s")
    assert not isinstance(planned.file, Refused), planned.file
    example = read_example(planned.blocks[0])
    assert {row.name for row in example.before} == set(pairs)
    assert all(row.values is not None for row in example.before)


def test_the_first_window_that_is_kept_is_drawn(planned, monkeypatch):
    refused = Refused(level="window", reason="flat", site_id="n", source_id="r")
    real, seen = example_traces.prepared, []

    def prepared(block):
        seen.append(block.starts)
        return iter([refused]) if len(seen) == 1 else real(block)

    monkeypatch.setattr(example_traces, "prepared", prepared)
    assert read_example(planned.blocks[1]).start_s == 30.0
    assert seen == [(start,) for start in planned.blocks[1].starts]
    monkeypatch.setattr(example_traces, "prepared", lambda block: iter([replace(refused, at_s=block.starts[0].start)]))
    # Of a block without one, why the last was not.
    assert read_example(planned.blocks[1]).at_s == 30 * 256


def test_the_smallest_hash_is_chosen_whatever_the_order(planned):
    blocks = planned.blocks
    assert by_site(blocks[0]) == ("north", blocks[0])
    sha = blocks[0].plan.source_sha256
    hashes = [hashlib.sha256(f"{sha}/0/{start * 256}".encode()).hexdigest() for start in (0, 20, 40)]
    assert [block_hash(block) for block in blocks] == hashes
    wanted = blocks[hashes.index(min(hashes))]
    assert smallest_hash(blocks) is wanted
    assert smallest_hash(reversed(blocks)) is wanted


def test_the_last_window_is_drawn_whole(tmp_path):
    path = write_edf(tmp_path / "a.edf", seconds=20)
    (block,) = plan_file(FileRef(str(path), "n", "", 50.0, ()), PROFILES["pretrain"], "s").blocks
    example = read_example(replace(block, starts=block.starts[-1:]))
    assert example.start_s == 10.0
    assert len(example.before[0].values) == len(example.after[0].values) == 440
