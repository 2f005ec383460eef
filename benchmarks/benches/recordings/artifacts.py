"""python -m benchmarks artifacts: detectors, bad channels, quality and the autoencoder against planted
artifacts.

Subjects are made by the synthetic generator from seeds that nothing was set on (detectors, quality) or trained on
(autoencoder, and one whole site). Artifacts are planted in native samples and go through the whole chain.
"""

import argparse
import os
import tempfile
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from benchmarks.harness import figure, machine, module
from benchmarks.studies.real import opened
from signals.bundles.anomaly import model_input, window_score
from signals.description.artifacts import BIT, KINDS
from signals.description.bad_channels import bad_channels
from signals.electrodes import canonical_electrode, electrode_positions
from signals.modality import EEG_1020
from signals.montage.labels import find_electrodes
from signals.window import MEASURED, Window
from signals.windows.look import look_at
from signals.windows.plan import RecordingPlan, plan_recording
from signals.windows.prepare import prepare_recording
from signals.windows.profiles import PRETRAIN, Profile
from synthetic.recordings.planted import SIZES, Planted, clean_recording, in_memory, plant
from synthetic.recordings.sites import SITES, Site, electrode_of
from synthetic.subject.subjects import Subject, draw_subject

HELD_OUT_SEED = 900_000
SEGMENTS = 2  # of 50 s each


def prepared(data: np.ndarray, site: Site, *, profile: Profile = PRETRAIN) -> list[Window]:
    """Return the windows of samples of a site, through the whole chain."""
    recording = in_memory(data, site=site)
    plan = plan_recording(recording, profile, site_id=site.site_id, subject_id="s", source_sha256="0" * 64)
    return list(prepare_recording(recording, plan))


def subjects(seed: int, n_per_site: int, sites: tuple[Site, ...] = SITES) -> Iterator[tuple[Site, Subject, list[int]]]:
    """Yield (site, subject, seed of its recordings)."""
    for site_number, site in enumerate(sites):
        for number in range(n_per_site):
            key = [seed, site_number, number]
            yield site, draw_subject(np.random.default_rng(key)), key


def clean_data(site: Site, subject: Subject, key: list[int], label: str = "Other") -> np.ndarray:
    """Return a recording without artifacts, µV, shape (n_chans, n_times)."""
    recording = clean_recording(
        np.random.default_rng([*key, 1]), site=replace(site, file_format="edf"), subject=subject,
        labels=[label] * SEGMENTS,
    )  # fmt: skip
    return recording.stretches[0]


