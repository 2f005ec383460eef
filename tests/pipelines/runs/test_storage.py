import pytest

from pipelines.runs import storage


@pytest.fixture(params=["local", "gs"])
def folder(request, tmp_path):
    if request.param == "gs":
        request.getfixturevalue("bucket")
        return "gs://cerebeam/some/folder"
    return str(tmp_path / "folder")


def half_written(path):
    with storage.create(path) as file:
        file.write(b"half")
        raise RuntimeError("in between")


def test_a_file_is_there_whole_or_not_at_all(folder):
    path = storage.join(folder, "a", "b.bin")
    with pytest.raises(RuntimeError, match="in between"):
        half_written(path)
    assert storage.list_files(folder) == []
    with storage.create(path) as file:
        file.write(b"first")
    with pytest.raises(RuntimeError, match="in between"):
        half_written(path)
    with storage.open_file(path) as file:
        assert file.read() == b"first"
    storage.write_text(path, "zweite µ")
    assert storage.read_text(path) == "zweite µ"
    assert storage.list_files(folder) == [path]


def test_verbs(folder):
    a, b = storage.join(folder, "a.txt"), storage.join(folder, "sub", "b.gz")
    for path in (a, b):
        storage.write_text(path, "abc")
    # sha256("abc"), FIPS 180-2 appendix B.1; a name that ends in .gz is not decompressed
    assert storage.sha256(b) == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert storage.list_files(folder) == [a, b]
    assert storage.exists(a)
    assert not storage.exists(storage.join(folder, "c"))
    storage.delete(a)
    storage.delete(a)
    assert storage.list_files(folder) == [b]
    storage.delete_folder(folder)
    storage.delete_folder(folder)
    assert storage.list_files(folder) == []
    with pytest.raises(FileNotFoundError):
        storage.read_text(a)


def test_an_unknown_file_system_is_one_line():
    with pytest.raises(storage.StorageError, match="no file system for ftp://host/x"):
        storage.check_scheme("ftp://host/x")
    storage.check_scheme("/local/is/fine")
