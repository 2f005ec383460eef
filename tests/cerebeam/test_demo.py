import pytest

from cerebeam.demo import DemoError, choose_task, main

HEADER = "site,subject,file,label\n"


def labels(tmp_path, rows):
    path = tmp_path / "labels.csv"
    path.write_text(HEADER + "".join(",".join(row) + "\n" for row in rows))
    return path


def test_chooses_the_task_with_most_known_subjects(tmp_path):
    rows = [("a", f"s{i}", f"{i}.edf", "ADHD" if i % 2 else "Control") for i in range(6)]
    rows += [("b", "p1", "x.edf", "rest"), ("b", "p2", "y.edf", "mental_arithmetic")]
    task, group = choose_task(labels(tmp_path, rows), None)
    assert (task.name, group) == ("adhd", "subject")


def test_controls_of_another_site_are_no_controls(tmp_path):
    rows = [("a", f"s{i}", f"{i}.edf", "ADHD") for i in range(4)] + [
        ("b", f"c{i}", f"c{i}.edf", "Control") for i in range(4)
    ]
    with pytest.raises(DemoError, match="allow no task 'adhd'"):
        choose_task(labels(tmp_path, rows), "adhd")


def test_leaves_out_sites_where_three_have_the_classes(tmp_path):
    rows = [
        (site, f"{site}{c}{i}", f"{site}{c}{i}.edf", c) for site in "abc" for c in ("LPD", "Other") for i in range(2)
    ]
    task, group = choose_task(labels(tmp_path, rows), "six-class")
    assert (task.name, group) == ("six-class", "site")


def test_unknown_subjects_do_not_count(tmp_path):
    rows = [("a", "unknown", f"{i}.mat", c) for i, c in enumerate(["Seizure", "LPD"])]
    with pytest.raises(DemoError, match="allow no task"):
        choose_task(labels(tmp_path, rows), "six-class")


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (["--input", "nowhere", "--labels", "LABELS"], "nowhere does not exist"),
        (["--input", "."], "go together"),
        (["--input", ".", "--labels", "missing.csv"], "missing.csv does not exist"),
        (["--task", "adhd"], "six-class"),
        (["--input", ".", "--labels", "LABELS", "--task", "adhd"], "allow no task 'adhd'"),
    ],
)
def test_bad_input_is_one_line_and_leaves_nothing(tmp_path, capsys, args, says):
    path = labels(tmp_path, [("a", "s", "f.edf", "rest")])
    args = [str(path) if arg == "LABELS" else arg for arg in args]
    assert main(["--output", str(tmp_path / "out"), *args]) == 2
    err = capsys.readouterr().err
    assert says in err
    assert err.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_a_folder_that_is_no_demo_is_not_touched(tmp_path, capsys):
    (tmp_path / "precious").mkdir()
    (tmp_path / "precious" / "thesis.txt").write_text("x")
    assert main(["--output", str(tmp_path / "precious")]) == 2
    assert (tmp_path / "precious" / "thesis.txt").exists()
    assert "no former demo" in capsys.readouterr().err
