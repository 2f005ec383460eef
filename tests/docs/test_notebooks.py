"""Each notebook runs from its first cell to its last, on small shards, an encoder and a report."""

import json
from pathlib import Path

import pytest
import torch

from evaluation.report.__main__ import main as report
from evaluation.schemas.predictions import write_predictions
from model.encoder import Encoder
from model.encoder_config import sized
from tests.evaluation.report.conftest import make_predictions
from tests.toy_shards import write_toy_shards

FOLDER = Path(__file__).parents[2] / "docs" / "notebooks"
NOTEBOOKS = {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in sorted(FOLDER.glob("*.ipynb"))}


@pytest.fixture(scope="module")
def things(tmp_path_factory):
    """The folders that the notebooks name."""
    root = tmp_path_factory.mktemp("notebooks")
    write_toy_shards(root / "shards", n_sites=2, n_subjects=4, n_windows=6)
    torch.manual_seed(0)
    Encoder(sized("tiny", dim=16, depth=1, stem_dim=8, n_heads=2)).save_pretrained(root / "encoder")
    write_predictions(
        root / "p.parquet", make_predictions("six-class", n_subjects=8, sites=("a", "b"), grouping="site")
    )
    assert report([str(root / "p.parquet"), "--output", str(root / "report"), "--n-boot", "20"]) == 0
    return root


@pytest.mark.parametrize("name", NOTEBOOKS)
@pytest.mark.filterwarnings("ignore")
def test_a_notebook_runs(name, things, monkeypatch, capsys):
    monkeypatch.chdir(things)
    names = {"__name__": "__main__"}
    for cell in NOTEBOOKS[name]["cells"]:
        if cell["cell_type"] == "code":
            exec("".join(cell["source"]), names)
    printed = capsys.readouterr().out
    if name == "explore_a_corpus":
        assert "8 subjects" in printed
        assert set(names["amplitude_uv"]) == {"site0", "site1"}
    elif name == "train_on_your_labels":
        # 48 toy windows are too few to learn from: what is held here is that every pipeline is scored by subject.
        assert names["scores"]["always the same"].mean() == pytest.approx(0.5)
        assert {name: values.shape for name, values in names["scores"].items()} == dict.fromkeys(names["models"], (4,))
        assert names["x"].shape == (48, 19, 2560)
    else:
        assert "audit:" in printed


def test_notebooks_are_stored_without_outputs_and_link_to_pages_that_exist():
    assert len(NOTEBOOKS) == 3
    for notebook in NOTEBOOKS.values():
        for cell in notebook["cells"]:
            assert not cell.get("outputs")
            for part in "".join(cell["source"]).split("](")[1:]:
                assert (FOLDER / part.partition(")")[0]).is_file()
