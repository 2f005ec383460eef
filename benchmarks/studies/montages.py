"""make bench-montages: one encoder on 4, 19 and 64 channels of the same minutes: how alike, how useful.

    python -m benchmarks.studies.montages --encoder DIR [--real DIR]

Recordings of albany have 64 electrodes. Each 10-s window is given to the same weights three times: as 4 electrodes
where a consumer headset has them, as the 19 of the 10-20 system, as all 64; each referenced to its own average and
scaled by its own size. Linear CKA of the window vectors, and what logistic regression reads from them, also where it
learnt from a montage different from the one it is evaluated on: rest against motor imagery (AUROC within each person
who did both, averaged, learnt from the others who did both), and which of the people a window is of (balanced accuracy
in the last third of each recording, learnt from the rest of it).
"""

import argparse
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import balanced_accuracy_score
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from benchmarks.harness import figure, machine
from benchmarks.studies.real import real_folder
from evaluation.domain.geometry import linear_cka
from evaluation.measures.metrics import auroc
from model.encoder import Encoder
from model.montage import Montage
from signals.electrodes import electrode_positions
from signals.modality import EEG_1020, Modality
from signals.montage.montage import harmoniser
from signals.readers.registry import open_recording
from signals.shards.normalise import normalise, window_scale
from signals.windows.native import read_native
from signals.windows.plan import plan_recording
from signals.windows.profiles import PROFILES
from training.fitting.fit import start_encoder

SITE, WINDOW_S = "albany-eegmmidb", 10
HEADSET = ("AF7", "AF8", "TP7", "TP8")
"""Electrodes next to those of a four-channel headset."""
REST, TASK = ("R01", "R02"), ("R04",)


@dataclass(frozen=True, kw_only=True)
class Windows:
    """The same stretches through one montage."""

    x: list[np.ndarray]
    """float32, shape (n_chans, n_times) each, scaled."""
    states: list[np.ndarray]
    people: np.ndarray
    is_task: np.ndarray
    is_last: np.ndarray
    """Whether a window lies in the last third of its recording."""


def montage_of(name: str, ch_names: tuple[str, ...]) -> Modality:
    """Return a modality of these electrodes, with the rate and band of `EEG_1020`."""
    positions = tuple((float(x), float(y), float(z)) for x, y, z in electrode_positions(ch_names))
    return replace(
        EEG_1020, name=name, ch_names=ch_names, positions=positions, sensor_types=("eeg",) * len(ch_names), edges=()
    )


def recording_windows(path: Path, montages: dict[str, Modality]) -> dict[str, list[tuple[np.ndarray, np.ndarray]]]:
    """Return each montage's windows of a recording, scaled, and their channel states."""
    recording = open_recording(str(path))
    profile = replace(PROFILES["pretrain"], repair_bad_channels=False)
    plan = plan_recording(recording, profile, site_id=SITE, subject_id=path.stem[:4], source_sha256="0" * 64)
    n_native = recording.n_times(plan.picks[0], 0)
    by_recording = {}
    for name, modality in montages.items():
        conditioner = replace(plan.conditioner, harmoniser=harmoniser(plan.derivations, modality, "average"))
        used = [plan.picks[i] for i in conditioner.harmoniser.used]
        n_times = conditioner.n_times(n_native)
        native = read_native(recording, used, conditioner, segment=0, start=0, stop=n_times)
        x = conditioner.condition(native, 0, n_times).x
        state, n_window = conditioner.harmoniser.ch_state, round(WINDOW_S * modality.sfreq)
        cut = (x[:, start : start + n_window] for start in range(0, n_times - n_window + 1, n_window))
        by_recording[name] = [(normalise(part, window_scale(part, state)), state) for part in cut]
    return by_recording


def all_windows(folder: Path, montages: dict[str, Modality]) -> dict[str, Windows]:
    """Return every montage's windows of all recordings of rest and of motor imagery."""
    paths = [path for path in sorted(folder.glob("*.edf")) if path.stem[4:] in (*REST, *TASK)]
    parts = [recording_windows(path, montages) for path in paths]
    counts = [len(part["19"]) for part in parts]
    people = np.repeat([path.stem[:4] for path in paths], counts)
    is_task = np.repeat([path.stem[4:] in TASK for path in paths], counts)
    is_last = np.concatenate([np.arange(count) >= 2 * count / 3 for count in counts])
    return {
        name: Windows(
            x=[x for part in parts for x, _ in part[name]],
            states=[state for part in parts for _, state in part[name]],
            people=people,
            is_task=is_task,
            is_last=is_last,
        )
        for name in montages
    }


