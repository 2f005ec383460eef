"""make bench-ecg: leads through preparation and storage, beats, swapped arms, waves, classes, encoders of two organs.

    python -m benchmarks ecg [--data FOLDER] [--only PART ...] [--output DIR]

`--data` is a folder with ecg/, real/ and more/ (by default CEREBEAM_REAL_DATA; what needs it is left out without).
rules: organs in code, limb leads. beats: R waves of annotated people against the marks of lead II, of two-lead records
against their beats in tiles of 10 s, within 150 ms; arms swapped by arithmetic. hours: speed beside wfdb and SciPy.
waves: delineation beside NeuroKit2. generated, real: superclasses at sites that no model saw, beside baselines. kinds:
encoders of EEG, of ECG and of both, probed on both.
"""

import argparse
import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

import numpy as np

from benchmarks.benches.models.delineation import Budget, delineation
from benchmarks.benches.models.heart_classes import classes, kinds
from benchmarks.benches.models.heart_corpora import Corpora
from benchmarks.benches.models.heart_preparation import preparation
from benchmarks.benches.parts.branches import modality_branches
from benchmarks.harness import figure, machine
from signals.description.heart.arms import arms_swapped
from signals.description.heart.beats import r_peaks
from signals.modality import ECG_12
from signals.montage.leads import lead_of
from signals.recording.recording import Recording, Segment
from signals.shards.records import as_stored
from signals.windows.plan import plan_recording
from signals.windows.prepare import prepare_recording
from signals.windows.profiles import ECG_RHYTHM, ECG_WAVES
from synthetic.heart.leads import HeartRecord, generate
from synthetic.heart.person import CONDITIONS

ROOT, TOLERANCE_S, TILE_S = Path(__file__).parents[3], 0.15, 10.0
BEATS = frozenset("NLRBAaJSVrFejnE/fQ?")


def recording_of(record: HeartRecord) -> Recording:
    """Return a generated record as a recording in memory."""
    x = record.x_mv.astype(np.float32)
    return Recording(
        uri="memory", reader="synthetic", ch_names=ECG_12.ch_names, sensor_types=ECG_12.sensor_types,
        sfreqs=(record.sfreq,) * len(x), segments=(Segment(0.0, x.shape[1] / record.sfreq),),
        read_samples=lambda picks, _, start, stop: x[list(picks), start:stop],
    )  # fmt: skip


def einthoven_error_uv(n_people: int) -> float:
    """Return the largest error of the four derived limb leads in stored windows of both profiles, µV."""
    worst, rng = 0.0, np.random.default_rng(0)
    for number in range(n_people):
        record = generate(rng, tuple(CONDITIONS)[number % len(CONDITIONS)], sfreq=(257.0, 500.0, 1000.0)[number % 3])
        for profile in (ECG_RHYTHM, ECG_WAVES):
            recording = recording_of(record)
            plan = plan_recording(recording, profile, site_id="s", subject_id="p", source_sha256=f"{number:064d}")
            for window in prepare_recording(recording, plan, want=()):
                one, two, three, right, left, foot = 1000 * as_stored(window.data, window.sensor_types)[:6]
                wanted = (two - one, -(one + two) / 2, one - two / 2, two - one / 2)
                errors = (a - b for a, b in zip((three, right, left, foot), wanted, strict=True))
                worst = max(worst, *(float(np.abs(error).max()) for error in errors))
    return worst


def matched(found: np.ndarray, true: np.ndarray, reach: float) -> int:
    """Return how many true beats have a found one of their own within reach."""
    left, n = sorted(found.tolist()), 0
    for beat in true:
        near = [at for at in left if abs(at - beat) <= reach]
        if near:
            left.remove(min(near, key=lambda at: abs(at - beat)))
            n += 1
    return n


def people(folder: Path) -> Iterator[tuple[np.ndarray, float, list[str], np.ndarray]]:
    """Yield leads in µV, rate, names and R marks of lead II of each annotated twelve-lead record."""
    import wfdb

    for header in sorted(folder.rglob("*.hea")):
        if header.with_suffix(".ii").is_file():
            record, marks = wfdb.rdrecord(str(header.with_suffix(""))), wfdb.rdann(str(header.with_suffix("")), "ii")
            names = [lead.anode if (lead := lead_of(name)) else name for name in record.sig_name]
            beats = np.array([at for at, kind in zip(marks.sample, marks.symbol, strict=True) if kind == "N"])
            yield 1000 * record.p_signal.T, float(record.fs), names, beats


def two_leads(folder: Path) -> Iterator[tuple[np.ndarray, float, np.ndarray]]:
    """Yield leads in µV, rate and beats of each two-lead record whose marks tell kinds of beats apart."""
    import wfdb

    for header in sorted(folder.rglob("*.hea")):
        if header.with_suffix(".atr").is_file():
            record, marks = wfdb.rdrecord(str(header.with_suffix(""))), wfdb.rdann(str(header.with_suffix("")), "atr")
            if {"V", "F"} & set(marks.symbol):
                beats = [at for at, kind in zip(marks.sample, marks.symbol, strict=True) if kind in BEATS]
                yield 1000 * record.p_signal.T, float(record.fs), np.array(beats)


