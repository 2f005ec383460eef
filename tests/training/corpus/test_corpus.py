import socket
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from signals.shards.manifest import COMPLETED, ManifestError
from signals.shards.normalise import Normaliser
from signals.shards.tfrecord import CorruptShardError
from signals.window import INTERPOLATED, MEASURED
from training.corpus import storage
from training.corpus.corpus import Corpus, TooManyCorruptError

WINDOW = Normaliser(kind="window")


def test_windows_come_back_normalised_with_who_they_are(toy_shards: Path) -> None:
    shards = Corpus.open(toy_shards)
    assert len(shards.entries) == 36
    assert shards.n_times == 2560
    batch = shards.batch([0, 35], WINDOW)
    assert batch.x_BCT.shape == (2, 19, 2560)
    assert batch.x_BCT.dtype == np.float32
    # the window's scale is the median of the measured channels' standard deviations
    for row, x in enumerate(batch.x_BCT):
        assert np.median(x[batch.ch_state_BC[row] == MEASURED].std(axis=1)) == pytest.approx(1.0, abs=0.01)
    assert [entry.subject_id for entry in batch.entries] == ["site0-s0", "site2-s3"]
    assert shards.batch([1], WINDOW).ch_state_BC[0, 4] == INTERPOLATED


def test_spectrograms_come_along_where_there_are_any(
    toy_shards: Path, make_toy_shards: Callable[..., Path], tmp_path: Path
) -> None:
    assert Corpus.open(toy_shards).batch([0], WINDOW).spectrogram_BRFS is None
    with_them = make_toy_shards(n_sites=1, n_subjects=2, spectrogram=True)
    shards = Corpus.open([with_them, toy_shards])  # a set without them beside one with them
    batch = shards.batch([0, len(shards.entries) - 1], WINDOW)
    assert batch.spectrogram_BRFS is not None
    assert (batch.spectrogram_BRFS.shape, batch.spectrogram_BRFS.dtype) == ((2, 4, 100, 300), np.float32)
    np.testing.assert_array_equal(batch.spectrogram_BRFS[0], shards.window(0).spectrogram)
    assert np.isfinite(batch.spectrogram_BRFS[0]).sum() == 4 * 100 * 5  # 10 s in the middle
    assert np.isnan(batch.spectrogram_BRFS[1]).all()


def test_memory_budget_changes_no_sample(toy_shards: Path) -> None:
    roomy, tight = Corpus.open(toy_shards), Corpus.open(toy_shards, cache_bytes=1)
    indices = [30, 2, 17, 2]
    np.testing.assert_array_equal(roomy.batch(indices, WINDOW).x_BCT, tight.batch(indices, WINDOW).x_BCT)
    assert roomy.n_decoded == tight.n_decoded == 3  # one window twice
    np.testing.assert_array_equal(roomy.batch(indices, WINDOW).x_BCT, tight.batch(indices, WINDOW).x_BCT)
    assert (roomy.n_decoded, tight.n_decoded) == (3, 5)  # the last one was still there


