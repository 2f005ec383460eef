import json
from html.parser import HTMLParser

import numpy as np
import pytest
import torch

from cerebeam.explaining.explain import main
from cerebeam.explaining.explanation import strongest_channels
from explain.explanation import Explanation
from explain.gates.card import CARD, GATES, ExplanationCard, Measured
from explain.store import read_explanations
from explain.summary.facts import Facts
from model.bundling.graphs import write_graph
from model.bundling.parity import Parity
from model.export import about_bundle, load_models
from model.supervised.supervised import new_network
from signals.bundles.bundle import write_bundle
from signals.modality import EEG_1020
from signals.shards.normalise import Normaliser
from signals.tasks import SIX_CLASS
from signals.windows.profiles import SIX_CLASS as PROFILE
from synthetic.recordings.one_window import write_segment

PARITY = Parity(n_windows=0, n_synthetic=0, max_probability_difference=0.0, decisions_differ=0)


def bundle_of(folder, model, *, card=None):
    what = load_models([model])

    def fill(partial):
        write_graph(what.models[0], partial / "model.onnx")
        (partial / "README.md").write_text("a model of random weights")
        about = about_bundle(what, PARITY)
        if card is not None:
            own = about["graphs"][0]["weights_sha256"]
            text = card(own).to_json()
            (partial / CARD).write_text(text)
        return about

    write_bundle(folder, fill)
    return folder


def passing(weights):
    values = {gate.name: gate.limit for gate in GATES if gate.name != "iou_cam"}
    methods = (Measured(method="occlusion", values=values, n_cases=20),)
    return ExplanationCard(model="resnet_gru", weights_sha256=weights, methods=methods)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A network of random weights, bundles of it without a card, with its own and with another's, and a recording."""
    root = tmp_path_factory.mktemp("explain")
    torch.manual_seed(0)
    new_network(
        "resnet_gru", SIX_CLASS, EEG_1020, Normaliser(kind="window"), dropout=0.0, profile=PROFILE.to_dict(),
        provenance={}, widths=(8, 8),
    ).save_pretrained(root / "model")  # fmt: skip
    bundle_of(root / "bundle", root / "model")
    bundle_of(root / "carded", root / "model", card=passing)
    bundle_of(root / "other", root / "model", card=lambda weights: passing("0" * 64))
    write_segment(root / "segment.edf", EEG_1020, window_s=PROFILE.window_s)
    return root


class Links(HTMLParser):
    def __init__(self):
        super().__init__()
        self.found = []

    def handle_starttag(self, tag, attrs):
        self.found += [value for name, value in attrs if name in ("href", "src") and not value.startswith("data:")]


def test_pages_figures_facts_and_explanations_are_written(made, tmp_path, capsys):
    out = tmp_path / "pages"
    args = [str(made / "bundle"), str(made / "segment.edf"), "--output", str(out), "--model", str(made / "model")]
    assert main(args) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[-1].endswith("Not a medical device.")
    (row,) = [json.loads(line) for line in (out / "samples.jsonl").read_text().splitlines()]
    assert json.loads(lines[0]) == row
    assert row["predicted"] in SIX_CLASS.classes
    files = [value for name, value in row.items() if name.startswith("file_")]
    assert files
    assert all((out / file).read_text().startswith("<svg ") for file in files)
    assert Facts.load(out / row["sample"] / "facts.json").values["probability"] == row["probability"]
    for page in out.glob("*.html"):
        parser = Links()
        parser.feed(page.read_text())
        assert all((out / link).is_file() for link in parser.found)
        assert "not validated" in page.read_text() or "no map here is validated" in page.read_text()
    names, rows = read_explanations(out / "explanations.npz")
    assert names == EEG_1020.ch_names
    methods = [each.explanation.method for each in rows]
    assert methods == [
        "occlusion",
        "integrated gradients",
        "cross-domain integrated gradients",
        "Grad-CAM",
        "Grad-CAM++",
    ]
    score = {round(each.explanation.score, 3) for each in rows}
    assert len(score) == 1  # the graph and the network agree on what is explained
    # Bands of one window must be distinguished by the map that knows them.
    assert np.ptp(rows[2].explanation.per_band) > 0


@pytest.mark.parametrize(("bundle", "state"), [("carded", "validated on planted evidence"), ("other", "not validated")])
def test_a_card_counts_for_its_own_weights_only(made, tmp_path, bundle, state, capsys):
    args = [str(made / bundle), str(made / "segment.edf"), "--output", str(tmp_path / "p"), "--target", "LPD"]
    assert main([*args, "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed["page"] == str(tmp_path / "p" / "index.html")
    assert [row["predicted"] in SIX_CLASS.classes for row in printed["windows"]] == [True]
    (row,) = printed["windows"]
    assert row["explained_class"] == "LPD"
    assert (row["explained_probability"] == row["probability"]) is (row["predicted"] == "LPD")
    assert row["explained_probability"] <= row["probability"]  # the most probable class is the predicted one
    page = next(path.read_text() for path in (tmp_path / "p").glob("sample_*.html"))
    assert f"the predicted class is {row['predicted']}, with probability {row['probability']:.2f}" in page
    assert "Explanation of segment.edf, 0 to 50 s</h1>" in page
    assert "Outside of the strongest stretches, channels and bands repeat those of the strongest one." in page
    assert "against, −" in page  # signed, whether or not anything speaks against the class
    assert "none</text>" not in page
    assert f">{state}</td>" in page
    assert "LPD" in page
    capsys.readouterr()


def test_channels_of_a_stretch_are_those_that_speak_for_the_class_there():
    values = np.zeros((5, 8, 1))
    values[:, :4, 0] = -1.0  # over the whole window every channel speaks against it
    values[3, 6:, 0], values[1, 6:, 0], values[2, 6:, 0] = 0.4, 0.2, -0.3
    given = Explanation(method="occlusion", target=0, values=values, score=1.0, base=0.0, sums=False)
    assert strongest_channels(given, 6, 8) == [3, 1]
    assert strongest_channels(given, 0, 4) == []
    values[0, 6:, 0], values[4, 6:, 0] = 0.1, 0.3
    assert strongest_channels(given, 6, 8) == [3, 4, 1]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"--target": "Stroke"}, "none of Seizure"),
        ({"file": "missing.edf"}, "missing.edf"),
        ({"bundle": "."}, "is no bundle"),
        ({"--model": "nothing"}, "is no model"),
        ({"--output": "."}, "exists already"),
    ],
)
def test_a_mistake_is_one_line_and_leaves_nothing(made, tmp_path, change, message, capsys):
    given = {"bundle": str(made / "bundle"), "file": str(made / "segment.edf"), "--output": str(tmp_path / "p")}
    given |= {name: str(tmp_path) if value == "." else value for name, value in change.items()}
    args = [given.pop("bundle"), given.pop("file"), *(part for pair in given.items() for part in pair)]
    assert main(args) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("start", ["nan", "inf", "-5", "-nan"])
def test_a_start_that_is_no_time_is_refused_before_anything_is_read(start, tmp_path, capsys):
    with pytest.raises(SystemExit) as stopped:
        main([str(tmp_path / "no-bundle"), "no.edf", "--output", str(tmp_path / "p"), f"--start={start}"])
    assert stopped.value.code == 2
    error = capsys.readouterr().err
    assert "must be a number of seconds of at least 0" in error.splitlines()[-1]
    assert "no-bundle" not in error
