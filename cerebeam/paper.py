"""cerebeam paper digitise|render: scans of printed electrocardiograms to records, and records to pages.

`digitise` writes a record of each scan it can read, in mV, with a gap where the page shows nothing of a lead, and
gives the reason for each that it cannot. `render` draws a record as a page.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from signals.command_line import Parser, SubParser, count, known_file, new_file, positive, whole
from signals.files import atomic_file
from signals.json_output import add_json, print_json
from signals.paper.layout import GAINS, LAYOUTS, SPEEDS, PaperScale
from signals.recording.recording import UnreadableError

FORMATS = ("wfdb", "npz", "csv")
PICTURES = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".webp": "WEBP"}
"""Formats of pages by suffix."""
_MOST_PIXELS = 120_000_000


def parse_args(argv: Sequence[str] | None) -> argparse.Namespace:
    """Return the parsed command line."""
    parser = Parser(prog="cerebeam paper", description=(__doc__ or "").split(": ", 1)[1])
    commands = parser.add_subparsers(dest="command", required=True, parser_class=SubParser)
    one = commands.add_parser("digitise", description="pictures of printed electrocardiograms to records in mV")
    one.add_argument("scans", type=known_file, nargs="+", help="PNG, JPEG, TIFF and the like")
    one.add_argument("--output", type=Path, required=True, help="folder of the records, named as the scans")
    one.add_argument("--format", choices=FORMATS, default="wfdb", help="of the records")
    one.add_argument("--sfreq", type=positive, default=500.0, help="samples per second of the records")
    one.add_argument("--layout", choices=tuple(LAYOUTS), help="where it is known; else by the number of rows")
    _scale(one, "where it is known; else from the calibration pulses")
    one.add_argument("--overlay", action="store_true", help="also draw what was read over each page: NAME.overlay.webp")
    add_json(one, "the records, and the scans that were refused with their reasons")
    one = commands.add_parser("render", description="a page of a record's twelve leads")
    one.add_argument("record", type=known_file, help="a recording with I, II and V1-V6 at least")
    one.add_argument("--output", type=new_file, required=True, help="the page: .png, .jpg or .webp")
    one.add_argument("--layout", choices=tuple(LAYOUTS), default="3x4", help="rows and columns of leads")
    _scale(one, "25 mm/s and 10 mm/mV by default")
    one.add_argument("--dpi", type=count, default=200, help="dots per inch, 60 to 600")
    one.add_argument("--start", type=float, default=0.0, help="second of the record that the page begins with")
    one.add_argument(
        "--photograph", type=whole, metavar="SEED", help="crooked, creased, in shadow; drawn from the seed"
    )
    args = parser.parse_args(argv)
    if args.command == "render" and not 60 <= args.dpi <= 600:
        parser.error(f"--dpi {args.dpi} is not between 60 and 600")
    if args.command == "render" and args.output.suffix.lower() not in PICTURES:
        parser.error(f"--output {args.output}: a page is one of {', '.join(PICTURES)}")
    if args.command == "render" and not 0 <= args.start < float("inf"):
        parser.error(f"--start {args.start:g} is no second of a record")
    return args


def _scale(parser: argparse.ArgumentParser, when: str) -> None:
    parser.add_argument("--speed", type=float, choices=SPEEDS, help=f"mm/s, {when}")
    parser.add_argument("--gain", type=float, choices=GAINS, help=f"mm/mV, {when}")


def read_picture(path: Path) -> np.ndarray:
    """Return a picture, uint8, shape (height, width, 3), turned as its camera notes.

    Raises UnreadablePageError for a file that is no picture, a damaged one and one of too many pixels.
    """
    from PIL import Image, ImageOps, UnidentifiedImageError

    from signals.paper.ink import UnreadablePageError

    try:
        with Image.open(path) as picture:
            if picture.width * picture.height > _MOST_PIXELS:
                raise UnreadablePageError(f"{picture.width} x {picture.height} pixels are more than {_MOST_PIXELS:,}")
            return np.asarray(ImageOps.exif_transpose(picture).convert("RGB"))
    except (UnidentifiedImageError, Image.DecompressionBombError):
        raise UnreadablePageError("no picture in a known format") from None
    except (OSError, SyntaxError, ValueError) as error:
        raise error if isinstance(error, UnreadablePageError) else UnreadablePageError(f"damaged: {error}") from None


def write_picture(path: Path, image: np.ndarray) -> None:
    """Write a picture, uint8, shape (height, width, 3), in the format of the path's suffix, of `PICTURES`."""
    from PIL import Image

    with atomic_file(path) as file:
        Image.fromarray(image).save(file, PICTURES[path.suffix.lower()], quality=80)


def write_leads(path: Path, x_mv: np.ndarray, sfreq: float, notes: Sequence[str]) -> None:
    """Write twelve leads, mV, nan for gaps, in the format of the path's suffix: .hea (WFDB), .npz, .csv."""
    from signals.modality import ECG_12

    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".hea":
        _write_wfdb(path, x_mv, sfreq, notes)
        return
    with atomic_file(path) as file:
        if path.suffix == ".npz":
            np.savez_compressed(file, x_mv=x_mv.astype(np.float32), sfreq=sfreq, ch_names=np.array(ECG_12.ch_names))
        else:
            table = np.column_stack([np.arange(x_mv.shape[1]) / sfreq, x_mv.T])
            header = ",".join(("time_s", *ECG_12.ch_names))
            np.savetxt(file, table, fmt="%.4f", delimiter=",", header=header, comments="")


