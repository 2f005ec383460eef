from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from signals.shards.manifest import COMPLETED, ManifestError
from signals.shards.normalise import Normaliser
from signals.window import INTERPOLATED, MEASURED
from training.corpus.shards import Shards

WINDOW = Normaliser(kind="window")


def test_windows_come_back_normalised_with_who_they_are(toy_shards: Path) -> None:
    shards = Shards(toy_shards)
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
    assert Shards(toy_shards).batch([0], WINDOW).spectrogram_BRFS is None
    with_them = make_toy_shards(n_sites=1, n_subjects=2, spectrogram=True)
    shards = Shards([with_them, toy_shards])  # a set without them beside one with them
    batch = shards.batch([0, len(shards.entries) - 1], WINDOW)
    assert batch.spectrogram_BRFS is not None
    assert (batch.spectrogram_BRFS.shape, batch.spectrogram_BRFS.dtype) == ((2, 4, 100, 300), np.float32)
    np.testing.assert_array_equal(batch.spectrogram_BRFS[0], shards.window(0).spectrogram)
    assert np.isfinite(batch.spectrogram_BRFS[0]).sum() == 4 * 100 * 5  # 10 s in the middle
    assert np.isnan(batch.spectrogram_BRFS[1]).all()


def test_memory_budget_changes_no_sample(toy_shards: Path) -> None:
    roomy, tight = Shards(toy_shards), Shards(toy_shards, cache_bytes=1)
    indices = [30, 2, 17, 2]
    np.testing.assert_array_equal(roomy.batch(indices, WINDOW).x_BCT, tight.batch(indices, WINDOW).x_BCT)
    assert len(tight._cache) == 1


def test_excluded_sites_are_not_read(toy_shards: Path) -> None:
    shards = Shards(toy_shards, exclude_sites=["site1"])
    assert {entry.site_id for entry in shards.entries} == {"site0", "site2"}
    assert all("site1" not in shards.manifest.shards[number].path for number in shards._cache)


def test_wrong_shard_sets_are_refused(toy_shards: Path, make_toy_shards: Callable[..., Path], tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match="no shard set"):
        Shards(tmp_path / "nothing")
    with pytest.raises(ValueError, match="'site9'"):
        Shards(toy_shards, exclude_sites=["site9"])
    with pytest.raises(ValueError, match="outside of the excluded sites"):
        Shards(toy_shards, exclude_sites=["site0", "site1", "site2"])
    unfinished = make_toy_shards(n_sites=1, n_subjects=1)
    (unfinished / COMPLETED).unlink()
    with pytest.raises(ManifestError, match="unfinished"):
        Shards(unfinished)


def test_several_shard_sets_are_one_stream(make_toy_shards: Callable[..., Path]) -> None:
    short, long = make_toy_shards(n_sites=2, n_subjects=2), make_toy_shards(n_sites=1, n_subjects=3, window_s=20.0)
    both = Shards([short, long])
    assert len(both.entries) == 2 * 2 * 3 + 1 * 3 * 3
    assert {entry.n_times for entry in both.entries} == {2560, 5120}
    assert both.manifest.digest not in {Shards(short).manifest.digest, Shards(long).manifest.digest}
    # subjects site0-s0 and -s1 are in both sets: 3 + 3 windows
    assert both.manifest.subjects["site0-s0"].n_windows == 6
    np.testing.assert_array_equal(both.window(12).data, Shards(long).window(0).data)
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
    with pytest.raises(ValueError, match="1 of 6 windows cannot be read"):
        Shards(folder)
    shards = Shards(folder, max_corrupt=0.2)
    assert shards.n_corrupt == 1
    assert [entry.row for entry in shards.entries] == [0, 1, 2, 0, 1]