@torch.no_grad()
def vectors(encoder: Encoder, windows: Windows, modality: Modality) -> np.ndarray:
    """Return the window vectors and the spread of tokens over time, float32, shape (n, 2 dim)."""
    encoder.eval()
    rows = []
    for x, state in zip(windows.x, windows.states, strict=True):
        out = encoder(torch.from_numpy(x[None]), Montage.of(modality, torch.from_numpy(state[None].astype(np.int64))))
        spread = out["tokens_BCND"].std(2).mean(1)
        rows.append(torch.cat([out["window_BD"], spread], -1)[0].numpy())
    return np.stack(rows)


def fit(x: np.ndarray, y: np.ndarray) -> Pipeline:
    """Return a standardised, balanced logistic regression."""
    regression = LogisticRegression(C=1.0 / len(x), class_weight="balanced", max_iter=2000)
    return make_pipeline(StandardScaler(), regression).fit(x, y)


def rest_or_task(learnt: np.ndarray, tested: np.ndarray, windows: Windows) -> float:
    """Return the AUROC of rest against task within a person, learnt from others; the mean over people who did both."""
    people, task = windows.people, windows.is_task
    both = [person for person in np.unique(people) if len(set(task[people == person].tolist())) == 2]
    scores = []
    for person in both:
        out, others = people == person, np.isin(people, both) & (people != person)
        probability = fit(learnt[others], task[others]).predict_proba(tested[out])[:, 1]
        scores.append(float(auroc(probability, task[out])))
    return float(np.mean(scores))


def which_person(learnt: np.ndarray, tested: np.ndarray, windows: Windows) -> float:
    """Return the balanced accuracy of whose a window is, learnt from earlier windows of the same recordings."""
    last, people = windows.is_last, windows.people
    predicted = fit(learnt[~last], people[~last]).predict(tested[last])
    return float(balanced_accuracy_score(people[last], predicted))


def main() -> None:
    """Print the two tables and their figures."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--encoder", type=Path, default=Path("bench-output/pretrain-small/run/encoder"))
    parser.add_argument("--real", type=Path, default=real_folder(), help="folder of real recordings")
    args = parser.parse_args()
    if args.real is None or not (args.real / SITE).is_dir():
        parser.error(f"recordings of {SITE} are needed: set CEREBEAM_REAL_DATA")
    if not (args.encoder / "model.safetensors").is_file():
        parser.error(f"{args.encoder} holds no encoder: run make pretrain-small first, or give --encoder")
    first = open_recording(str(sorted((args.real / SITE).glob("*.edf"))[0]))
    everything = plan_recording(
        first, replace(PROFILES["pretrain"], repair_bad_channels=False), site_id=SITE, subject_id="", source_sha256=""
    )
    native = tuple(derivation.anode for derivation in everything.derivations)
    montages = {"4": montage_of("headset", HEADSET), "19": EEG_1020, "64": montage_of("native", native)}
    print(machine(), f"{len(native)} native electrodes", flush=True)
    windows = all_windows(args.real / SITE, montages)
    trained, _ = start_encoder(args.encoder, seed=0)
    torch.manual_seed(0)
    for kind, encoder in (("pretrained", trained), ("random", Encoder(trained.config))):
        vectors_of = {name: vectors(encoder, windows[name], modality) for name, modality in montages.items()}
        suffix = "" if kind == "pretrained" else "_random"
        print(f"{kind}: linear CKA of {len(vectors_of['19'])} windows")
        for a, b in (("4", "19"), ("4", "64"), ("19", "64")):
            figure(f"cka_{a}_{b}{suffix}", linear_cka(vectors_of[a], vectors_of[b]), "cka")
        for name, ask in (("rest_or_task", rest_or_task), ("which_person", which_person)):
            print(f"{kind}: {name}, trained on (rows) and evaluated on (columns) {', '.join(montages)}")
            for a in montages:
                values = {b: ask(vectors_of[a], vectors_of[b], windows["19"]) for b in montages}
                print(f"  {a:>3} " + " ".join(f"{value:7.3f}" for value in values.values()), flush=True)
                figure(f"montage_{a}_{name}{suffix}", values[a], "auroc" if ask is rest_or_task else "accuracy")


if __name__ == "__main__":
    main()
