"""How large shards are beside the same EEG as EDF and as GZIP TFRecord, and how fast they come back."""

import gzip
import struct
import time
from pathlib import Path

import google_crc32c

from benchmarks.harness import figure
from signals.readers.registry import open_recording
from signals.shards.records import decode_window, encode_window
from signals.shards.tfrecord import read_shard, write_shard
from signals.windows.plan import plan_recording
from signals.windows.prepare import prepare_recording
from signals.windows.profiles import PRETRAIN


def shards(path: Path, output: Path) -> None:
    """Print sizes and speeds of one recording, which must hold the modality's channels at its rate and no others."""
    recording = open_recording(str(path))
    plan = plan_recording(recording, PRETRAIN, site_id="s", subject_id="p", source_sha256="0" * 64)
    records = [encode_window(window) for window in prepare_recording(recording, plan)]
    shard = output / "size.tfrecord.snappy"
    started = time.perf_counter()
    info = write_shard(shard, records)
    write_s = time.perf_counter() - started
    started = time.perf_counter()
    gzipped = len(gzip.compress(b"".join(_framed(record) for record in records), compresslevel=6))
    gzip_s = time.perf_counter() - started
    started = time.perf_counter()
    back = list(read_shard(shard))
    read_s = time.perf_counter() - started
    started = time.perf_counter()
    for record in back:
        decode_window(record)
    decode_s = time.perf_counter() - started
    if back != records:
        raise ValueError("the shard gives other records back")
    hours, edf = len(records) * PRETRAIN.window_s / 3600, path.stat().st_size
    print(f"  {hours:.2f} h: EDF {edf / 1e6:.1f} MB, shard {info.n_bytes / 1e6:.1f} MB, GZIP {gzipped / 1e6:.1f} MB")
    print(f"  write {write_s:.3f} s (GZIP {gzip_s:.3f} s), read {read_s:.3f} s, decode {decode_s:.3f} s")
    figure("shard_bytes_vs_edf", info.n_bytes / edf, "x")
    figure("shard_bytes_vs_gzip", info.n_bytes / gzipped, "x")
    figure("shard_write_vs_gzip", gzip_s / write_s, "x")
    figure("shard_read_hours_per_s", hours / (read_s + decode_s), "EEG-hours/s")


def _framed(record: bytes) -> bytes:
    """Return a record as TFRecord frames it, checksums included (their content does not change the size)."""
    crc = struct.pack("<I", google_crc32c.value(record))
    return struct.pack("<Q", len(record)) + crc + record + crc
