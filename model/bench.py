"""python -m model.bench MODEL --segment FILE --form eager|compiled|int8: torch's side of `cerebeam bench`.

The process that `serving.bench` asks; INT8 is torch's own (`model.bundling.int8`).
"""

import io
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import nn

from model.bundling.graphs import Exportable, load_exportable
from model.bundling.int8 import int8_model, logits
from signals.bundles.bundle import SIGNAL_INPUTS, BundleError
from signals.bundles.calibration import softmax
from signals.bundles.inputs import windows_of_file, windows_of_recording
from signals.bundles.timing import Samples, answer_timings
from signals.command_line import Parser
from signals.window import Window
from signals.windows.profiles import Profile

PROG = "model.bench"
FORMS = ("eager", "compiled", "int8")


def as_form(model: Exportable, form: str) -> tuple[nn.Module, int]:
    """Return the network in a form, and its bytes on disk."""
    network = int8_model(model.network) if form == "int8" else model.network
    buffer = io.BytesIO()
    torch.save(network.state_dict(), buffer)
    if form == "compiled":
        network = torch.compile(network, dynamic=True)
    return network, buffer.tell()


def probabilities(model: Exportable, network: nn.Module, windows: Sequence[Window]) -> np.ndarray:
    """Return class probabilities before calibration, float64, shape (n_windows, n_classes)."""
    return softmax(logits(model, network, windows))


def main(argv: Sequence[str] | None = None) -> int:
    """Run from the command line; returns 0, or 2 with one line on standard error."""
    parser = Parser(prog=PROG, description="torch's side of cerebeam bench")
    parser.add_argument("model", type=Path, help="folder of a trained model")
    parser.add_argument("--segment", required=True, help="a recording of one window")
    parser.add_argument("--form", choices=FORMS, required=True, help="how torch runs it")
    args = parser.parse_args(argv)
    try:
        model = load_exportable(args.model)
        if model.inputs != SIGNAL_INPUTS:
            raise BundleError(f"{args.model} reads {', '.join(model.inputs)}; the bench is for networks on samples")
    except BundleError as error:
        print(f"{PROG}: {error}", file=sys.stderr)  # noqa: T201
        return 2
    network, n_bytes = as_form(model, args.form)
    profile = Profile.from_dict(model.profile)

    samples = Samples.of_file(args.segment)

    def one_segment(_: int) -> None:
        probabilities(model, network, list(windows_of_recording(profile, samples.recording(), want=frozenset())))

    (window, *_) = windows_of_file(profile, args.segment)
    answer_timings(
        {"batch": lambda n: probabilities(model, network, [window] * n), "segment": one_segment}, n_bytes=n_bytes
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
