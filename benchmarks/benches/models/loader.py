"""make bench-loader: windows a second from disk into shuffled, normalised float32 arrays, against other ways to do it.

    python -m benchmarks loader [--output DIR] [--windows N] [--repeats N]

One process, one thread, the same windows in each form, interleaved, medians; warm (files in the page cache) and cold
(dropped from it by posix_fadvise before each run, as far as the system allows). Forms:

    shards     our snappy TFRecords through signals.shards.tfrecord and signals.shards.records
    tfdata     the same shards through tf.data, decoded to the same arrays by TensorFlow's own operations
    lmdb       pickled dicts of float32 in LMDB, fetched in random order (as CBraMod keeps its data)
    hdf5       one float32 data set, rows fetched in random order (as LaBraM keeps its data)
    memmap     one uncompressed float32 array: what a disk that costs nothing would give

Cold and warm figures of forms without checksums or compression show what those cost.
"""

import argparse
import os
import pickle
import shutil
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.harness import figure, machine
from signals.modality import EEG_1020
from signals.shards.records import decode_window, encode_window
from signals.shards.tfrecord import read_shard, write_shard
from signals.window import MEASURED, Provenance, Window

SHAPE = (19, 2560)
PER_SHARD = 256


def make_window(rng: np.random.Generator, number: int) -> Window:
    """Return 10 s of noise with the spectrum and size of EEG, average-referenced."""
    spectrum = rng.normal(size=(SHAPE[0], SHAPE[1] // 2 + 1)) + 1j * rng.normal(size=(SHAPE[0], SHAPE[1] // 2 + 1))
    freqs = np.arange(SHAPE[1] // 2 + 1) / 10
    x = np.fft.irfft(spectrum / np.maximum(freqs, 0.5) * (freqs < 100), n=SHAPE[1])
    x = (x / x.std() * 20).astype(np.float32)
    x -= x.mean(axis=0)
    return Window(
        data=x, ch_state=np.full(SHAPE[0], MEASURED, dtype=np.uint8), artifact_mask=np.zeros((19, 10), dtype=np.uint16),
        quality=np.ones(19, dtype=np.float32), features=np.zeros((19, 29), dtype=np.float32), modality=EEG_1020.name,
        sfreq=256.0, band=(0.5, 115.2), site_id="site", subject_id=f"s{number % 20}", recording_id=f"r{number % 50}",
        start_s=10.0 * number, label="", votes=(), label_span_s=None,
        provenance=Provenance(source_sha256="0" * 64, segment=0, start_sample=0, stop_sample=SHAPE[1], reader="bench",
                              config_hash="bench", code_version="bench"),
    )  # fmt: skip


def write_forms(folder: Path, n_windows: int) -> dict[str, list[Path]]:
    """Write the same windows in every form; returns each form's files."""
    import h5py
    import lmdb

    rng = np.random.default_rng(0)
    windows = [make_window(rng, number) for number in range(n_windows)]
    shards = []
    for start in range(0, n_windows, PER_SHARD):
        shards.append(folder / f"{start:06d}.tfrecord.snappy")
        write_shard(shards[-1], (encode_window(w) for w in windows[start : start + PER_SHARD]))
    stored = np.stack([decode_window(record).data for path in shards for record in read_shard(path)])
    with lmdb.open(str(folder / "lmdb"), map_size=8 << 30) as store, store.begin(write=True) as put:
        for number, x in enumerate(stored):
            put.put(f"{number:08d}".encode(), pickle.dumps({"sample": x, "label": 0}))
    with h5py.File(folder / "windows.h5", "w") as file:
        file.create_dataset("x", data=stored)
    np.save(folder / "windows.npy", stored)
    return {
        "shards": shards,
        "tfdata": shards,
        "lmdb": [folder / "lmdb" / "data.mdb"],
        "hdf5": [folder / "windows.h5"],
        "memmap": [folder / "windows.npy"],
    }


def scaled(x: np.ndarray) -> np.ndarray:
    """Return a window divided by the standard deviation of the whole of it: what every form does last."""
    return x / np.float32(x.std())


def from_shards(paths: list[Path], order: np.ndarray) -> Iterator[np.ndarray]:
    """Shards in random order, records shuffled in a buffer of one shard as tf.data does it; decoded when they leave."""
    rng, waiting = np.random.default_rng(int(order[0])), []
    for number in rng.permutation(len(paths)):
        for record in read_shard(paths[number]):
            if len(waiting) < PER_SHARD:
                waiting.append(record)
                continue
            place = rng.integers(PER_SHARD)
            record, waiting[place] = waiting[place], record
            yield scaled(decode_window(record).data)
    rng.shuffle(waiting)
    for record in waiting:
        yield scaled(decode_window(record).data)


def from_tfdata(paths: list[Path], order: np.ndarray) -> Iterator[np.ndarray]:
    """The same by tf.data: shards shuffled, windows shuffled in a buffer of one shard."""
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    features = {
        "signal": tf.io.FixedLenFeature([], tf.string),
        "step": tf.io.FixedLenFeature([1], tf.float32),
    }

    def decode(record: "tf.Tensor") -> "tf.Tensor":
        fields = tf.io.parse_single_example(record, features)
        low, high = tf.split(tf.reshape(tf.io.decode_raw(fields["signal"], tf.uint8), [2, -1]), 2)
        values = tf.bitcast(tf.stack([low[0], high[0]], axis=-1), tf.int16)
        return tf.reshape(tf.cast(values, tf.float32) * fields["step"], SHAPE)

    names = tf.data.Dataset.from_tensor_slices([str(p) for p in paths]).shuffle(len(paths), seed=0)
    data = names.interleave(
        lambda name: tf.data.TFRecordDataset(name, compression_type="SNAPPY"), cycle_length=1, num_parallel_calls=1
    )
    for x in data.shuffle(PER_SHARD, seed=0).map(decode, num_parallel_calls=1).as_numpy_iterator():
        yield scaled(x)


def from_lmdb(paths: list[Path], order: np.ndarray) -> Iterator[np.ndarray]:
    """Keys in random order."""
    import lmdb

    with lmdb.open(str(paths[0].parent), readonly=True, lock=False, readahead=False) as store, store.begin() as get:
        for number in order:
            yield scaled(pickle.loads(get.get(f"{number:08d}".encode()))["sample"])


def from_hdf5(paths: list[Path], order: np.ndarray) -> Iterator[np.ndarray]:
    """Rows in random order."""
    import h5py

    with h5py.File(paths[0]) as file:
        for number in order:
            yield scaled(file["x"][number])


def from_memmap(paths: list[Path], order: np.ndarray) -> Iterator[np.ndarray]:
    """Rows in random order."""
    values = np.load(paths[0], mmap_mode="r")
    for number in order:
        yield scaled(np.asarray(values[number]))


FORMS: dict[str, Callable[[list[Path], np.ndarray], Iterator[np.ndarray]]] = {
    "shards": from_shards, "tfdata": from_tfdata, "lmdb": from_lmdb, "hdf5": from_hdf5, "memmap": from_memmap,
}  # fmt: skip


def drop_from_cache(paths: list[Path]) -> None:
    """Ask the system to forget what it holds of files."""
    for path in paths:
        descriptor = os.open(path, os.O_RDONLY)
        os.fsync(descriptor)
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(descriptor)


@dataclass(frozen=True)
class Rate:
    """Windows per second of the clock, and per second of the processor, which other work does not change."""

    clock: float
    processor: float


def measure(files: dict[str, list[Path]], n_windows: int, *, repeats: int, cold: bool) -> dict[str, list[Rate]]:
    """Return the rates of each form, one per repeat, forms interleaved."""
    rates: dict[str, list[Rate]] = {name: [] for name in FORMS}
    for repeat in range(repeats + 1):
        order = np.random.default_rng(repeat).permutation(n_windows)
        for name, load in FORMS.items():
            if cold:
                drop_from_cache(files[name])
            began, busy = time.perf_counter(), time.process_time()
            count = sum(1 for _ in load(files[name], order))
            seconds, busy = time.perf_counter() - began, time.process_time() - busy
            assert count == n_windows
            if repeat:  # the first round imports and warms up
                rates[name].append(Rate(count / seconds, count / busy))
    return rates


def main(argv: Sequence[str] | None = None) -> None:
    """Write all forms, check that they hold the same, measure them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, default=Path("bench-output/loader"))
    parser.add_argument("--windows", type=int, default=2048)
    parser.add_argument("--repeats", type=int, default=5)
    args = parser.parse_args(argv)
    print(machine())
    shutil.rmtree(args.output, ignore_errors=True)
    args.output.mkdir(parents=True)
    files = write_forms(args.output, args.windows)
    expected = sum(float(np.abs(x).sum()) for x in from_memmap(files["memmap"], np.arange(args.windows)))
    for name, load in FORMS.items():
        total = sum(float(np.abs(x).sum()) for x in load(files[name], np.arange(args.windows)))
        assert abs(total / expected - 1) < 1e-6, f"{name} holds other samples"
        n_mb = sum(path.stat().st_size for path in files[name]) / 1e6
        print(f"  {name:<8}{n_mb:8.1f} MB")
    for cold in (False, True):
        rates = measure(files, args.windows, repeats=args.repeats, cold=cold)
        state = "cold" if cold else "warm"
        for name, of_form in rates.items():
            values = [rate.clock for rate in of_form]
            print(
                f"  {state} {name:<8}{statistics.median(values):9.0f} windows/s ({min(values):.0f}-{max(values):.0f})"
            )
        for name in ("tfdata", "lmdb", "hdf5", "memmap"):
            suffix = "_cold" if cold else ""
            pairs = list(zip(rates["shards"], rates[name], strict=True))
            figure(f"loader_vs_{name}{suffix}", statistics.median(a.clock / b.clock for a, b in pairs), "speed_ratio")
            if not cold:
                ratio = statistics.median(a.processor / b.processor for a, b in pairs)
                figure(f"loader_vs_{name}_processor", ratio, "speed_ratio")
    shutil.rmtree(args.output)


if __name__ == "__main__":
    main()
