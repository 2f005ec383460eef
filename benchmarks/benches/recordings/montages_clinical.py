"""make bench-montages-clinical: a focal discharge through each published clinical montage, from EDF to window.

    python -m benchmarks montages-clinical

Each montage is written as an EDF file with the labels that its systems write: a background and a discharge over one
electrode, for several electrodes of both sides. The file is opened, planned and prepared under the profile `pretrain`.
Against the same recording with the same electrodes on one reference, the discharge must stay on its side, be largest at
its electrode, and keep its amplitude there; or the file is refused with the reason that the table gives.
"""

import argparse
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.benches.parts.names import names_found
from benchmarks.harness import figure, machine
from signals.electrodes import electrode_positions
from signals.modality import EEG_1020
from signals.montage.references import DOUBLE_BANANA
from signals.readers.registry import open_recording
from signals.recording.recording import UnreadableError
from signals.window import ABSENT, MEASURED, Window
from signals.windows.plan import plan_recording
from signals.windows.prepare import prepare_recording
from signals.windows.profiles import PRETRAIN
from synthetic.patterns.waves import discharge
from synthetic.recordings.files import write_edf
from synthetic.subject.sources import SOURCES, field, mixing, near

SFREQ, SECONDS = 200, 20
DISCHARGE_UV, BACKGROUND_UV, WIDTH = 150.0, 15.0, 0.25
NAMES = (*EEG_1020.ch_names, "A1", "A2", "M1", "M2", "FT9", "FT10", "Fpz", "Oz")
NEWER = {"T3": "T7", "T4": "T8", "T5": "P7", "T6": "P8"}
KEPT = (0.6, 1.4)
"""Least and largest share of the true amplitude at the focus."""


@dataclass(frozen=True, kw_only=True)
class Clinical:
    """One published montage."""

    labels: tuple[str, ...]
    """As the file writes them."""
    weights: tuple[Mapping[str, float], ...]
    """What each channel adds up, by electrode; "ref" is the amplifier's reference, which has a signal of its own."""
    foci: tuple[str, ...]
    """Electrodes to plant at."""
    refused: str = ""
    """The reason code of a montage that no potentials can be had from; empty for one that is prepared."""


_FOCI = ("T3", "F7", "C3", "O1", "T4", "F8", "C4", "O2", "Fz")
_19 = EEG_1020.ch_names
_NEIGHBOURS: dict[str, list[str]] = {name: [] for name in _19}
for _a, _b in EEG_1020.edges:
    _NEIGHBOURS[_a].append(_b)
    _NEIGHBOURS[_b].append(_a)


def pairs(text: str, *, form: str = "{a}-{b}", foci: Sequence[str] = _FOCI, refused: str = "") -> Clinical:
    """Return a montage of pairs, written "Fp1-F7 F7-T3"; a third part ("T8-P8-0") only numbers a repeated label."""
    named = [label.split("-") for label in text.split()]
    older = {new: old for old, new in NEWER.items()}
    return Clinical(
        labels=tuple("-".join([form.format(a=a, b=b), *rest]) for a, b, *rest in named),
        weights=tuple({older.get(a, a): 1.0, older.get(b, b): -1.0} for a, b, *_ in named),
        foci=tuple(foci),
        refused=refused,
    )


def referential(
    names: Sequence[str], form: str, against: Mapping[str, float] | None = None, *, refused: str = ""
) -> Clinical:
    """Return a montage of electrodes against one reference, by default the amplifier's."""
    subtracted = {name: -share for name, share in (against or {"ref": 1.0}).items()}
    return Clinical(
        labels=tuple(form.format(a=name) for name in names),
        weights=tuple({**subtracted, name: 1.0 + subtracted.get(name, 0.0)} for name in names),
        foci=tuple(name for name in _FOCI if name in names),
        refused=refused,
    )


def together(*montages: Clinical) -> Clinical:
    """Return the channels of several montages in one file."""
    return Clinical(
        labels=tuple(label for montage in montages for label in montage.labels),
        weights=tuple(weights for montage in montages for weights in montage.weights),
        foci=tuple(dict.fromkeys(focus for montage in montages for focus in montage.foci)),
    )


_LEFT, _RIGHT = ([name for name in _19 if name[-1] in digits] for digits in ("1357", "2468"))
_MIDLINE = ("Fz", "Cz", "Pz")

