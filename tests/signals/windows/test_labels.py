import pytest

from pipelines.intake.inputs import InputError, find_inputs
from signals.windows.labels import LabelError, read_labels

VOTES = "seizure_vote,lpd_vote,gpd_vote,lrda_vote,grda_vote,other_vote"


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
    entry = table.of("/x/a/a.edf", "a")
    assert entry.subject == "p"
    assert [(label.onset_s, label.label, sum(label.votes)) for label in entry.labels] == [
        (0, "LPD", 4),
        (50, "Seizure", 1),
    ]


def test_a_name_that_two_sites_share_needs_the_site(tmp_path):
    table = read_labels(write(tmp_path, "site,subject,file,label\nA,p,x.edf,rest\nB,q,x.edf,task\n"))
    assert table.of("/data/b/x.edf", "b").subject == "q"
    assert table.of("/data/c/x.edf", "c") is None


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
    assert [label.duration_s for label in table.of("a.edf", "").labels] == [90.0, None]
    assert [label.duration_s for label in table.of("b.edf", "").labels] == [None]  # the file's length, not a stretch
    path.write_text("file,onset_s,duration_s,label\na.edf,10,long,LPD\n")
    with pytest.raises(LabelError, match="duration_s='long' is no number"):
        read_labels(path)
