import pytest

from pipelines.intake.inputs import InputError, find_inputs
from signals.windows.labels import LabelError, Origin, read_labels

VOTES = "seizure_vote,lpd_vote,gpd_vote,lrda_vote,grda_vote,other_vote"


def match(table, path):
    return table.match({path: Origin(())})[path]


def write(tmp_path, text):
    path = tmp_path / "labels.csv"
    path.write_text(text)
    return path


def test_rows_of_a_recording_are_gathered(tmp_path):
    table = read_labels(
        write(
            tmp_path,
            f"site,subject,file,onset_s,label,{VOTES}\nA,p,a.edf,0,LPD,0,3,0,0,0,1\nA,p,a.edf,50,,1,0,0,0,0,0\n",
        )
    )
    entry = table.match({"/x/a/a.edf": Origin(("a",))})["/x/a/a.edf"]
    assert entry.subject == "p"
    assert [(label.onset_s, label.label, sum(label.votes)) for label in entry.labels] == [
        (0, "LPD", 4),
        (50, "Seizure", 1),
    ]


def matched(tmp_path, text, *paths, is_declared=False):
    """{path: subject} of recordings whose site is their folder's name."""
    table = read_labels(write(tmp_path, text))
    found = table.match({path: Origin((path.split("/")[-2],), is_declared=is_declared) for path in paths})
    return {path: entry.subject for path, entry in found.items()}


def test_a_name_that_two_sites_share_needs_the_site(tmp_path):
    text = "site,subject,file,label\nA,p,x.edf,rest\nB,q,x.edf,task\n"
    assert matched(tmp_path, text, "/data/a/x.edf", "/data/b/x.edf") == {"/data/a/x.edf": "p", "/data/b/x.edf": "q"}
    assert matched(tmp_path, text, "/data/c/x.edf") == {}


def test_labels_do_not_jump_between_sites(tmp_path):
    text = "site,file,subject,label\nnorth,sub01.edf,anna,Epilepsy\n"
    north, south = "/data/north/sub01.edf", "/data/south/sub01.edf"
    assert matched(tmp_path, text, north, south) == {north: "anna"}
    # Where folders are declared to be sites, the only file of the name is not of another site either.
    assert matched(tmp_path, text, south, is_declared=True) == {}
    # Where they are not, the label file's name for its site is as good as the folder's.
    assert matched(tmp_path, text, south) == {south: "anna"}
    with pytest.raises(LabelError, match="line 2: 2 recordings are called so; write enough of the path"):
        matched(tmp_path, text, "/data/p1/sub01.edf", "/data/p2/sub01.edf")


def test_a_path_distinguishes_recordings_of_one_name(tmp_path):
    text = "file,subject,label\np1/eeg/rec.edf,anna,LPD\np2/eeg/rec.edf,bert,GPD\n./rec.edf,carl,LPD\n"
    paths = ["/data/p1/eeg/rec.edf", "/data/p2/eeg/rec.edf"]
    with pytest.raises(LabelError, match="line 4"):
        matched(tmp_path, text, *paths)
    assert matched(tmp_path, text.rsplit("./", 1)[0], *paths) == dict(zip(paths, ["anna", "bert"], strict=True))
    with pytest.raises(LabelError, match="2 recordings are called so"):
        matched(tmp_path, "file,subject,label\nrec.edf,anna,LPD\n", *paths)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("subject,label\np,LPD\n", "column 'file'"),
        (f"file,{VOTES}\na.edf,0,0,0,0,0,0\n", "line 2 .a.edf.: vote counts"),
        (f"file,{VOTES}\na.edf,-1,2,0,0,0,0\n", "must not be negative"),
        (f"file,{VOTES}\na.edf,1,,0,0,0,0\n", "not all numbers"),
        ("file,onset_s,label\na.edf,soon,LPD\n", "onset_s='soon' is no number"),
        ("file,subject,label\na.edf,p,LPD\na.edf,q,LPD\n", "several subjects"),
        ("file,label\na.edf,LPD,extra\n", "not as many fields"),
        ("file,label\n ,LPD\n", "column 'file' is empty"),
    ],
)
def test_rows_that_cannot_be_used_are_named(tmp_path, text, says):
    with pytest.raises(LabelError, match=says):
        read_labels(write(tmp_path, text))


def test_side_files_are_no_recordings(tmp_path):
    for name in ("a.edf", "b.vhdr", "b.eeg", "b.vmrk", "participants.tsv", "README.md", ".hidden"):
        (tmp_path / name).touch()
    inputs = find_inputs([str(tmp_path)], None, ())
    assert [file.uri.rsplit("/", 1)[1] for file in inputs.files] == ["a.edf", "b.vhdr"]
    assert len(inputs.side_files) == 5


def test_a_glob_takes_what_it_matches(tmp_path):
    for name in ("a.edf", "b.bdf"):
        (tmp_path / name).touch()
    assert len(find_inputs([str(tmp_path / "*.bdf")], None, ()).files) == 1
    with pytest.raises(InputError, match="does not exist or holds no file"):
        find_inputs([str(tmp_path / "*.set")], None, ())


def test_a_row_with_an_onset_may_have_a_duration(tmp_path):
    path = tmp_path / "labels.csv"
    path.write_text("file,onset_s,duration_s,label\na.edf,10,90,LPD\na.edf,200,,GPD\nb.edf,,300,Other\n")
    table = read_labels(path)
    assert [label.duration_s for label in match(table, "a.edf").labels] == [90.0, None]
    assert [label.duration_s for label in match(table, "b.edf").labels] == [None]  # the file's length, not a stretch
    path.write_text("file,onset_s,duration_s,label\na.edf,10,long,LPD\n")
    with pytest.raises(LabelError, match="duration_s='long' is no number"):
        read_labels(path)


@pytest.mark.parametrize(
    ("rows", "expected"),
    [("rest,\n", "unknown"), ("rest, Experts \n", "experts"), ("rest,synthetic\ntask,synthetic\n", "synthetic")],
)
def test_who_labelled_a_recording(tmp_path, rows, expected):
    text = "file,label,label_source\n" + "".join(f"a.edf,{row}\n" for row in rows.splitlines())
    assert match(read_labels(write(tmp_path, text)), "/x/a.edf").label_source == expected


def test_a_column_that_is_missing_names_nobody(tmp_path):
    assert match(read_labels(write(tmp_path, "file,label\na.edf,rest\n")), "/x/a.edf").label_source == "unknown"


@pytest.mark.parametrize(
    ("rows", "words"),
    [("a.edf,rest,me\n", "line 2: label_source 'me' is not one of experts"),
     ("b.edf,rest,experts\na.edf,rest,experts\na.edf,task,synthetic\n", "line 3: label_source differs")],
)  # fmt: skip
def test_sources_that_are_unknown_or_contradict_each_other_are_refused(tmp_path, rows, words):
    with pytest.raises(LabelError, match=words):
        read_labels(write(tmp_path, f"file,label,label_source\n{rows}"))