def _write_wfdb(path: Path, x_mv: np.ndarray, sfreq: float, notes: Sequence[str]) -> None:
    import wfdb

    from signals.modality import ECG_12

    n = len(x_mv)
    with TemporaryDirectory(dir=path.parent) as folder:
        wfdb.wrsamp(
            path.stem, fs=sfreq, units=["mV"] * n, sig_name=list(ECG_12.ch_names), p_signal=x_mv.T, fmt=["16"] * n,
            adc_gain=[1000.0] * n, baseline=[0] * n, comments=list(notes), write_dir=folder,
        )  # fmt: skip
        for suffix in (".dat", ".hea"):  # the header last: it is what makes a record
            (Path(folder) / path.with_suffix(suffix).name).replace(path.with_suffix(suffix))


def _digitise(args: argparse.Namespace) -> int:
    from signals.paper.digitise import digitise
    from signals.paper.ink import UnreadablePageError
    from signals.paper.overlay import overlay

    names = [scan.stem for scan in args.scans]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ValueError(f"two scans are named {twice[0]}: their records would have one name")
    pages: list[dict[str, Any]] = []
    refused: list[dict[str, Any]] = []
    for scan in args.scans:
        try:
            page = digitise(read_picture(scan), sfreq=args.sfreq, speed=args.speed, gain=args.gain, layout=args.layout)
        except UnreadablePageError as error:
            print(f"cerebeam paper: {scan}: {error}", file=sys.stderr)  # noqa: T201
            refused.append({"scan": scan, "reason": str(error)})
            continue
        path = args.output / f"{scan.stem}{'.hea' if args.format == 'wfdb' else '.' + args.format}"
        found = f"{page.layout}, {page.scale.speed:g} mm/s, {page.scale.gain:g} mm/mV"
        write_leads(path, page.x_mv, page.sfreq, (f"Digitised from paper: {found}",))
        if args.overlay:
            write_picture(args.output / f"{scan.stem}.overlay.webp", overlay(page))
        pages.append({"record": path, "layout": page.layout, "speed": page.scale.speed, "gain": page.scale.gain,
                      "px_per_mm": page.px_per_mm, "rotation_deg": page.rotation_deg})  # fmt: skip
        if not args.json:
            measured = f"{page.px_per_mm:.2f} pixels per mm, turned by {page.rotation_deg:.1f}°"
            print(f"{path}: {found}, {measured}")  # noqa: T201
    if args.json:
        print_json({"records": pages, "refused": refused})
    return 1 if refused else 0


def _render(args: argparse.Namespace) -> int:
    from synthetic.paper.draw import Style, draw
    from synthetic.paper.wear import drawn_wear, worn

    scale = PaperScale(args.speed or 25.0, args.gain or 10.0)
    x_mv, sfreq = twelve_leads(args.record, start_s=args.start, duration_s=scale.shown_s)
    page = draw(x_mv, sfreq, Style(layout=args.layout, scale=scale, px_per_mm=args.dpi / 25.4))
    if args.photograph is not None:
        rng = np.random.default_rng(args.photograph)
        page = worn(page, drawn_wear(rng), rng)
    write_picture(args.output, page.image)
    return 0


def twelve_leads(path: Path, *, start_s: float, duration_s: float) -> tuple[np.ndarray, float]:
    """Return a stretch of a record's twelve leads, mV, and its rate; limb leads are derived where they follow.

    Raises ValueError where leads are missing, or the record ends before.
    """
    from signals.modality import ECG_12
    from signals.montage.leads import find_leads, lead_harmoniser, lead_shortfall
    from signals.sites.opening import open_source
    from signals.window import ABSENT

    recording = open_source(str(path)).recording
    found = find_leads(recording.ch_names, recording.sensor_types)
    fit = lead_harmoniser(found.derivations, ECG_12, "source")
    if (fit.ch_state == ABSENT).any():
        raise ValueError(f"{path}: a page needs twelve leads; {lead_shortfall(found.derivations, fit, ECG_12)}")
    sfreq = recording.sfreqs[found.picks[0]]
    first, n_times = round(start_s * sfreq), round(duration_s * sfreq)
    left = recording.n_times(found.picks[0]) - first
    if left < n_times:
        raise ValueError(
            f"{path}: {max(left, 0) / sfreq:g} s from second {start_s:g} on; a page shows {duration_s:g} s"
        )
    x = recording.read(found.picks, start=first, stop=first + n_times)
    return np.nan_to_num(fit.matrix.astype(np.float64) @ x), sfreq


def main(argv: Sequence[str] | None = None) -> int:
    """Run from the command line; returns 0, 1 where a scan was refused, 2 for bad input."""
    args = parse_args(argv)
    try:
        return {"digitise": _digitise, "render": _render}[args.command](args)
    except (ValueError, UnreadableError) as error:
        print(f"cerebeam paper: {error}", file=sys.stderr)  # noqa: T201
    return 2


if __name__ == "__main__":
    sys.exit(main())