MONTAGES: dict[str, Clinical] = {
    "double banana": pairs(" ".join(f"{a}-{b}" for a, b in DOUBLE_BANANA)),
    "double banana with ears (TUH TCP)": pairs(
        "FP1-F7 F7-T3 T3-T5 T5-O1 FP2-F8 F8-T4 T4-T6 T6-O2 A1-T3 T3-C3 C3-CZ CZ-C4 C4-T4 T4-A2 "
        "FP1-F3 F3-C3 C3-P3 P3-O1 FP2-F4 F4-C4 C4-P4 P4-O2".replace("FP", "Fp").replace("CZ", "Cz"),
        form="EEG {a}-{b}", foci=_FOCI[:-1],
    ),
    "transverse": pairs(
        "F7-Fp1 Fp1-Fp2 Fp2-F8 F7-F3 F3-Fz Fz-F4 F4-F8 T3-C3 C3-Cz Cz-C4 C4-T4 "
        "T5-P3 P3-Pz Pz-P4 P4-T6 T5-O1 O1-O2 O2-T6"
    ),
    "CHB-MIT": pairs(
        "Fp1-F7 F7-T7 T7-P7 P7-O1 Fp1-F3 F3-C3 C3-P3 P3-O1 Fp2-F4 F4-C4 C4-P4 P4-O2 Fp2-F8 F8-T8 T8-P8-0 P8-O2 "
        "Fz-Cz Cz-Pz P7-T7 T7-FT9 FT9-FT10 FT10-T8 T8-P8-1"
    ),
    "circle": pairs(
        "Fp1-F7 F7-T3 T3-T5 T5-O1 O1-O2 O2-T6 T6-T4 T4-F8 F8-Fp2 Fp2-Fp1 F3-C3 C3-P3 F4-C4 C4-P4 Fz-Cz Cz-Pz"
    ),
    "newborn, double distance": pairs(
        "Fp1-T3 T3-O1 Fp2-T4 T4-O2 Fp1-C3 C3-O1 Fp2-C4 C4-O2 T3-C3 C3-Cz Cz-C4 C4-T4",
        foci=("T3", "C3", "O1", "T4", "C4", "O2"),
    ),
    "newborn, 8 channels": pairs(
        "F7-C3 C3-T5 F7-T3 T3-T5 F8-C4 C4-T6 F8-T4 T4-T6", foci=("T3", "C3", "T5", "T4", "C4", "T6")
    ),
    "aEEG, 8 channels": pairs(
        "Fp1-C3 C3-O1 Fp1-T3 T3-O1 Fp2-C4 C4-O2 Fp2-T4 T4-O2", foci=("T3", "C3", "O1", "T4", "C4", "O2")
    ),
    "aEEG, 4 channels": pairs("F3-C3 C3-P3 F4-C4 C4-P4", foci=("C3", "C4"), refused="bipolar_montage"),
    "aEEG, 2 channels": pairs("C3-P3 C4-P4", foci=("C3", "C4"), refused="bipolar_montage"),
    "Sleep-EDF": pairs("Fpz-Cz Pz-Oz", form="EEG {a}-{b}", foci=("O1", "O2"), refused="bipolar_montage"),
    "linked ears": referential(_19, "EEG {a}-LE", {"A1": 0.5, "A2": 0.5}),
    "ipsilateral ears": together(
        referential([*_LEFT, *_MIDLINE], "{a}-A1", {"A1": 1.0}), referential(_RIGHT, "{a}-A2", {"A2": 1.0})
    ),
    "contralateral ears": together(
        referential([*_LEFT, *_MIDLINE], "{a}-A2", {"A2": 1.0}), referential(_RIGHT, "{a}-A1", {"A1": 1.0})
    ),
    "contralateral mastoids, 6 channels (AASM)": together(
        referential(("F4", "C4", "O2"), "{a}-M1", {"M1": 1.0}), referential(("F3", "C3", "O1"), "{a}-M2", {"M2": 1.0})
    ),
    "average": referential(_19, "{a}-AVG", dict.fromkeys(_19, 1 / 19)),
    "Cz": referential([name for name in _19 if name != "Cz"], "{a}-Cz", {"Cz": 1.0}),
    "referential and pairs": together(
        referential([name for name in _19 if name not in ("T3", "T4")], "EEG {a}-Ref"),
        pairs("F7-T3 F8-T4 C3-P3"),
    ),
    "pairs, then referential": together(pairs("F7-T3 C4-P4 Fz-Cz"), referential(_19, "{a}-REF")),
    "Laplacian": Clinical(
        labels=tuple(f"{name}-SD" for name in _19),
        weights=tuple({name: 1.0} | dict.fromkeys(_NEIGHBOURS[name], -1 / len(_NEIGHBOURS[name])) for name in _19),
        foci=_FOCI,
        refused="bipolar_montage",
    ),
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What became of one planted discharge."""

    focus: str
    is_right: bool
    share: float = float("nan")
    """Amplitude at the focus over the true one."""
    detail: str = ""


def planted(focus: str, *, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Return potentials of `NAMES` and of the amplifier's reference (last row), µV, and the discharge's wave.

    Shapes (n_names + 1, n_times) and (n_times,). The discharge repeats every second.
    """
    rng = np.random.default_rng(seed)
    places, n_times = electrode_positions(NAMES), SFREQ * SECONDS
    spectrum = np.fft.rfft(rng.standard_normal((len(SOURCES) + 1, n_times)))
    noise = np.fft.irfft(spectrum / np.maximum(np.fft.rfftfreq(n_times, 1 / SFREQ), 1.0), n_times)
    noise *= BACKGROUND_UV / noise.std()
    wave = np.zeros(n_times)
    shape = discharge("sharp", float(SFREQ))
    for start in range(SFREQ // 2, n_times - shape.size, SFREQ):
        wave[start : start + shape.size] += shape
    centre = places[NAMES.index(focus)]
    scalp = field(places, near(SOURCES, centre, WIDTH))
    scalp /= scalp[NAMES.index(focus)]
    x = mixing(places) @ noise[:-1] - DISCHARGE_UV * np.outer(scalp, wave)
    return np.vstack([x, noise[-1:]]), wave


def written(path: Path, montage: Clinical, potentials: np.ndarray) -> Path:
    """Write the montage's channels of these potentials as EDF; returns the path."""
    rows = {name: row for row, name in enumerate((*NAMES, "ref"))}
    channels = np.array([sum(share * potentials[rows[name]] for name, share in w.items()) for w in montage.weights])
    write_edf(path, [channels], file_format="edf", ch_names=montage.labels, sfreq=SFREQ, patient="X X X X",
              record_onsets_s=list(range(SECONDS)))  # fmt: skip
    return path


def first_window(path: Path) -> Window:
    """Return the first window of a file under `pretrain`; raises UnreadableError where it is refused."""
    recording = open_recording(str(path))
    plan = plan_recording(recording, PRETRAIN, site_id="bench", subject_id="0", source_sha256="0" * 64)
    return next(iter(prepare_recording(recording, plan)))


def amplitudes(window: Window, wave: np.ndarray) -> np.ndarray:
    """Return the size of the discharge in each channel, µV, shape (n_chans,); 0 in absent ones."""
    template = np.interp(np.arange(window.data.shape[1]) / window.sfreq, np.arange(wave.size) / SFREQ, wave)
    template -= template.mean()
    sizes = window.data @ template / (template @ template)
    return np.asarray(np.where(window.ch_state == ABSENT, 0.0, sizes))


def judged(montage: Clinical, focus: str, folder: Path) -> Outcome:
    """Return whether a discharge at `focus` came through a montage, or was refused as it should be."""
    potentials, wave = planted(focus)
    names = [name for name in _19 if any(name in weights for weights in montage.weights)]
    truth = amplitudes(first_window(written(folder / "truth.edf", referential(names, "{a}"), potentials)), wave)
    try:
        window = first_window(written(folder / "montage.edf", montage, potentials))
    except UnreadableError as error:
        return Outcome(focus=focus, is_right=error.reason == montage.refused, detail=f"{error.reason}: {error.detail}")
    sizes, row = amplitudes(window, wave), _19.index(focus)
    share = float(sizes[row] / truth[row])
    left, right = (float(np.abs(sizes[[_19.index(name) for name in side]]).max()) for side in (_LEFT, _RIGHT))
    is_sided = focus in _MIDLINE or (left > right if focus in _LEFT else right > left)
    largest = _19[int(np.abs(sizes).argmax())]
    is_right = (
        not montage.refused
        and window.ch_state[row] == MEASURED
        and is_sided
        and largest == focus
        and KEPT[0] <= share <= KEPT[1]
    )
    states = f"{int((window.ch_state == MEASURED).sum())} measured, {int((window.ch_state == ABSENT).sum())} absent"
    return Outcome(focus=focus, is_right=is_right, share=share, detail=f"{states}, largest at {largest}")


def main() -> None:
    """Print the table of montages and its figures."""
    argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0]).parse_args()
    print(machine(), flush=True)
    n_right = 0
    with tempfile.TemporaryDirectory() as folder:
        for name, montage in MONTAGES.items():
            outcomes = [judged(montage, focus, Path(folder)) for focus in montage.foci]
            is_right = all(outcome.is_right for outcome in outcomes)
            n_right += is_right
            shares = [outcome.share for outcome in outcomes]
            kept = "" if montage.refused else f"amplitude kept {min(shares):.2f} to {max(shares):.2f}, "
            print(f"  {name:<42} {'right' if is_right else 'WRONG'}: {kept}{outcomes[0].detail}", flush=True)
            for outcome in outcomes:
                if not outcome.is_right:
                    print(f"    {outcome.focus}: {outcome.share:.2f}, {outcome.detail}", flush=True)
    figure("montages_tested", len(MONTAGES), "count")
    figure("montages_right", n_right, "count")
    names_found()


if __name__ == "__main__":
    main()
