import hashlib

import pytest

from signals.files import atomic_file, atomic_folder, file_sha256


def test_a_folder_takes_its_name_when_it_is_full(tmp_path):
    for _ in range(2):  # an empty folder of that name is no obstacle
        with atomic_folder(tmp_path / "a" / "out") as folder:
            (folder / "x").write_text("1")
            assert not (tmp_path / "a" / "out" / "x").exists()
        assert (tmp_path / "a" / "out" / "x").read_text() == "1"
        (tmp_path / "a" / "out" / "x").unlink()
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["out"]


def test_a_failure_leaves_nothing(tmp_path):
    def fail():
        with atomic_folder(tmp_path / "out") as folder:
            (folder / "x").write_text("1")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert not list(tmp_path.iterdir())


def test_what_a_killed_process_left_does_not_get_in(tmp_path):
    (tmp_path / "out.partial").mkdir()
    (tmp_path / "out.partial" / "old").write_text("of a killed run")
    with atomic_folder(tmp_path / "out") as folder:
        (folder / "new").write_text("")
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["new"]


@pytest.mark.parametrize("kind", ["file", "folder"])
def test_what_exists_is_not_overwritten(tmp_path, kind):
    (tmp_path / "out").write_text("mine") if kind == "file" else (tmp_path / "out" / "mine").mkdir(parents=True)
    with pytest.raises(ValueError, match="out exists and is not an empty folder"), atomic_folder(tmp_path / "out"):
        pytest.fail("the block must not run")
    assert (tmp_path / "out").exists()


def test_a_file_is_there_whole_or_as_it_was(tmp_path):
    path = tmp_path / "deep" / "f"
    with atomic_file(path) as file:
        file.write(b"one")

    def fail():
        with atomic_file(path) as file:
            file.write(b"half of tw")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert path.read_bytes() == b"one"
    assert [other.name for other in path.parent.iterdir()] == ["f"]
    assert file_sha256(path) == hashlib.sha256(b"one").hexdigest()
