"""Remote recordings through a store that is a folder: what is fetched, how much disk it takes, what is refused."""

import hashlib
import shutil
import threading
from pathlib import Path

import numpy as np
import pytest

from signals.readers import remote
from signals.readers.registry import open_recording, reopen_recording, source_files
from signals.readers.remote import TransferError, is_remote, local_copy, register_store, remote_sha256
from signals.recording.recording import UnreadableError
from synthetic.recordings.files import write_edf

PAGE = 4096
NAMES = ("Fp1", "Fp2", "C3", "C4")
N_SECONDS, SFREQ = 120, 128
RECORD_BYTES = len(NAMES) * SFREQ * 2


class Folder:
    """A store over a folder, which notes what is read and may be unreachable."""

    def __init__(self, root):
        self.root, self.reads, self.files = root, [], []

    def _path(self, uri):
        return self.root / uri.removeprefix("mem://")

    def size(self, uri):
        return self._path(uri).stat().st_size

    def open(self, uri):
        store, file = self, self._path(uri).open("rb")
        self.files.append(file)

        class Counted:
            seek, close = file.seek, file.close

            def read(self, n):
                octets = file.read(n)
                store.reads.append((uri.rpartition("/")[2], len(octets)))
                return octets

        return Counted()

    def siblings(self, uri):
        return [f"{uri.rpartition('/')[0]}/{path.name}" for path in sorted(self._path(uri).parent.iterdir())]

    def n_bytes(self, name=""):
        return sum(n for read, n in self.reads if name in ("", read))


@pytest.fixture
def store(tmp_path, monkeypatch):
    monkeypatch.setattr(remote, "PAGE_BYTES", PAGE)
    monkeypatch.setattr(remote, "_HEAD_BYTES", PAGE)
    monkeypatch.setattr(remote, "_mirrors", type(remote._mirrors)())
    monkeypatch.setattr(remote, "_scratch", [tmp_path / "scratch"])
    (tmp_path / "bucket" / "a").mkdir(parents=True)
    store = Folder(tmp_path / "bucket")
    register_store(store)
    yield store
    register_store(None)


