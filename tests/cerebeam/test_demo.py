import numpy as np
import pytest

from cerebeam.cli import COMMANDS
from cerebeam.demo import Demo, DemoError, choose_task, compared_files, comparison, main, stages, summary
from cerebeam.help.pages import load
from signals.tasks import SIX_CLASS
from tests.benchmarks.test_simulated import rows, write

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


def test_the_published_encoder_is_for_the_six_classes(tmp_path, capsys):
    rows = [("a", f"s{i}", f"{i}.edf", "ADHD" if i % 2 else "Control") for i in range(6)]
    path = labels(tmp_path, rows)
    given = ["--output", str(tmp_path / "out"), "--input", str(tmp_path), "--labels", str(path), "--compare"]
    assert main(given) == 2
    assert "the task is adhd" in capsys.readouterr().err


def test_both_starts_are_trained_alike_and_paired(tmp_path):
    demo = Demo(output=tmp_path, inputs=(), labels=tmp_path / "labels.csv", task=SIX_CLASS, group="site", compare=True)
    [pair] = [stage.commands for stage in stages(demo) if stage.name == "compare"]
    assert [len(set(command) - set(pair[0])) for command in pair] == [
        0,
        5,
    ]  # start, its folder, rate, its value, output
    assert "3e-4" in pair[1]
    for (name, file), right in zip(compared_files(tmp_path).items(), (0.4, 0.8), strict=True):
        assert str(file) in pair[name == "pretrained"]
        write(file, rows("scratch", right=right), rows("prior", right=1 / 6))
    text = "\n".join(comparison(tmp_path))
    gap = np.log(0.4 / 0.8)
    assert f"KL {gap:+.3f} [{gap:+.3f}, {gap:+.3f}]" in text
    [line] = [line for line in text.splitlines() if line.startswith("  pretrained ")]
    assert "balanced accuracy 1.000" in line
    assert f"KL {-np.log(0.8):.3f}" in line


def finished(tmp_path, *, seen=51, low=0.43, ar=1.03):
    """What the demo prints at its end, of facts by hand."""
    demo = Demo(output=tmp_path, inputs=(), labels=tmp_path / "labels.csv", task=SIX_CLASS, group="site")
    metric = {"value": 0.5, "low": 0.4, "high": 0.6}
    row = {"low_ms": 0.0, "high_ms": None, "band": "all", "method": "model", "ratio_to_linear": {"value": 0.69},
           "ratio_to_ar": {"value": ar}}  # fmt: skip
    facts = {
        "models": {"encoder": {"metrics": dict.fromkeys(("kl", "balanced_accuracy", "kappa", "auroc_macro"), metric)}},
        "reconstruction": [{**row, "method": "linear", "ratio_to_linear": {"value": 1.0}}, row],
        "main_model": "encoder",
        "across_sites": {"encoder": {"balanced_accuracy": {"new_hospital": {"low": low, "high": 0.93}}}},
        "exposure": {"n_subjects": seen, "n_test_subjects": 64},
        "audit": {"decision": "passed with warnings"},
    }
    return summary(demo, {"report": 3.0}, facts)


def test_every_flattering_figure_of_the_demo_has_its_neighbour(tmp_path):
    text = finished(tmp_path)
    assert "0.69 x the error of linear interpolation, 1.03 x that of an autoregressive model" in text
    assert "at a new hospital: balanced accuracy 0.43 to 0.93" in text
    assert "transductive: the encoder was pretrained, without labels, on 51 of 64 test subjects" in text
    assert "leak audit: passed with warnings" in text
    assert f"open {tmp_path / 'report.html'} in a browser" in text
    other = finished(tmp_path, seen=0, low=None, ar=None)
    assert "linear interpolation\n" in other
    assert "transductive" not in other
    assert "new hospital" not in other


def test_the_demos_report_gets_the_calibration_that_is_exported(tmp_path):
    demo = Demo(output=tmp_path, inputs=(), labels=tmp_path / "labels.csv", task=SIX_CLASS, group="site")
    [(report, export)] = [stage.commands for stage in stages(demo) if stage.name == "report"]  # side by side
    [leave_out] = [stage.commands[0] for stage in stages(demo) if stage.name == "leave-out"]
    final = leave_out[leave_out.index("--final") + 1]
    assert report[report.index("--calibration") + 1] == f"{final}/calibration.json"
    assert export[export.index("--model") + 1] == final


def test_every_stage_uses_options_that_its_command_has(tmp_path):
    names = {module: name for name, (module, _) in COMMANDS.items()}
    names["evaluation.report"] = "report"  # a package, started by its __main__
    pages = load()
    demo = Demo(output=tmp_path, inputs=(), labels=tmp_path / "labels.csv", task=SIX_CLASS, group="site", compare=True)
    commands = [command for stage in stages(demo) for command in stage.commands]
    assert len(commands) == 9
    for command in commands:
        module = next(part for part in command if part in names)
        page = pages[names[module]]
        known = {"--no-encoder", *(name for option in page.options for name in option.names)}
        given = [part for part in command[command.index(module) :] if part.startswith("--")]
        assert set(given) <= known, page.prog
