"""The table of a shard set, cell by cell."""

import json

import pytest

from pipelines.shard_sets.stats import stats
from pipelines.shards import main
from signals.description.artifacts import KINDS


def edit(folder, change):
    path = folder / "manifest.json"
    fields = json.loads(path.read_text())
    change(fields)
    path.write_text(json.dumps(fields))


def test_every_column(shard_set):
    def change(manifest):
        manifest["code_version"], manifest["config_hash"] = "0.1+abc", "c" * 16
        counts = manifest["counts"]
        counts["files"].update({"in": 9, "quarantined": 3})
        counts["windows"].update(planned=31, rejected=7)
        north, south = counts["sites"]["north"], counts["sites"]["south"]
        # 3 of 5 windows in the last two of ten bins; a quarter of the seconds flat.
        north.update(
            files_accepted=4,
            subjects=2,
            windows=5,
            bytes=2_340_000,
            shards=6,
            quality=[1, 0, 0, 0, 0, 0, 0, 1, 1, 2],
            channel_seconds={"all": 400, "flat": 100, "gap": 1},
            classes={"": 1, "GPD": 2, "LPD": 4},
        )
        north["hours"].update(written=1.236)
        south.update(files_accepted=1, windows=0)
        west = json.loads(json.dumps(north)) | {"quality": [], "channel_seconds": {}, "classes": {}}
        counts["sites"]["west"] = west

    edit(shard_set, change)
    lines = stats(shard_set).splitlines()
    assert lines[0] == "pretrain, 10-s windows, code 0.1+abc, config cccccccccccccccc"
    assert lines[1] == ""
    assert lines[2].split() == ["site", "files", "subjects", "windows", "hours", "MB", "shards", "quality", *KINDS]
    # A site without windows has no row.
    flagged = {"flat": "25.0%", "gap": "0.2%"}
    north, west = lines[3].split(), lines[4].split()
    assert north == ["north", "4", "2", "5", "1.24", "2.3", "6", "60%", *(flagged.get(kind, "0.0%") for kind in KINDS)]
    assert west == ["west", "4", "2", "5", "1.24", "2.3", "6", "0%", *["0.0%"] * len(KINDS)]
    # Names at the left, numbers at the right, two blanks between.
    assert len({len(line) for line in lines[2:5]}) == 1
    assert lines[3].startswith("north  ")
    assert lines[4].startswith("west   ")
    assert lines[3].index("1.24") + 4 == lines[2].index("hours") + 5
    assert lines[5:9] == ["", "site   labels", "north  LPD 4, GPD 2, without 1", "west   "]
    assert lines[9:] == [
        "",
        "3 of 9 files left out, 7 of 31 windows rejected; quality: share of windows at 0.8 or above; "
        "artifacts: share of measured channel-seconds",
    ]


def test_a_generated_set_has_no_accounting_to_show(shard_set, capsys):
    edit(shard_set, lambda manifest: manifest["counts"].pop("files"))
    assert main(["stats", str(shard_set)]) == 1
    assert "was made by a generator" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["stats", "show", "verify"])
def test_output_goes_to_standard_output(finished, capsys, command):
    assert main([command, str(finished[1])]) == 0
    out, err = capsys.readouterr()
    assert out.endswith("\n")
    assert err == ""