def test_opening_reads_manifests_alone_and_a_window_its_own_record(
    toy_shards: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[str] = []
    real_open, real_read = storage.open_read, storage.read_bytes
    monkeypatch.setattr(storage, "open_read", lambda uri: read.append(str(uri)) or real_open(uri))
    monkeypatch.setattr(storage, "read_bytes", lambda uri: read.append(str(uri)) or real_read(uri))
    corpus = Corpus.open(toy_shards)
    assert len(corpus) == 36
    assert read == []
    assert corpus.entry(35).subject_id == "site2-s3"
    assert read == [f"{toy_shards}/site=site2/windows-00003-of-00004.index.parquet"]
    assert len(corpus.entries) == 36
    assert corpus.n_decoded == 0
    assert not any(name.endswith(".snappy") for name in read)
    assert corpus.window(35).key == corpus.entry(35).key
    assert corpus.n_decoded == 1
    with pytest.raises(IndexError, match="window 36 of 36"):
        corpus.window(36)


def test_excluded_sites_have_no_numbers(toy_shards: Path) -> None:
    shards = Corpus.open(toy_shards, exclude_sites=["site1"])
    assert {entry.site_id for entry in shards.entries} == {"site0", "site2"}
    assert len(shards) == 24


def test_sets_without_indexes_get_them_once(
    make_toy_shards: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    plain, indexed = make_toy_shards(n_sites=1, indexed=False), make_toy_shards(n_sites=1)
    assert Corpus.open(plain).entries == Corpus.open(indexed).entries
    kept = sorted((tmp_path / "cache" / "cerebeam" / "indexes").iterdir())
    assert len(kept) == 4
    before = [path.stat().st_mtime_ns for path in kept]
    np.testing.assert_array_equal(Corpus.open(plain).window(5).data, Corpus.open(indexed).window(5).data)
    assert [path.stat().st_mtime_ns for path in kept] == before


def test_an_index_that_is_not_the_manifest_s_is_refused(make_toy_shards: Callable[..., Path]) -> None:
    folder = make_toy_shards(n_sites=1, n_subjects=2)
    first, second = (folder / "site=site0" / f"windows-{n:05d}-of-00002.index.parquet" for n in (0, 1))
    second.write_bytes(first.read_bytes())
    with pytest.raises(ValueError, match="00001-of-00002.index.parquet is not the index that the manifest"):
        _ = Corpus.open(folder).entries


def test_any_file_system_will_do(toy_shards: Path) -> None:
    fsspec = pytest.importorskip("fsspec")
    memory = fsspec.filesystem("memory")
    for path in toy_shards.rglob("*"):
        if path.is_file():
            memory.pipe_file(f"/toy/{path.relative_to(toy_shards).as_posix()}", path.read_bytes())
    here, there = Corpus.open(toy_shards), Corpus.open("memory://toy")
    assert there.entries == here.entries
    np.testing.assert_array_equal(there.batch([30, 2], WINDOW).x_BCT, here.batch([30, 2], WINDOW).x_BCT)
    memory.rm_file("/toy/_COMPLETED")
    with pytest.raises(ManifestError, match="memory://toy is unfinished"):
        Corpus.open("memory://toy")
    with pytest.raises(ManifestError, match="memory://nothing is no shard set"):
        Corpus.open("memory://nothing")
    with pytest.raises(OSError, match="carrier-pigeon"):
        Corpus.open("carrier-pigeon://toy")


def test_google_storage_will_do(toy_shards: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    google = pytest.importorskip("google.cloud.storage", reason="needs cerebeam[gcp]")
    server = pytest.importorskip("gcp_storage_emulator.server")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", f"http://127.0.0.1:{port}")
    with server.create_server("127.0.0.1", port, in_memory=True, default_bucket="cerebeam"):
        bucket = google.Client.create_anonymous_client().bucket("cerebeam")
        for path in toy_shards.rglob("*"):
            if path.is_file():
                name = f"toy/{path.relative_to(toy_shards).as_posix()}"
                bucket.blob(name).upload_from_string(path.read_bytes())
        storage._client.cache_clear()
        here, there = Corpus.open(toy_shards), Corpus.open("gs://cerebeam/toy")
        assert len(there) == len(here)
        np.testing.assert_array_equal(there.batch([35, 2], WINDOW).x_BCT, here.batch([35, 2], WINDOW).x_BCT)
        with pytest.raises(ManifestError, match="gs://cerebeam/nothing is no shard set"):
            Corpus.open("gs://cerebeam/nothing")
        storage.write_bytes("gs://cerebeam/new/file", b"whole")
        assert list(storage.list_files("gs://cerebeam/new")) == ["gs://cerebeam/new/file"]
        assert storage.read_bytes("gs://cerebeam/new/file") == b"whole"
        storage.remove("gs://cerebeam/new/file")
        assert not storage.exists("gs://cerebeam/new/file")


def test_wrong_shard_sets_are_refused(toy_shards: Path, make_toy_shards: Callable[..., Path], tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match="no shard set"):
        Corpus.open(tmp_path / "nothing")
    with pytest.raises(ValueError, match="'site9'"):
        Corpus.open(toy_shards, exclude_sites=["site9"])
    with pytest.raises(ValueError, match="outside of the excluded sites"):
        Corpus.open(toy_shards, exclude_sites=["site0", "site1", "site2"])
    unfinished = make_toy_shards(n_sites=1, n_subjects=1)
    (unfinished / COMPLETED).unlink()
    with pytest.raises(ManifestError, match="unfinished"):
        Corpus.open(unfinished)


def test_several_shard_sets_are_one_stream(make_toy_shards: Callable[..., Path]) -> None:
    short, long = make_toy_shards(n_sites=2, n_subjects=2), make_toy_shards(n_sites=1, n_subjects=3, window_s=20.0)
    both = Corpus.open([short, long])
    assert len(both.entries) == 2 * 2 * 3 + 1 * 3 * 3
    assert {entry.n_times for entry in both.entries} == {2560, 5120}
    assert both.manifest.digest not in {Corpus.open(short).manifest.digest, Corpus.open(long).manifest.digest}
    # subjects site0-s0 and -s1 are in both sets: 3 + 3 windows
    assert both.manifest.subjects["site0-s0"].n_windows == 6
    np.testing.assert_array_equal(both.window(12).data, Corpus.open(long).window(0).data)
    with pytest.raises(ValueError, match=r"mixes windows of \[2560, 5120\] samples"):
        _ = both.n_times


def flip_a_byte(path: Path, place: int) -> None:
    raw = bytearray(path.read_bytes())
    raw[place] ^= 0xFF
    path.write_bytes(bytes(raw))


def test_corrupt_records_are_counted_and_left_out_up_to_a_limit(make_toy_shards: Callable[..., Path]) -> None:
    folder = make_toy_shards(n_sites=1, n_subjects=2)
    # A flipped byte near the end: in the last of three records, behind two whole blocks of 262,144 bytes.
    flip_a_byte(folder / "site=site0" / "windows-00001-of-00002.tfrecord.snappy", -40)
    with pytest.raises(TooManyCorruptError, match="1 of 6 windows cannot be read"):
        Corpus.open(folder).readable(range(6))
    corpus = Corpus.open(folder, max_corrupt=0.2)
    assert [place for place, _ in corpus.readable(range(6))] == [0, 1, 2, 3, 4]
    assert corpus.n_corrupt == 1
    corpus.readable(range(6))  # of another epoch: the same window is not counted twice, 1 of 6 is still below a fifth
    assert corpus.n_corrupt == 1
    with pytest.raises(CorruptShardError):
        corpus.window(5)
