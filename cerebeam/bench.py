"""cerebeam bench: latency, throughput, memory and size of bundles, on a synthetic recording unless one is given."""

import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from serving.bench import main as serving_bench
from signals.bundles.bundle import BundleError, load_bundle
from synthetic.recordings.one_window import write_segment


def main(argv: Sequence[str] | None = None) -> int:
    """Run `serving.bench`, with `--segment` made here if it is missing and the first argument is a bundle."""
    args = list(sys.argv[1:] if argv is None else argv)
    if not args or args[0].startswith("-") or any(arg.split("=")[0] == "--segment" for arg in args):
        return serving_bench(args)
    try:
        bundle = load_bundle(Path(args[0]))
    except BundleError:
        return serving_bench([*args, "--segment", ""])  # which states what is wrong with the bundle
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "segment.edf"
        write_segment(file, bundle.modality, window_s=bundle.profile.window_s)
        return serving_bench([*args, "--segment", str(file)])


if __name__ == "__main__":
    sys.exit(main())
