import json

import pytest
import torch
from torch import nn

from cerebeam.quick_test import main, table
from model.families.trials import families, try_family
from model.heads import HEADS
from model.supervised.supervised import NETWORKS


def test_every_registered_network_and_head_is_a_family():
    names = set(families())
    assert {f"network {name}" for name in NETWORKS} <= names
    assert {f"head {name}" for name in HEADS if name != "classifier"} <= names
    assert {"encoder eeg", "encoder ecg", "multimodal", "stacker", "autoencoder"} <= names


@pytest.mark.parametrize("name", ["encoder ecg", "multimodal", "head spectral", "network multiscale"])
def test_a_family_runs_forward_and_backward(name):
    trial = try_family(name, families()[name])
    assert trial.problem == ""
    assert trial.n_parameters > 100
    assert min(trial.forward_ms, trial.backward_ms) > 0


class Broken(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(2))


def _broken(loss):
    def build():
        module = Broken()
        return module, lambda: loss(module.weight)

    return build


def _raises(weight):
    raise RuntimeError("no such thing\nsecond line")


@pytest.mark.parametrize(
    ("loss", "problem"),
    [
        (lambda w: w.sum() * float("nan"), "the loss is nan"),
        (lambda w: w.sqrt().sum(), "the gradient of weight is not finite"),
        (lambda w: (w * 0).sum(), "no parameter has a gradient"),
        (_raises, "RuntimeError: no such thing"),
        (lambda w: torch.zeros(()), "RuntimeError: element 0"),
    ],
)
def test_what_is_wrong_with_a_family_stands_in_its_row(loss, problem):
    trial = try_family("broken", _broken(loss))
    assert trial.problem.startswith(problem)
    assert problem in table([trial])


def test_the_command_ends_with_what_happened(monkeypatch, capsys):
    assert main(["--only", "stacker"]) == 0
    assert "1 of 1 families ran" in capsys.readouterr().out
    assert main(["--only", "nothing"]) == 2
    assert "no family holds 'nothing'" in capsys.readouterr().err
    monkeypatch.setattr("model.families.trials.families", lambda: {"broken": _broken(_raises)})
    assert main(["--json"]) == 1
    out, err = capsys.readouterr()
    assert json.loads(out)["families"][0]["problem"] == "RuntimeError: no such thing"
    assert "broken failed" in err
    assert main([]) == 1
    assert "broken failed" in capsys.readouterr().err