def real(folder: Path) -> None:
    """Print the figures of real records."""
    hits = n_true = n_found = n_swapped = n_false = n_people = 0
    for x, sfreq, names, beats in people(folder):
        n_people += 1
        one, two, three, right, left = (names.index(name) for name in ECG_12.ch_names[:5])
        order = np.arange(len(x))
        order[[two, three, right, left]] = three, two, left, right
        n_false += arms_swapped(x, sfreq, names)
        n_swapped += arms_swapped(np.where(np.arange(len(x))[:, None] == one, -x, x[order]), sfreq, names)
        if len(beats) > 1:  # the first and last beats are not marked
            reach = TOLERANCE_S * sfreq
            found = r_peaks(x, sfreq)
            found = found[(found > beats[0] - reach) & (found < beats[-1] + reach)]
            hits, n_true, n_found = hits + matched(found, beats, reach), n_true + len(beats), n_found + len(found)
    if n_people:
        figure("ecg_people_qrs_sensitivity", hits / n_true, "share")
        figure("ecg_people_qrs_ppv", hits / n_found, "share")
        figure("ecg_arms_swapped_found", n_swapped / n_people, "share")
        figure("ecg_arms_swapped_false", n_false / n_people, "share")
    hits = n_true = n_found = 0
    for x, sfreq, beats in two_leads(folder):
        n_tile = round(TILE_S * sfreq)
        for start in range(0, x.shape[1] - n_tile + 1, n_tile):
            found = r_peaks(x[:, start : start + n_tile], sfreq)
            true = beats[(beats >= start) & (beats < start + n_tile)] - start
            hits, n_true = hits + matched(found, true, TOLERANCE_S * sfreq), n_true + len(true)
            n_found += len(found)
    if n_true:
        figure("ecg_qrs_sensitivity", hits / n_true, "share")
        figure("ecg_qrs_ppv", hits / n_found, "share")


def rules(args: argparse.Namespace) -> None:
    """Print whether any line asks for an organ, and how far stored limb leads are from Einthoven's relation."""
    figure("modality_branches", len(modality_branches(ROOT)), "lines")
    figure("ecg_einthoven_error_uv", einthoven_error_uv(args.people), "µV")


def beats(args: argparse.Namespace) -> None:
    """Print the figures of R waves and of swapped arms, on real records."""
    if args.hearts is not None:
        real(args.hearts)


def hours(args: argparse.Namespace) -> None:
    """Print how fast leads are prepared."""
    with tempfile.TemporaryDirectory() as folder:
        preparation(Path(folder), n_people=args.people)


def waves(args: argparse.Namespace) -> None:
    """Print the figures of delineation."""
    budget = Budget(people=args.wave_people, steps=args.steps, test_people=min(args.wave_people, Budget.test_people))
    delineation(args.hearts, budget)


def tables(args: argparse.Namespace, what: Sequence[str]) -> None:
    """Print tables of classes and of encoders; nothing without real recordings."""
    if args.hearts is None:
        print("  left out without real recordings: set CEREBEAM_REAL_DATA, or give --data")
        return
    with tempfile.TemporaryDirectory() as folder:
        corpora = Corpora(
            root=args.output or Path(folder), data=args.data, people=args.site_people, steps=args.pretrain_steps
        )
        for which in what:
            if which == "kinds":
                kinds(corpora, seeds=args.seeds)
            else:
                classes(corpora, epochs=args.epochs, seeds=args.seeds, which=which)


PARTS: dict[str, Callable[[argparse.Namespace], None]] = {
    "rules": rules, "beats": beats, "hours": hours, "waves": waves,
    "generated": partial(tables, what=["generated"]), "real": partial(tables, what=["real"]),
    "kinds": partial(tables, what=["kinds"]),
}  # fmt: skip


def parse_args() -> argparse.Namespace:
    """Return the options; `hearts` is the folder of real records of leads, None where there is none."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    data = os.environ.get("CEREBEAM_REAL_DATA", "")
    parser.add_argument(
        "--data", type=Path, default=Path(data) if data else None, help="folder with ecg/, real/, more/"
    )
    parser.add_argument("--only", nargs="+", choices=tuple(PARTS), default=list(PARTS))
    parser.add_argument("--output", type=Path, help="keep shards and encoders here, and use those that are here")
    parser.add_argument("--people", type=int, default=12, help="generated people for limb leads and for hours")
    parser.add_argument("--wave-people", type=int, default=Budget.people, help="generated people to learn waves from")
    parser.add_argument("--steps", type=int, default=Budget.steps, help="steps of each training of waves")
    parser.add_argument("--site-people", type=int, default=96, help="generated people at each of four sites")
    parser.add_argument("--pretrain-steps", type=int, default=300)
    parser.add_argument("--epochs", type=int, default=8, help="of every network that is trained on classes")
    parser.add_argument("--seeds", type=int, default=3, help="of what takes less than two minutes a seed")
    args = parser.parse_args()
    args.hearts = args.data / "ecg" if args.data is not None and (args.data / "ecg").is_dir() else None
    return args


def main() -> None:
    """Print all figures, or those of some parts."""
    args = parse_args()
    print(machine(), flush=True)
    for name in args.only:
        PARTS[name](args)


if __name__ == "__main__":
    main()
