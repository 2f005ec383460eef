"""The published folder: card, weights and figures come from the run itself."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from benchmarks.studies import pretraining
from benchmarks.studies.model_card import _n_params
from model.encoder import Encoder
from training.publish import check_worth


def test_checkpoint_card_and_figures_come_from_one_command(
    make_toy_shards: Callable[..., Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    shards = make_toy_shards(n_sites=2, n_subjects=3, n_windows=1)
    tiny = ["--schedule.steps", "2", "--data.crop-s", "4", "--model.dim", "32", "--model.depth", "1",
            "--model.stem-dim", "32", "--optim.batch", "2", "--optim.micro-batch", "2"]  # fmt: skip
    monkeypatch.setattr(
        "sys.argv",
        ["pretrain", "--shards", str(shards), "--output", str(tmp_path / "out"), "--processes", "1", *tiny],
    )
    refused = []

    def note(run: Path) -> None:
        with pytest.raises(ValueError, match="adds nothing") as error:  # two steps learn nothing
            check_worth(run)
        refused.append(str(error.value))

    monkeypatch.setattr(pretraining, "check_worth", note)
    pretraining.main()
    assert len(refused) == 1
    folder, printed = tmp_path / "out" / "run" / "encoder", capsys.readouterr().out
    encoder = Encoder.from_pretrained(folder, local_files_only=True)
    card = (folder / "README.md").read_text()
    n_params = sum(p.numel() for p in encoder.parameters())
    n_buffers = sum(b.numel() for b in encoder.buffers())
    assert _n_params(folder / "model.safetensors") == n_params + n_buffers
    assert card.startswith("---\nlibrary_name: transformers\n")
    assert "5 people; 1 other people" in card
    figures = dict(re.findall(r"figure (\S+) (\S+)", printed))
    for method in ("", "_linear", "_spline", "_ar"):
        assert abs(float(figures[f"recon_r_60_500ms{method}"])) <= 1
    row = next(line for line in card.splitlines() if line.startswith("| all | 60–500 ms | model |"))
    assert float(row.split("|")[4].split()[0]) == pytest.approx(float(figures["recon_r_60_500ms"]), abs=1e-3)
    assert str(tmp_path) not in card
