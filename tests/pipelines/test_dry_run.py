from pathlib import Path

import pytest

from pipelines.dry_run import decisions, main, table
from pipelines.stages.outcome import REASONS
from signals.windows.profiles import PRETRAIN

DOCS = Path(__file__).parent.parent.parent / "docs"


def test_read_quarantined_and_side_files(clinics, capsys):
    assert main(["--input", str(clinics), "--labels", str(clinics / "labels.csv")]) == 0
    rows = capsys.readouterr().out.splitlines()
    assert rows[:2] == ["| file | decision | |", "|---|---|---|"]
    assert rows[2] == "| labels.csv | side file | belongs to another file or describes the folder |"
    assert "| north/north0.edf | read | edf, 19 electrodes at 200 Hz, 6 windows; bad_channels_kept |" in rows
    assert "| south/broken.edf | quarantined | `corrupt_header`: 300 bytes end inside of the header of 5376 |" in rows
    assert len(rows) == 2 + 5 + 2


def test_bad_input_is_one_line_and_code_2(tmp_path, capsys):
    with pytest.raises(SystemExit) as ended:
        main(["--input", str(tmp_path / "none")])
    assert ended.value.code == 2
    assert "none does not exist" in capsys.readouterr().err.splitlines()[-1]


def test_the_table_of_awkward_files_is_that_of_the_docs(awkward):
    made = [row for row in table(decisions([str(awkward)], PRETRAIN)) if not row.startswith(("| file", "|---"))]
    written = [line for line in (DOCS / "awkward.md").read_text(encoding="utf-8").splitlines() if line.startswith("| ")]
    assert made == [line for line in written if not line.startswith("| file")]


@pytest.mark.parametrize("reason", sorted({reason for reasons in REASONS.values() for reason in reasons}))
def test_the_docs_state_what_to_do_about_every_reason(reason):
    text = (DOCS / "pipeline.md").read_text(encoding="utf-8")
    rows = text.split("## Reason codes")[1].splitlines()
    assert any(line.startswith("|") and f"`{reason}`" in line.split("|")[1] for line in rows), reason
