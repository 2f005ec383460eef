"""torch's own INT8 as an export: the file alone answers, and the gate of `cerebeam quantise` decides."""

import json
import subprocess
import sys

import numpy as np
import pytest
import torch
from torch import nn

import signals.bundles.int8_gate
from model.bundling.graphs import Exportable, load_exportable
from model.bundling.int8 import FILE, _check_lengths, _traced, logits, main
from signals.bundles.bundle import SIGNAL_INPUTS, BundleError
from signals.bundles.inputs import model_input, windows_of_shards


def quantise(model, shards, output, *more):
    return main([str(model), "--evaluate", str(shards), "--output", str(output), *more])


def test_the_file_alone_answers_as_the_gate_saw(learnt, tmp_path, capsys):
    assert quantise(learnt.model, learnt.root / "evaluate", tmp_path / "q", "--json") == 0, capsys.readouterr().err
    about = json.loads((tmp_path / "q" / "int8.json").read_text())
    seen = about["quantisation"]
    printed = json.loads(capsys.readouterr().out)
    assert printed.items() >= (seen.items() - {("exempt", seen["exempt"])})
    assert (seen["n_windows"], seen["balanced_accuracy_fp32"]) == (24, 1.0)
    assert seen["agreement"] >= 0.98
    assert seen["exempt"].startswith("exempt from 3.9x: weights are")
    assert seen["size_ratio"] > 1.3
    model = load_exportable(learnt.model)
    signal, ch_state = model_input(list(windows_of_shards([learnt.root / "evaluate"], n_windows=2)), model.normaliser)
    np.savez(tmp_path / "x.npz", signal=signal, ch_state=ch_state)
    # A process that knows torch alone.
    code = (
        "import numpy as np, sys, torch; torch.set_num_threads(1); x = np.load(sys.argv[2]);"
        "f = torch.jit.load(sys.argv[1]);"
        "print(f(torch.from_numpy(x['signal'][:1]), torch.from_numpy(x['ch_state'][:1]))[0].tolist())"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "q" / FILE), str(tmp_path / "x.npz")]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=tmp_path, env={})
    (alone,) = json.loads(done.stdout)
    (window,) = windows_of_shards([learnt.root / "evaluate"], n_windows=1)
    exact = logits(model, model.network, [window])[0]
    assert int(np.argmax(alone)) == int(exact.argmax())
    assert 0 < np.abs(alone - exact).max() < 0.2 * np.abs(exact).max()


def test_the_gate_refuses_and_nothing_is_written(learnt, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(signals.bundles.int8_gate, "KEPT_AIM", 1.5)  # more than there can be
    assert quantise(learnt.model, learnt.root / "evaluate", tmp_path / "q") == 2
    err = capsys.readouterr().err.splitlines()[-1]  # after the progress of loading weights
    assert "not shipped: 100.00% of the balanced accuracy kept, not 150%" in err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("model", "shards", "reason"),
    [("model", "shards", "trained on 4 of the 4 subjects"), ("shards", "evaluate", "is no model"),
     ("model", "model", "manifest")],
)  # fmt: skip
def test_what_cannot_be_judged_is_refused_in_one_line(learnt, tmp_path, capsys, model, shards, reason):
    assert quantise(learnt.root / model, learnt.root / shards, tmp_path / "q") == 2
    err = capsys.readouterr().err.splitlines()[-1]  # after the progress of loading weights
    assert reason in err
    assert list(tmp_path.iterdir()) == []


def test_a_trace_that_holds_for_one_length_is_refused(learnt):
    class Fixed(nn.Module):
        def __init__(self):
            super().__init__()
            self.linear = nn.Linear(19, 6)

        def forward(self, x, ch_state):
            n_times = int(x.shape[-1])  # a number to the trace
            return self.linear(x.sum(-1) / n_times), ch_state

    known = load_exportable(learnt.model)
    model = Exportable(
        network=Fixed(), name="fixed", task=known.task, modality=known.modality, normaliser=known.normaliser,
        profile={}, provenance={}, step_times=256, min_times=512, inputs=SIGNAL_INPUTS,
    )  # fmt: skip
    with pytest.raises(BundleError, match="holds for one length alone"):
        _check_lengths(_traced(model.network, model), model.network, model)
    assert torch.is_tensor(model.network.linear.weight)