def with_planted(
    data: np.ndarray, kind: str, size: float, *, site: Site, key: list[int], onset_in_window_s: float = 4.0
) -> tuple[np.ndarray, list[Planted]]:
    """Return the samples with one artifact in every window of 10 s, and where they are."""
    rng = np.random.default_rng([*key, 2, KINDS.index(kind), int(1000 * size)])
    recorded = {electrode_of(name) for name in site.ch_names}
    old_names = {"T7": "T3", "T8": "T4", "P7": "T5", "P8": "T6"}
    targets = [name for name in EEG_1020.ch_names if name in {old_names.get(n, n) for n in recorded}]
    planted = []
    for window in range(int(data.shape[1] / site.sfreq) // 10):
        data, one = plant(
            rng, data, kind, size, site=site, onset_s=10 * window + onset_in_window_s, targets=targets
        )  # fmt: skip
        planted.append(one)
    return data, planted


def truth_of(one: Planted, window: Window) -> np.ndarray:
    """Return where a window holds an artifact, bool, shape (n_chans, n_seconds)."""
    second = np.arange(window.artifact_mask.shape[1]) + window.start_s
    when = (second + 1 > one.onset_s) & (second < one.onset_s + one.duration_s)
    return np.isin(EEG_1020.ch_names, one.ch_names)[:, None] & when


def detectors(n_per_site: int, seed: int) -> None:
    """Sensitivity by kind and size; false flags on clean background and on discharges."""
    detected: dict[tuple[str, float], list[bool]] = defaultdict(list)
    spilt: dict[str, list[float]] = defaultdict(list)
    for site, subject, key in subjects(seed, n_per_site):
        quiet = replace(site, mains_uv=0.02)
        base = {"line": clean_data(quiet, subject, key)}
        clean = clean_data(site, subject, key)
        for kind, sizes in SIZES.items():
            for size in sizes:
                data, planted = with_planted(base.get(kind, clean), kind, size, site=site, key=key)
                by_start = {w.start_s: w for w in prepared(data, site)}
                for one in planted:
                    window = by_start.get(one.onset_s // 10 * 10)
                    flags = (window.artifact_mask & BIT[kind]) != 0 if window else np.zeros((19, 10), bool)
                    truth = truth_of(one, window) if window else np.zeros((19, 10), bool)
                    rows = truth.any(axis=1)
                    detected[kind, size].append(bool((flags & truth).any(axis=1)[rows].all() and rows.any()))
                    spilt[kind].append(float(flags[~rows].mean()))
    print("  kind        size: sensitivity ...                                         flags on other channels")
    for kind, sizes in SIZES.items():
        row = "  ".join(f"{size:g}: {np.mean(detected[kind, size]):.2f}" for size in sizes)
        print(f"  {kind:<10}  {row:<62}  {np.mean(spilt[kind]):.4f}")
    for label in ("Other", "Seizure", "LPD", "GPD", "LRDA", "GRDA"):
        masks = [
            w.artifact_mask[w.ch_state == MEASURED]
            for site, subject, key in subjects(seed + 1, n_per_site)
            for w in prepared(clean_data(site, subject, key, label), site)
        ]
        mask = np.concatenate(masks)
        rates = {kind: float(((mask & BIT[kind]) != 0).mean()) for kind in KINDS}
        name = "clean" if label == "Other" else label
        print(f"  {name:<8} " + "  ".join(f"{kind} {rate:.4f}" for kind, rate in rates.items()))
        for kind, rate in rates.items():
            figure(f"detector_{kind}_false_{name.lower()}", rate, "share_of_channel_seconds")
    for kind, sizes in SIZES.items():
        figure(f"detector_{kind}_sensitivity", float(np.mean(detected[kind, sizes[-2]])), "share")


FAULTS = ("flat", "noisy", "alone", "loud")
"""What a bad electrode shows from beginning to end: nothing; its own signal and noise of twice its size; noise of the
EEG's spectrum instead of its signal; its signal ten times too large, with noise."""


def spoil(rng: np.random.Generator, data: np.ndarray, row: int, fault: str, sfreq: float) -> np.ndarray:
    """Return the samples with one electrode bad throughout."""
    out, n_times = data.copy(), data.shape[1]
    size = float(np.median(np.abs(data[row] - np.median(data[row])))) * 1.4826
    white = rng.standard_normal(n_times)
    spectrum = np.fft.rfft(white) / np.maximum(np.fft.rfftfreq(n_times, 1 / sfreq), 0.5)
    pink = np.fft.irfft(spectrum, n_times)
    pink /= pink.std()
    if fault == "flat":
        out[row] = 0.0
    elif fault == "noisy":
        out[row] += 2 * size * white
    elif fault == "alone":
        out[row] = size * pink
    else:
        out[row] = 10 * data[row] + 10 * size * pink
    return out.astype(np.float32)


def plan_of(data: np.ndarray, site: Site) -> RecordingPlan:
    """Return the plan of samples of a site."""
    return plan_recording(
        in_memory(data, site=site), PRETRAIN, site_id=site.site_id, subject_id="s", source_sha256="0" * 64
    )


def bad_electrodes(n_per_site: int, seed: int) -> None:
    """How many planted bad electrodes are found, how many good ones convicted, also under discharges; pyprep beside."""
    detected: dict[str, list[bool]] = defaultdict(list)
    convicted: dict[str, list[int]] = defaultdict(lambda: [0, 0])
    for site, subject, key in subjects(seed, n_per_site):
        rng = np.random.default_rng([*key, 3])
        rows = [i for i, name in enumerate(site.ch_names) if name != "EKG"]
        for label in ("Other", "Seizure", "LPD", "GPD", "LRDA", "GRDA"):
            data = clean_data(site, subject, key, label)
            plan = plan_of(data, site)
            convicted[label][0] += len(plan.bad_channels)
            convicted[label][1] += len(rows)
            if label == "Other":
                for fault in FAULTS:
                    row = int(rng.choice(rows))
                    bad = plan_of(spoil(rng, data, row, fault, site.sfreq), site).bad_channels
                    name = canonical_electrode(electrode_of(site.ch_names[row]))
                    detected[fault].append(name in {electrode for electrode, _ in bad})
    for fault, hits in detected.items():
        print(f"  bad electrode {fault:<8} found {np.mean(hits):.2f} of {len(hits)}")
        figure(f"bad_channel_{fault}_sensitivity", float(np.mean(hits)), "share")
    for label, (n_bad, n_all) in convicted.items():
        print(f"  {label:<8} {n_bad} of {n_all} good electrodes convicted")
    discharging = [convicted[label] for label in ("Seizure", "LPD", "GPD", "LRDA", "GRDA")]
    figure("bad_channel_false_clean", convicted["Other"][0] / convicted["Other"][1], "share_of_electrodes")
    figure(
        "bad_channel_false_discharges", sum(n for n, _ in discharging) / sum(n for _, n in discharging),
        "share_of_electrodes",
    )  # fmt: skip


SITES_FOR_PYPREP = (
    "albany-eegmmidb/*.edf", "leipzig-lemon/*.vhdr", "sandiego-eeglab/*.set", "frankfurt-rest/*.edf",
    "kyiv-eegmat/*.edf", "tehran-adhd/*.mat",
)  # fmt: skip


def against_pyprep(n_per_site: int, seed: int) -> None:
    """Agreement with pyprep's NoisyChannels on real files, on the same stretches."""
    try:
        from pyprep import NoisyChannels
    except ImportError:
        print("  pyprep is not installed: not measured")
        return
    import mne

    mne.set_log_level("ERROR")
    root = Path(os.environ.get("CEREBEAM_REAL_DATA", "")) / "real"
    table: dict[str, np.ndarray] = {}
    print("  site                 files  electrodes   ours  pyprep  both   kappa  precision  recall")
    for pattern in SITES_FOR_PYPREP:
        paths = sorted(root.glob(pattern))
        counts, n_electrodes = np.zeros((2, 2), dtype=int), 0
        for path in paths:
            recording = opened(path)
            electrodes = find_electrodes(recording.ch_names, recording.sensor_types)
            names = [derivation.anode for derivation in electrodes.derivations]
            positions, sfreq = electrode_positions(names), recording.sfreqs[electrodes.picks[0]]
            parts = look_at(recording, electrodes.picks)
            ours = np.isin(np.arange(len(names)), list(bad_channels(parts, sfreq, positions=positions)))
            raw = mne.io.RawArray(
                1e-6 * np.nan_to_num(np.concatenate(parts, axis=1)).astype(float), mne.create_info(names, sfreq, "eeg")
            )
            head = dict(zip(names, 0.095 * positions, strict=True))
            raw.set_montage(mne.channels.make_dig_montage(head, coord_frame="head"))
            noisy = NoisyChannels(raw, random_state=seed)
            noisy.find_bad_by_nan_flat()
            noisy.find_bad_by_deviation()
            noisy.find_bad_by_hfnoise()
            noisy.find_bad_by_correlation(frac_bad=0.5)
            noisy.find_bad_by_ransac(frac_bad=0.5)
            theirs = np.isin(names, noisy.get_bads())
            n_electrodes += len(names)
            np.add.at(counts, (ours.astype(int), theirs.astype(int)), 1)
        if paths:
            table[pattern] = counts
            print(f"  {pattern.split('/')[0]:<20} {len(paths):>5}  {n_electrodes:>10} {_agreement(counts)}")
    if table:
        total = sum(table.values(), np.zeros((2, 2), dtype=int))
        print(f"  {'all':<20} {'':>5}  {total.sum():>10} {_agreement(total)}")
        figure("bad_channel_pyprep_kappa", _kappa(total), "kappa")
        figure("bad_channel_pyprep_precision", total[1, 1] / max(total[1].sum(), 1), "share")
        figure("bad_channel_pyprep_recall", total[1, 1] / max(total[:, 1].sum(), 1), "share")


def _agreement(counts: np.ndarray) -> str:
    ours, theirs, both = counts[1].sum(), counts[:, 1].sum(), counts[1, 1]
    precision = both / ours if ours else float("nan")
    recall = both / theirs if theirs else float("nan")
    return f"{ours:>6} {theirs:>7} {both:>5} {_kappa(counts):>7.2f} {precision:>10.2f} {recall:>7.2f}"


def _kappa(counts: np.ndarray) -> float:
    """Return Cohen's kappa of a table of counts, ours down and theirs across; nan without any bad electrode."""
    n = counts.sum()
    by_chance = (counts.sum(axis=0) * counts.sum(axis=1)).sum() / n**2
    return float((np.trace(counts) / n - by_chance) / (1 - by_chance)) if by_chance < 1 else float("nan")


@dataclass(frozen=True, kw_only=True)
class AnomalyScores:
    """Scores of an autoencoder on recordings of subjects that it was not trained on."""

    clean: list[np.ndarray]
    """Of each window without artifacts, shape (n_chans, n_seconds); nan where there is no channel."""
    planted: dict[str, list[np.ndarray]]
    """By artifact, those of the channels and seconds that it was planted in."""
    patterns: dict[str, list[float]]
    """By class, one score per window that holds the class's discharges."""


def autoencoder(n_per_site: int, seed: int) -> None:
    """Train on three sites, then planted artifacts and discharges of other subjects, and of a site never seen."""
    with tempfile.TemporaryDirectory() as folder:
        scores = anomaly_scores(trained_autoencoder(Path(folder)), n_per_site, seed)
    calm = np.concatenate([answer[np.isfinite(answer)] for answer in scores.clean])
    for kind, parts in scores.planted.items():
        value = _auroc(np.concatenate(parts), calm)
        print(f"  {kind:<10} size {SIZES[kind][-2]:<6g} AUROC {value:.3f} of channel-seconds")
    everything = np.concatenate([part for parts in scores.planted.values() for part in parts])
    figure("autoencoder_auroc", _auroc(everything, calm), "AUROC")
    threshold = float(np.quantile([window_score(answer) for answer in scores.clean], 0.95))
    for label, of_label in scores.patterns.items():
        share = float(np.mean(np.array(of_label) > threshold))
        print(f"  {label:<8} {share:.3f} of windows pass the threshold that 5% of clean ones pass")
    every = np.concatenate([np.array(of_label) for of_label in scores.patterns.values()])
    figure("autoencoder_spike_false_flags", float((every > threshold).mean()), "share_of_windows")


def trained_autoencoder(root: Path) -> Callable[[Window], np.ndarray]:
    """Return the scores of an autoencoder trained on three sites, as a function of a window; prints the seconds."""
    import onnxruntime

    from synthetic.synthesize import synthesize

    corpus, shards = root / "corpus", root / "shards"
    synthesize(corpus, seed=11, subjects_per_site=12, segments_per_subject=3, sites=SITES[:3])
    module(
        "pipelines.preprocess", "--input", corpus, "--output", shards, "--salt", "bench", "--site-from", "folder"
    )  # fmt: skip
    seconds, _ = module("training.autoencoder", "--shards", shards, "--output", root / "a.onnx")
    figure("autoencoder_training_seconds", seconds, "s")
    session = onnxruntime.InferenceSession(root / "a.onnx", providers=["CPUExecutionProvider"])

    def score(window: Window) -> np.ndarray:
        signal = model_input(window.data, window.ch_state)[None]
        return np.asarray(session.run(["anomaly"], {"signal": signal})[0][0])

    return score


def anomaly_scores(score: Callable[[Window], np.ndarray], n_per_site: int, seed: int) -> AnomalyScores:
    """Return the scores of clean windows, planted artifacts and discharges of new subjects at every site."""
    scores = AnomalyScores(clean=[], planted=defaultdict(list), patterns=defaultdict(list))
    for site, subject, key in subjects(seed, n_per_site):
        quiet = replace(site, mains_uv=0.02)
        data = clean_data(site, subject, key)
        scores.clean.extend(score(window) for window in prepared(data, site))
        base = {"line": clean_data(quiet, subject, key)}
        for kind, sizes in SIZES.items():
            spoilt, places = with_planted(base.get(kind, data), kind, sizes[-2], site=site, key=key)
            for window in prepared(spoilt, site):
                truth = np.any([truth_of(one, window) for one in places], axis=0)
                answer = score(window)
                scores.planted[kind].append(answer[truth & np.isfinite(answer)])
        for label in ("Seizure", "LPD", "GPD", "LRDA", "GRDA"):
            windows = prepared(clean_data(site, subject, key, label), site)
            scores.patterns[label].extend(window_score(score(window)) for window in windows)
    return scores


def _auroc(odd: np.ndarray, calm: np.ndarray) -> float:
    from sklearn.metrics import roc_auc_score

    truth = np.concatenate([np.zeros(calm.size), np.ones(odd.size)])
    return float(roc_auc_score(truth, np.concatenate([calm, odd])))


PARTS = {
    "detectors": detectors,
    "bad-electrodes": bad_electrodes,
    "pyprep": against_pyprep,
    "autoencoder": autoencoder,
}


def main() -> None:
    """Run all parts, or one."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", choices=sorted(PARTS))
    parser.add_argument("--subjects", type=int, default=3, help="held-out subjects a site")
    parser.add_argument("--seed", type=int, default=HELD_OUT_SEED)
    args = parser.parse_args()
    print(machine())
    for name in [args.only] if args.only else PARTS:
        print(f"== {name}", flush=True)
        PARTS[name](args.subjects, args.seed)


if __name__ == "__main__":
    main()
