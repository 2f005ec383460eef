"""Which texts of a shard set are looked at, and under which names: what is not listed no rule can hold to account."""

import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines.shard_sets.texts import Text, texts_of
from signals.shards.example import decode_example, encode_example
from signals.shards.manifest import read_manifest
from signals.shards.records import decode_window
from signals.shards.tfrecord import read_shard, write_shard


def written(root, name, content):
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return list(texts_of(root))[1:]


def test_files_are_listed_by_their_names_in_order(tmp_path):
    for name in ("b/2.txt", "b/1.txt", "a.json"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("")
    listed = [text for text in texts_of(tmp_path) if text.field == "file"]
    assert listed == [Text(name, "file", name) for name in ("a.json", "b/1.txt", "b/2.txt")]


def test_keys_and_values_of_json(tmp_path):
    fields = {"subjects": {"S1": {"site_id": "north"}}, "events": {"seizure": 2}, "a": ["x", {"b": "y"}], "n": 3}
    assert written(tmp_path, "m.json", json.dumps(fields)) == [
        Text("m.json", "key", "subjects"), Text("m.json", "subject_id", "S1"), Text("m.json", "key", "site_id"),
        Text("m.json", "site_id", "north"), Text("m.json", "key", "events"), Text("m.json", "event", "seizure"),
        Text("m.json", "key", "a"), Text("m.json", "a", "x"), Text("m.json", "key", "b"), Text("m.json", "b", "y"),
        Text("m.json", "key", "n"),
    ]  # fmt: skip


def test_rows_are_distinguished(tmp_path):
    texts = written(tmp_path, "r.jsonl", '{"a": "1"}\n{"a": "2"}\nno json\n')
    assert texts == [
        Text("r.jsonl line 1", "key", "a"), Text("r.jsonl line 1", "a", "1"), Text("r.jsonl line 2", "key", "a"),
        Text("r.jsonl line 2", "a", "2"), Text("r.jsonl line 3", "content", "no json"),
    ]  # fmt: skip


def test_other_files_are_plain_text(tmp_path):
    assert written(tmp_path, "a.txt", b"Erika \xff") == [Text("a.txt", "content", "Erika \ufffd")]
    assert written(tmp_path / "json", "a.json", "{broken") == [Text("a.json", "content", "{broken")]


def test_what_a_page_shows_and_what_it_holds(tmp_path):
    html = (
        "<html><style>p{color:red}</style><body class='wide'><p title='hover'>text &amp; more</p><img alt='pic' "
        "data-of='x'><!-- remark --><svg viewBox='0 0 1 1'></svg>tail</body></html>"
    )
    texts = {(text.field, text.text): text.is_prose for text in written(tmp_path, "p.html", html)}
    assert texts == {
        ("style", "p{color:red}"): False, ("class", "wide"): True, ("title", "hover"): True,
        ("text", "text & more"): True, ("alt", "pic"): True, ("data-of", "x"): False, ("text", " remark "): True,
        ("viewbox", "0 0 1 1"): False, ("text", "tail"): True,
    }  # fmt: skip


def test_fields_of_records(shard_set):
    shard = read_manifest(shard_set).shards[0]
    path = shard_set / shard.path
    first, *rest = list(read_shard(path))
    second = encode_example({**decode_example(rest[0]), "nurse": b"Nora"})
    write_shard(path, [first, second, *rest[1:]])
    texts = [text for text in texts_of(shard_set) if text.where.startswith(f"{shard.path} record")]
    of_first = {text.field: text.text for text in texts if text.where == f"{shard.path} record 0"}
    # A field of JSON by its keys, and each of its values under its own name.
    names = ("site_id", "subject_id", "recording_id", "reader", "modality", "source_sha256")
    window = decode_window(first)
    assert {name: of_first[name] for name in names} == {
        "site_id": "north", "subject_id": window.subject_id, "recording_id": window.recording_id, "reader": "edf",
        "modality": "eeg_1020", "source_sha256": window.provenance.source_sha256,
    }  # fmt: skip
    assert "signal" not in of_first or len(of_first["signal"]) < 20  # samples are no text
    assert "nurse" not in of_first
    second = [(text.field, text.text) for text in texts if text.where == f"{shard.path} record 1"]
    assert ("unknown field", "nurse") in second
    assert ("nurse", "Nora") in second
    assert len({text.where for text in texts}) == 12


def test_rows_of_an_index(shard_set):
    index = read_manifest(shard_set).shards[0].index.path
    table = pq.read_table(shard_set / index)
    pq.write_table(table.append_column("nurse", pa.array(["Nora"] * table.num_rows)), shard_set / index)
    texts = [text for text in texts_of(shard_set) if text.where.startswith(index) and text.field != "file"]
    assert Text(index, "unknown field", "nurse") in texts
    assert Text(f"{index} row 11", "nurse", "Nora") in texts
    assert {text.text for text in texts if text.field == "site_id"} <= {"north"}
    assert [text.text for text in texts if text.field == "unknown field"] == ["nurse"]


@pytest.mark.parametrize("suffix", [".json", ".jsonl", ".html", ".txt"])
def test_bytes_that_are_no_text_end_nothing(tmp_path, suffix):
    assert all("\ufffd" in text.text for text in written(tmp_path, f"a{suffix}", b"\xff\xfe\xfa"))
