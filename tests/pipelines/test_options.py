"""The command line of a run: every option where it belongs, and every contradiction in one line."""

import gzip

import pytest

from pipelines.options import LOCAL_RUNNER, Run, beam_options, parse_args
from pipelines.runs.progress import BEGUN
from signals.shards.manifest import COMPLETED
from signals.windows.profiles import PROFILES


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Two files that could be recordings; neither is opened."""
    monkeypatch.setenv("CEREBEAM_SALT", "of the environment")
    for name in ("north/a.edf", "south/b.edf"):
        path = tmp_path / "in" / name
        path.parent.mkdir(parents=True)
        path.write_bytes(b"0       ")
    return tmp_path


def parsed(folder, *args):
    return parse_args(["--input", str(folder / "in"), "--output", str(folder / "out"), *map(str, args)])


def refused(folder, capsys, *args):
    with pytest.raises(SystemExit) as ended:
        parse_args(list(map(str, args)))
    assert ended.value.code == 2
    err = capsys.readouterr().err
    assert err.startswith("cerebeam preprocess: ")
    assert err.count("\n") == 1
    return err


def test_what_is_not_given_has_its_default(folder):
    run = parsed(folder)
    assert [ref.uri for ref in run.inputs.files] == [
        str(folder / "in" / name) for name in ("north/a.edf", "south/b.edf")
    ]
    assert run == Run(
        inputs=run.inputs, output=str(folder / "out"), profile=PROFILES["pretrain"], salt="of the environment"
    )
    assert (run.shard_mb, run.max_quarantined, run.n_workers) == (128.0, 0.5, 1)
    assert (run.is_here, run.resume, run.site_from, run.autoencoder, run.beam_args) == (True, False, "", None, ())
    assert all(ref.site_id.startswith("site-") for ref in run.inputs.files)


def test_every_option_arrives(folder, tmp_path):
    (tmp_path / "salt.txt").write_text("  of the file\n")
    (tmp_path / "labels.csv").write_text("file,subject,label\na.edf,anna,LPD\n")
    run = parsed(
        folder, "--labels", tmp_path / "labels.csv", "--site-from", "folder", "--profile", "six-class", "--set",
        "hop_s=25", "--set", "cleaning.ica=true", "--salt-file", tmp_path / "salt.txt", "--shard-mb",
        "64", "--max-quarantined", "0.25", "--resume", "--direct_num_workers=3",
    )  # fmt: skip
    assert (run.salt, run.shard_mb, run.max_quarantined) == ("of the file", 64.0, 0.25)
    assert (run.resume, run.site_from, run.n_workers, run.is_here) == (True, "folder", 3, True)
    assert (run.profile.name, run.profile.hop_s, run.profile.cleaning.ica) == ("six-class", 25.0, True)
    assert run.beam_args == ("--direct_num_workers=3",)
    first, second = run.inputs.files
    assert (first.site_id, first.subject, first.labels[0].label) == ("north", "anna", "LPD")
    assert (second.site_id, second.subject, second.labels) == ("south", "", ())


def test_which_salt(folder, monkeypatch):
    assert parsed(folder, "--salt", "given").salt == "given"
    monkeypatch.delenv("CEREBEAM_SALT")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(folder / "config"))
    made = parsed(folder).salt
    path = folder / "config" / "cerebeam" / "salt"
    assert len(made) == 64
    assert path.read_text() == made == parsed(folder).salt
    assert path.stat().st_mode & 0o777 == 0o600
    path.write_text("kept\n")
    assert parsed(folder).salt == "kept"
    monkeypatch.delenv("XDG_CONFIG_HOME")
    monkeypatch.setenv("HOME", str(folder / "home"))
    assert parsed(folder).salt == (folder / "home" / ".config" / "cerebeam" / "salt").read_text()


@pytest.mark.parametrize(
    ("args", "runner", "is_here", "n_workers"),
    [
        ((), LOCAL_RUNNER, True, 1),
        (("--direct_num_workers=4",), LOCAL_RUNNER, True, 4),
        (("--direct_num_workers=0",), LOCAL_RUNNER, True, None),  # as many as there are cores
        (("--runner=DirectRunner", "--direct_num_workers=4"), "DirectRunner", False, 1),
        (("--runner", "DirectRunner"), "DirectRunner", False, 1),
    ],
)
def test_runners(folder, monkeypatch, args, runner, is_here, n_workers):
    monkeypatch.setattr("os.cpu_count", lambda: 7)
    run = parsed(folder, *args)
    assert (run.is_here, run.n_workers) == (is_here, 7 if n_workers is None else n_workers)
    options = beam_options(run.beam_args).get_all_options()
    assert options["runner"] == runner
    assert options["save_main_session"] is False


def test_a_machine_that_does_not_know_its_cores_has_one(folder, monkeypatch):
    monkeypatch.setattr("os.cpu_count", lambda: None)
    assert parsed(folder, "--direct_num_workers=0").n_workers == 1


def test_options_that_nobody_knows_are_refused(folder, capsys):
    given = ("--input", folder / "in", "--output", folder / "out")
    assert "unknown option --shardmb=3; see --help" in refused(folder, capsys, *given, "--shardmb=3")


def test_contradictions_are_refused(folder, capsys):
    given = ("--input", folder / "in", "--output", folder / "out")
    for args, says in (
        ((*given, "--reason", "flat"), "--reason goes with --replay"),
        ((*given, "--salt", "s", "--salt-file", folder / "x"), "--salt and --salt-file name two salts"),
        (("--replay", folder, "--output", folder / "out", "--site-from", "folder"), "--site-card go with --input"),
        ((*given, "--replay", folder), "not allowed with argument"),
        (("--output", folder / "out"), "one of the arguments --input --replay is required"),
        ((*given, "--site-from", "folders"), "--site-from folders is none of"),
        ((*given, "--labels", folder / "none.csv"), "none.csv does not exist"),
        ((*given, "--salt-file", folder / "none.txt"), f"{folder / 'none.txt'} does not exist"),
        ((*given[:2], "--output", "ftp://a/b"), "no file system for ftp://a/b"),
        (("--input", folder / "none", *given[2:]), "none does not exist or holds no file"),
        ((*given, "--profile", "sleepy"), "invalid choice: 'sleepy'"),
        ((*given, "--runner=DataflowRunner"), f"{folder / 'in'} lies on this machine, where Dataflow's workers"),
        (("--input", "gs://a/b", *given[2:], "--runner=DataflowRunner"), f"{folder / 'out'} lies on this machine"),
    ):  # fmt: skip
        assert says in refused(folder, capsys, *args), args
    assert not (folder / "out").exists()


def test_an_output_that_holds_something_is_kept(folder, capsys):
    given = ("--input", folder / "in", "--output", folder / "out")
    (folder / "out").mkdir()
    parsed(folder)  # an empty folder is no output
    (folder / "out" / "thesis.txt").write_text("years of work")
    assert f"output {folder / 'out'} exists already" in refused(folder, capsys, *given)
    parsed(folder, "--overwrite")
    # What a killed run of ours left may be gone on with; what it completed may not.
    (folder / "out" / BEGUN).write_text("{}")
    parsed(folder)
    (folder / "out" / COMPLETED).write_text("")
    assert "exists already" in refused(folder, capsys, *given)
    (folder / "file").write_text("")
    assert "exists already" in refused(folder, capsys, *given[:2], "--output", folder / "file")


def test_labels_that_fit_nothing_are_named(folder, tmp_path, caplog):
    rows = "file,label\nx.edf,LPD\na.edf,LPD\nz.edf,GPD\n"
    (tmp_path / "labels.csv").write_text(rows)
    run = parsed(folder, "--labels", tmp_path / "labels.csv")
    assert run.inputs.unmatched_lines == (2, 4)
    assert "2 recordings of the label file are not among the inputs, e.g. in line 2" in caplog.text
    caplog.clear()
    (tmp_path / "labels.csv").write_text("file,label\na.edf,LPD\n")
    parsed(folder, "--labels", tmp_path / "labels.csv")
    assert caplog.text == ""


def test_inputs_are_files_folders_and_globs(folder):
    root = folder / "in"
    (root / "north" / "deep").mkdir()
    (root / "north" / "deep" / "c.csv.gz").write_bytes(gzip.compress(b"Fp1,Fp2\n" + b"1.5,2.5\n" * 9, mtime=0))
    (root / ".hidden").mkdir()
    (root / ".hidden" / "d.edf").write_bytes(b"0       ")

    def names(*inputs):
        run = parse_args(["--input", *map(str, inputs), "--output", str(folder / "out")])
        return [ref.uri.removeprefix(f"{root}/") for ref in run.inputs.files]

    assert names(root) == ["north/a.edf", "north/deep/c.csv.gz", "south/b.edf"]
    assert names(root / "*" / "*.edf", root / "north" / "a.edf") == ["north/a.edf", "south/b.edf"]
    assert names(root / "**" / "*.gz") == ["north/deep/c.csv.gz"]
