import pytest

from pipelines.runs import storage
from pipelines.runs.publish import PRIVATE, clear, private_folder, publish, publish_failure
from signals.shards.manifest import MANIFEST


@pytest.fixture(params=["local", "remote"])
def place(request, tmp_path):
    """A folder of this machine, and one of Google's."""
    if request.param == "local":
        return str(tmp_path)
    request.getfixturevalue("bucket")
    return "gs://cerebeam/publish"


def written(output):
    """A working folder as a run leaves it: a shard, accounting, the private list and a note of progress."""
    working = storage.working_folder(output)
    for name in (MANIFEST, "report.html", "site=north/windows-00000-of-00001.tfrecord.snappy", "_progress/x.json"):
        storage.write_text(storage.join(working, name), name)
    storage.write_text(storage.join(private_folder(working), PRIVATE), "/clinic/erika.edf")
    return working


def names(folder):
    return [path.removeprefix(storage.join(folder, "")) for path in storage.list_files(folder)]


def test_a_set_takes_the_place_of_the_old_one(place):
    output = storage.join(place, "out")
    clear(storage.working_folder(output))
    publish_failure(written(output), output)
    if not storage.is_remote(output):  # a remote run works in the output, which it empties when it begins
        storage.write_text(storage.join(output, "old"), "")
    storage.write_text(storage.join(private_folder(output), "old.jsonl"), "")
    clear(storage.working_folder(output))
    publish(written(output), output)
    assert names(output) == [
        "_progress/x.json", MANIFEST, "report.html", "site=north/windows-00000-of-00001.tfrecord.snappy"
    ]  # fmt: skip
    assert names(private_folder(output)) == [PRIVATE]
    assert not [name for name in names(place) if ".failed" in name or ".partial" in name]


def test_a_failure_keeps_the_report_without_shards_beside_the_output(place):
    output = storage.join(place, "out")
    failed = publish_failure(written(output), output)
    assert failed == f"{output}.failed"
    assert names(failed) == ["report.html"]
    assert names(private_folder(failed)) == [PRIVATE]
    assert names(place) == [f"out.failed.private/{PRIVATE}", "out.failed/report.html"]


def test_a_crash_between_old_and_new_leaves_both(tmp_path, monkeypatch):
    output = str(tmp_path / "out")
    storage.write_text(storage.join(output, "old"), "")
    storage.write_text(storage.join(private_folder(output), "old.jsonl"), "")
    working, move = written(output), storage.move_folder
    monkeypatch.setattr(
        storage, "move_folder", lambda old, new: pytest.fail("power") if new == output else move(old, new)
    )
    with pytest.raises(pytest.fail.Exception):
        publish(working, output)
    assert names(f"{output}.replaced") == ["old"]
    assert names(private_folder(f"{output}.replaced")) == ["old.jsonl"]
    assert MANIFEST in names(working)
    monkeypatch.undo()
    publish(working, output)  # whoever runs again: what was there before goes when the new set is in its place
    assert MANIFEST in names(output)
    assert not [name for name in names(str(tmp_path)) if "old" in name]
