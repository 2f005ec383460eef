from pathlib import Path
from tempfile import TemporaryDirectory

from hypothesis import given
from hypothesis import strategies as st

from pipelines.stages.finish import renumber
from signals.shards.manifest import Shard, shard_name


def written(root, site, index, total):
    path = shard_name(site, index, total)
    (root / path).parent.mkdir(exist_ok=True)
    (root / path).write_text(f"{site} {index}")
    return Shard(path=path, site_id=site, n_windows=1, n_bytes=1, sha256="")


@given(total=st.integers(1, 12), data=st.data())
def test_numbers_have_no_gap_whatever_stayed_empty(total, data):
    filled = data.draw(st.sets(st.integers(0, total - 1), min_size=1))
    with TemporaryDirectory() as folder:
        root = Path(folder)
        shards = [written(root, "north", i, total) for i in sorted(filled, reverse=True)]
        renamed = renumber(str(root), shards)
        assert [s.path for s in renamed] == [shard_name("north", i, len(filled)) for i in range(len(filled))]
        # Order is kept, and nothing else lies there.
        assert [(root / s.path).read_text() for s in renamed] == [f"north {i}" for i in sorted(filled)]
        assert len(list(root.rglob("*.snappy"))) == len(filled)
        # A second try, after a crash behind the renaming, ends the same.
        assert renumber(str(root), shards) == renamed
        assert [(root / s.path).read_text() for s in renamed] == [f"north {i}" for i in sorted(filled)]


def test_a_crash_in_the_middle_of_renaming(tmp_path):
    shards = [written(tmp_path, "north", i, 4) for i in (1, 2, 3)]
    # One of three was renamed before the crash.
    (tmp_path / shards[0].path).replace(tmp_path / shard_name("north", 0, 3))
    renamed = renumber(str(tmp_path), shards)
    assert [(tmp_path / s.path).read_text() for s in renamed] == ["north 1", "north 2", "north 3"]
