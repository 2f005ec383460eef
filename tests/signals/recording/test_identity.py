import hashlib
import hmac
import os
import string
from pathlib import Path

import pytest
from scipy.io import savemat

from signals.readers.digests import source_sha256
from signals.recording.identity import hash_file, hash_subject, names_somebody, salt_id
from signals.recording.recording import UnreadableError

REAL_DATA = os.environ.get("CEREBEAM_REAL_DATA", "")


def test_subjects_are_keyed_digests():
    wanted = hmac.new(b"pepper", b"6:boston/S-1", hashlib.sha256).hexdigest()[:16]
    assert hash_subject("boston", "S-1", salt="pepper") == wanted
    assert set(wanted) <= set(string.hexdigits)


def test_site_subject_and_salt_all_count():
    hashes = {
        hash_subject(site, subject, salt=salt)
        for site, subject in [("a", "b/c"), ("a/b", "c"), ("a", "c"), ("b", "c")]
        for salt in ("x", "y")
    }
    assert len(hashes) == 8


def test_nothing_is_hashed_without_salt_or_subject():
    with pytest.raises(ValueError, match="salt is empty"):
        hash_subject("a", "b", salt="")
    with pytest.raises(ValueError, match="is empty"):
        hash_subject("a", "", salt="x")


def test_files_and_salts_are_keyed_digests_of_their_own():
    wanted = hmac.new(b"pepper", b"file/a/b.edf", hashlib.sha256).hexdigest()[:16]
    assert hash_file("a/b.edf", salt="pepper") == wanted
    assert salt_id("pepper") == hmac.new(b"pepper", b"which salt is this", hashlib.sha256).hexdigest()[:16]
    # Neither tells the salt, nor which subject is which file.
    files = {hash_file("x", salt="s"), hash_file("x", salt="t"), hash_file("y", salt="s")}
    subjects = {hash_subject("", "x", salt="s"), hash_subject("file", "x", salt="s")}
    assert len(files | subjects | {salt_id("s"), salt_id("t")}) == 7


def test_side_files_count(tmp_path):
    eeg = {"nbchan": 1, "pnts": 10, "srate": 10, "trials": 1, "data": "x.fdt", "chanlocs": {"labels": "Cz"}}
    savemat(tmp_path / "x.set", {"EEG": eeg})
    tmp_path.joinpath("x.fdt").write_bytes(bytes(40))
    first = source_sha256(tmp_path / "x.set")
    parts = [hashlib.sha256(tmp_path.joinpath(name).read_bytes()).hexdigest() for name in ("x.set", "x.fdt")]
    assert first == hashlib.sha256("".join(parts).encode()).hexdigest()
    tmp_path.joinpath("x.fdt").write_bytes(b"\x01" + bytes(39))
    assert source_sha256(tmp_path / "x.set") != first


def test_a_missing_file(tmp_path):
    with pytest.raises(UnreadableError, match="missing_file"):
        source_sha256(tmp_path / "none.edf")


@pytest.mark.skipif(not Path(REAL_DATA, "awkward").is_dir(), reason="CEREBEAM_REAL_DATA is not set")
def test_a_single_file_has_its_own_sha256():
    # as listed in the MANIFEST.csv beside it
    wanted = "8c45e762c5ef9887ba88f98cb9d0de0707591857ab389f29a496a3e9560910fe"
    assert source_sha256(Path(REAL_DATA, "awkward/pyedflib/test_utf8.edf")) == wanted


@pytest.mark.parametrize(
    "word",
    ["x", "xxx", "0", "na", "none", "unknown", "anonymous", "anonymized", "anonymised", "anon", "patient", "subject",
     "test", "name", "noname"],
)  # fmt: skip
def test_fillers_name_nobody(word):
    assert not names_somebody(word.upper())
    assert not names_somebody(f" {word}, X_unknown ")
    assert names_somebody(f"{word} Erika")
    assert names_somebody(f"{word}7")


@pytest.mark.parametrize("text", ["", " ", "_-,."])
def test_nothing_names_nobody(text):
    assert not names_somebody(text)