def put_edf(store, name="a/x.edf", *, kind="edf", seed=0):
    x = np.random.default_rng(seed).integers(-3000, 3000, (len(NAMES), N_SECONDS * SFREQ))
    # EDF+D: a pause of a minute after half of it.
    onsets = [float(second + 60 * (kind == "edf+d" and second >= N_SECONDS // 2)) for second in range(N_SECONDS)]
    path = store.root / name
    write_edf(path, [x], file_format=kind, ch_names=NAMES, sfreq=SFREQ, patient="X", record_onsets_s=onsets)
    return f"mem://{name}", path


def on_disk(tmp_path):
    return sum(512 * path.stat().st_blocks for path in (tmp_path / "scratch").rglob("*") if path.is_file())


def test_what_is_remote():
    assert is_remote("gs://bucket/x.edf")
    assert not is_remote("/data/x.edf")
    assert not is_remote("file:///data/x.edf")
    with local_copy("file:///data/x.edf") as path:
        assert path == Path("/data/x.edf")
    assert remote_sha256("/data/x.edf") is None


def test_only_the_records_of_a_range_are_fetched(store):
    uri, path = put_edf(store)
    local = open_recording(str(path))
    recording = open_recording(uri)
    # The head alone, one page: header and a first record for the look at what it is.
    assert store.n_bytes() == PAGE
    for start, stop in [(0, 1), (1000, 1001), (127, 129), (5000, 9000), (N_SECONDS * SFREQ - 1, N_SECONDS * SFREQ)]:
        before = store.n_bytes()
        got = recording.read([2, 0], start=start, stop=stop)
        assert np.array_equal(got, local.read([2, 0], start=start, stop=stop))
        n_records = -(-stop // SFREQ) - start // SFREQ
        # A range of records begins and ends within a page.
        assert store.n_bytes() - before <= n_records * RECORD_BYTES + 2 * PAGE
    before = store.n_bytes()
    recording.read([1], start=5000, stop=9000)  # these pages are there
    assert store.n_bytes() == before
    assert recording.uri == uri


def test_a_second_segment_is_fetched_from_where_it_lies(store):
    uri, path = put_edf(store, kind="edf+d")
    local = open_recording(str(path))
    recording = open_recording(uri)
    assert [segment.onset_s for segment in recording.segments] == [0.0, 120.0]
    remote._mirrors.clear()  # as in another process: nothing was fetched there
    assert np.array_equal(
        recording.read([3], segment=1, start=100, stop=900), local.read([3], segment=1, start=100, stop=900)
    )


@pytest.mark.parametrize(("kind", "again", "is_whole"), [
    ("edf", False, False), ("edf+d", False, True), ("edf+d", True, False), ("bdf", False, False),
])  # fmt: skip
def test_every_record_is_fetched_once_and_only_for_annotations_and_gaps(store, kind, again, is_whole):
    uri, path = put_edf(store, kind=kind)
    opened = reopen_recording(uri, open_recording(str(path)).header) if again else open_recording(uri)
    assert len(opened.segments) == (2 if kind == "edf+d" else 1)
    assert (store.n_bytes() == path.stat().st_size) == is_whole


def test_annotations_of_a_continuous_file_are_fetched_once(store):
    uri, path = put_edf(store, kind="edf+d")
    octets = bytearray(path.read_bytes())
    octets[192:197] = b"EDF+C"
    path.write_bytes(octets)
    recording = reopen_recording(uri, open_recording(str(path)).header)
    assert store.n_bytes() == PAGE
    recording.read([0], start=10 * SFREQ, stop=11 * SFREQ)
    assert store.n_bytes() <= 3 * PAGE
    with local_copy(uri):
        pass
    assert store.n_bytes() == path.stat().st_size


HEADER = """Brain Vision Data Exchange Header File Version 1.0
[Common Infos]
DataFile=samples.eeg
MarkerFile=x.vmrk
DataFormat=BINARY
NumberOfChannels=2
SamplingInterval=4000
[Binary Infos]
BinaryFormat=INT_16
[Channel Infos]
Ch1=Fp1,,1,µV
Ch2=Fp2,,1,µV
"""


def put_brainvision(store):
    folder = store.root / "a"
    (folder / "x.vhdr").write_text(HEADER, encoding="utf-8")
    (folder / "samples.eeg").write_bytes(np.arange(20_000, dtype="<i2").tobytes())
    (folder / "x.vmrk").write_text("[Marker Infos]\nMk1=Stimulus,S  3,11,1,0\n")
    for name in ("x1.vmrk", "x10.eeg", "y.eeg", "yx.vmrk"):  # of recordings beside it
        (folder / name).write_bytes(bytes(9000))
    return "mem://a/x.vhdr"


def test_side_files_come_along_and_strangers_do_not(store, tmp_path):
    recording = open_recording(put_brainvision(store))
    assert {name for name, _ in store.reads} == {"x.vhdr", "samples.eeg", "x.vmrk"}
    assert recording.annotations[0].onset_s == 10 / 250
    assert recording.read([1], start=5, stop=8).tolist() == [[11.0, 13.0, 15.0]]
    assert [path.name for path in source_files("mem://a/x.vhdr")] == ["x.vhdr", "samples.eeg", "x.vmrk"]
    assert store.n_bytes("samples.eeg") == 40_000  # once, however often it is used
    assert remote_sha256("mem://a/x.vhdr") is None  # digested with its side files, locally


def test_the_digest_of_a_remote_file_is_that_of_its_bytes(store):
    uri, path = put_edf(store)
    assert remote_sha256(uri) == hashlib.sha256(path.read_bytes()).hexdigest()
    whole, _ = put_edf(store, "a/d.edf", kind="edf+d")
    assert remote_sha256(whole) is None  # it is on this disk already


def test_disk_and_open_files_are_bounded(store, tmp_path, monkeypatch):
    most = 30 * PAGE
    monkeypatch.setattr(remote, "SCRATCH_BYTES", most)
    monkeypatch.setattr(remote, "MOST_MIRRORS", 3)
    recordings, locals_ = [], []
    for number in range(5):
        uri, path = put_edf(store, f"a/{number}.edf", seed=number)
        recordings.append(open_recording(uri))
        locals_.append(open_recording(str(path)))
        assert len(remote._mirrors) <= 3
    for start in range(0, N_SECONDS * SFREQ - 2000, 2000):
        for recording, local in zip(recordings, locals_, strict=True):
            assert np.array_equal(
                recording.read([0], start=start, stop=start + 2000), local.read([0], start=start, stop=start + 2000)
            )
            assert on_disk(tmp_path) <= most
            assert remote._held_bytes() <= most
            assert len(remote._mirrors) <= 3
    # What was dropped is gone from the disk, and its remote file is closed.
    assert len([path for path in (tmp_path / "scratch").rglob("*") if path.is_file()]) <= 3
    assert sum(not file.closed for file in store.files) <= 3


def test_one_long_file_gives_its_own_pages_back(store, tmp_path, monkeypatch):
    monkeypatch.setattr(remote, "SCRATCH_BYTES", 10 * PAGE)
    uri, path = put_edf(store)
    recording, local = open_recording(uri), open_recording(str(path))
    for start in range(0, N_SECONDS * SFREQ - 1000, 1000):
        assert np.array_equal(
            recording.read([1], start=start, stop=start + 1000), local.read([1], start=start, stop=start + 1000)
        )
        assert on_disk(tmp_path) <= 10 * PAGE
    # Its head stays: reopening fetches nothing.
    before = store.n_bytes()
    reopen_recording(uri, recording.header)
    assert store.n_bytes() == before


def test_threads_share_mirrors(store, monkeypatch):
    monkeypatch.setattr(remote, "SCRATCH_BYTES", 12 * PAGE)
    monkeypatch.setattr(remote, "MOST_MIRRORS", 2)
    pairs = []
    for number in range(4):
        uri, path = put_edf(store, f"a/{number}.edf", seed=number)
        pairs.append((open_recording(uri), open_recording(str(path)).read([0])))
    wrong = []

    def work(seed):
        rng = np.random.default_rng(seed)
        for _ in range(40):
            recording, whole = pairs[rng.integers(4)]
            start = int(rng.integers(0, N_SECONDS * SFREQ - 600))
            if not np.array_equal(recording.read([0], start=start, stop=start + 600), whole[:, start : start + 600]):
                wrong.append(start)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_a_file_that_shrank_is_worth_another_try(store):
    uri, path = put_edf(store)
    recording = open_recording(uri)
    path.write_bytes(path.read_bytes()[:20_000])
    with pytest.raises(TransferError, match="bytes came"):
        recording.read([0], start=10_000, stop=10_100)
    assert recording.read([0], start=0, stop=10).shape == (1, 10)


def test_what_cannot_be_opened_has_its_reason(store):
    with pytest.raises(UnreadableError) as caught:
        open_recording("mem://a/none.edf")
    assert (caught.value.reason, caught.value.detail) == ("missing_file", "(the file) does not exist")
    register_store(None)
    with pytest.raises(UnreadableError) as caught:
        open_recording("mem://a/none.edf")
    assert (caught.value.reason, caught.value.detail.split(";")[0]) == (
        "unsupported_format", "mem:// is not read directly",
    )  # fmt: skip


def test_a_replaced_store_gets_no_more_requests(store, tmp_path):
    uri, _ = put_edf(store)
    shutil.copytree(store.root, tmp_path / "second")
    second = Folder(tmp_path / "second")
    register_store(second)
    open_recording(uri)
    assert (len(store.files), len(second.files)) == (0, 1)
