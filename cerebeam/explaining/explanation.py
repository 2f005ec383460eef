"""What `cerebeam explain` does: windows of a recording, their explanations, figures and pages."""

import argparse
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from explain.asking.ask import Ask, answers, centred
from explain.asking.occlusion import METHOD as OCCLUSION
from explain.asking.occlusion import occlusion, stretches
from explain.asking.shapley import shapley
from explain.explanation import STEP_S, Explanation
from explain.figures import drawings
from explain.figures.pages import Figure, Sample, index_page, sample_page
from explain.gates.card import CARD, VALIDATED, ExplanationCard, missing_card
from explain.gates.faithfulness import same_spectrum
from explain.store import Explained, write_explanations
from explain.summary.facts import FACTS, Facts, flattened
from explain.summary.writing import summarise
from serving.runtime import check_windows, files_of, windows_of_file
from signals.bundles.bundle import METADATA, SPECTROGRAM, Bundle, load_bundle
from signals.bundles.inputs import model_input, wanted
from signals.files import atomic_folder
from signals.pages.svg import standalone
from signals.progress import progress
from signals.recording.recording import UnreadableError
from signals.window import Window

SAMPLES, EXPLANATIONS = "samples.jsonl", "explanations.npz"
MOST_BACKGROUNDS = 2


class ExplainError(ValueError):
    """Something that cannot be explained; the message is one line."""


@dataclass(frozen=True, kw_only=True)
class Subject:
    """A bundle's answers to one recording."""

    bundle: Bundle
    windows: tuple[Window, ...] = field(repr=False)
    signals: np.ndarray = field(repr=False)
    """float32, shape (n_windows, n_chans, n_times), as the first graph takes them."""
    states: np.ndarray = field(repr=False)
    """int64, shape (n_windows, n_chans)."""
    logits: np.ndarray = field(repr=False)
    """Shape (n_windows, n_classes)."""
    card: ExplanationCard

    @property
    def probabilities(self) -> np.ndarray:
        """Class probabilities without the bundle's temperature, shape (n_windows, n_classes)."""
        odds = np.exp(self.logits - self.logits.max(axis=1, keepdims=True))
        return np.asarray(odds / odds.sum(axis=1, keepdims=True))


def explain_file(args: argparse.Namespace) -> list[Sample]:
    """Write pages, figures, facts and one file of explanations into a folder, whole or not at all; returns samples.

    Raises BundleError or ExplainError where there is nothing to explain.
    """
    if args.output.exists():
        raise ExplainError(f"output {args.output} exists already; choose another")
    if args.model is not None and not (args.model / "config.json").is_file():  # before what takes long
        raise ExplainError(f"{args.model} is no model: it needs config.json and model.safetensors")
    bundle = load_bundle(args.bundle)
    if args.target is not None and args.target not in bundle.classes:
        raise ExplainError(f"--target {args.target!r} is none of {', '.join(bundle.classes)}")
    subject = _subject(bundle, args.file)
    other = None if args.background is None else _subject(bundle, args.background)
    rows: list[Explained] = []
    with atomic_folder(args.output) as folder:
        samples = []
        for number in progress(_chosen(subject, args), "explain", unit="windows"):
            sample, explained = _sample(subject, number, other, args)
            _write_sample(folder, sample, subject.card)
            samples.append(sample)
            rows += explained
        write_explanations(folder / EXPLANATIONS, rows, ch_names=bundle.modality.ch_names)
        lines = "".join(json.dumps({"sample": each.name, **each.facts}) + "\n" for each in samples)
        (folder / SAMPLES).write_text(lines, encoding="utf-8")
        title = f"What the model's answers on {Path(args.file).name} depend on"
        (folder / "index.html").write_text(index_page(samples, subject.card, title=title), encoding="utf-8")
    return samples


def card_of(bundle: Bundle) -> ExplanationCard:
    """Return the bundle's card of explanations; one on which nothing is validated where it has none, or another's."""
    if CARD not in bundle.about.get("files", {}):
        return missing_card(bundle.path.name)
    try:
        card = ExplanationCard.from_json(bundle.read(CARD).decode("utf-8"))
    except (ValueError, UnicodeDecodeError):
        return missing_card(bundle.path.name)
    known = {graph.weights_sha256 for graph in bundle.graphs}
    return card if {card.weights_sha256} == known else missing_card(bundle.path.name)


def bundle_ask(bundle: Bundle, ch_state: np.ndarray) -> Ask:
    """Return a bundle as something to ask: normalised windows of one state of channels (n_chans,) to logits.

    Of an ensemble, the mean of its members' centred logits. Raises ExplainError for graphs that read more.
    """
    if bundle.combiner or any({SPECTROGRAM, METADATA} & set(graph.inputs) for graph in bundle.graphs):
        raise ExplainError(
            "the bundle reads spectrograms or metadata or has a stacked combiner: what is explained are networks on "
            "samples, one by one"
        )
    if len({repr(graph.normaliser) for graph in bundle.graphs}) > 1:
        raise ExplainError("the bundle's members scale windows differently: explain them one by one")
    sessions = files_of(bundle)

    def ask(x: np.ndarray) -> np.ndarray:
        states = np.repeat(ch_state[None], len(x), axis=0)
        found = [sessions(g.file).run(["logits"], {"signal": x, "ch_state": states})[0] for g in bundle.graphs]
        return np.mean([each - each.mean(axis=1, keepdims=True) for each in found], axis=0)

    return ask


def _subject(bundle: Bundle, file: str) -> Subject:
    try:
        windows = tuple(windows_of_file(bundle, file, want=wanted(bundle.graphs)))
    except UnreadableError as error:
        raise ExplainError(f"{file}: {error}") from None
    if not windows:
        raise ExplainError(f"{file} has no window that the model could answer")
    for graph in bundle.graphs:
        check_windows(bundle, graph, windows)
    signals, states = model_input(windows, bundle.graphs[0].normaliser)
    logits = np.concatenate([answers(bundle_ask(bundle, s), x[None]) for x, s in zip(signals, states, strict=True)])
    return Subject(bundle=bundle, windows=windows, signals=signals, states=states, logits=logits, card=card_of(bundle))


def _chosen(subject: Subject, args: argparse.Namespace) -> list[int]:
    """Return the windows to explain, the one requested or the surest findings."""
    if args.start is not None:
        return [int(np.argmin([abs(window.start_s - args.start) for window in subject.windows]))]
    task = subject.bundle.task
    findings = [c for c, name in enumerate(subject.bundle.classes) if task is None or name in task.findings]
    columns = findings or list(range(len(subject.bundle.classes)))
    best = subject.probabilities[:, columns].max(axis=1)
    return sorted(np.argsort(-best, kind="stable")[: args.windows].tolist())


def _backgrounds(subject: Subject, number: int, target: int, other: Subject | None) -> tuple[np.ndarray, str]:
    """Return what parts are replaced with, (n, n_chans, n_times), and what that is in words."""
    pool, words = (other, "windows of another recording") if other else (subject, "other windows of this recording")
    n_times = subject.signals.shape[2]
    rows = [i for i in range(len(pool.windows)) if other is not None or i != number]
    rows = [i for i in rows if pool.signals.shape[2] == n_times and pool.logits[i].argmax() != target]
    rows.sort(key=lambda i: centred(pool.logits[i : i + 1], target)[0])
    if rows:
        return pool.signals[rows[:MOST_BACKGROUNDS]], f"{words} that the model does not call {_class(subject, target)}"
    noise = same_spectrum(subject.signals[number], np.random.default_rng(0))
    return noise[None], "noise of the window's own spectrum, as no window without the finding was at hand"


def _class(subject: Subject, target: int) -> str:
    return subject.bundle.classes[target]


def _sample(
    subject: Subject, number: int, other: Subject | None, args: argparse.Namespace
) -> tuple[Sample, list[Explained]]:
    bundle, window = subject.bundle, subject.windows[number]
    predicted = int(subject.logits[number].argmax())
    target = predicted if args.target is None else bundle.classes.index(args.target)
    backgrounds, words = _backgrounds(subject, number, target, other)
    explained = list(_explanations(subject, number, target, backgrounds, args))
    facts: dict[str, str | float | int] = {
        "start_s": round(window.start_s, 3), "window_s": round(window.data.shape[1] / window.sfreq, 3),
        "label": window.label or "unknown", "predicted": bundle.classes[predicted],
        "explained_class": bundle.classes[target],
        "probability": round(float(subject.probabilities[number, predicted]), 4),
        "explained_probability": round(float(subject.probabilities[number, target]), 4),
    }  # fmt: skip
    name = f"sample_{number:04d}"
    figures = _figures(subject, number, explained)
    methods = [each.method for each in explained]
    digests = [digest(each) for each in explained]
    listed = {f"file_{i}": f"{name}/{figure.file}" for i, figure in enumerate(figures)}
    of_evidence = {k: v for row in digests for k, v in row.items()}
    summary = _summary(subject, facts, explained[0], words, Path(args.file).name)
    sample = Sample(
        name=name, title=_title(Path(args.file).name, window),
        facts={**facts, "background": words, **of_evidence, **listed},
        figures=figures, methods=methods, summary=summary,
    )  # fmt: skip
    source = {"source_sha256": window.provenance.source_sha256}
    rows = [
        Explained(explanation=each, window=window.key, facts={**facts, **source, **_worth(subject.card, each.method)})
        for each in explained
    ]
    return sample, rows


def _title(file: str, window: Window) -> str:
    stop_s = window.start_s + window.data.shape[1] / window.sfreq
    return f"Explanation of {file}, {window.start_s:g} to {stop_s:g} s"


def _worth(card: ExplanationCard, method: str) -> dict[str, str]:
    """Return a method's label on the model's card, and the gates that it misses, if it was measured."""
    missed = next((each.failed() for each in card.methods if each.method == method), ())
    return {"status": card.status(method), "missed": ", ".join(missed)}


def _explanations(
    subject: Subject, number: int, target: int, backgrounds: np.ndarray, args: argparse.Namespace
) -> Iterator[Explanation]:
    x, state, modality = subject.signals[number], subject.states[number], subject.bundle.modality
    ask, sfreq = bundle_ask(subject.bundle, state), modality.sfreq
    yield occlusion(ask, x, target, sfreq=sfreq, backgrounds=backgrounds)
    if args.shapley:
        yield shapley(ask, x, target, sfreq=sfreq, background=backgrounds[0], ch_names=modality.ch_names)
    if args.model is not None:
        from cerebeam.explaining.networks import network_explanations  # torch, where it is wanted

        yield from network_explanations(args.model, x, state, target, sfreq=sfreq, backgrounds=backgrounds)


def digest(explanation: Explanation) -> Mapping[str, str | float]:
    """Return the strongest band and the positive share of the window and of its thirds, under the method's name."""
    from explain.asking.parts import BANDS

    names = {band: name for name, band in BANDS.items()}
    found: dict[str, str | float] = {}
    spans = {"": (0, explanation.values.shape[1])}
    spans |= {
        f"_t{k}": (round(a / STEP_S), round(b / STEP_S)) for k, (a, b) in enumerate(drawings.segments(explanation))
    }
    for suffix, (first, last) in spans.items():
        part = explanation.values[:, first:last]
        total = float(np.abs(part).sum())
        key = f"{explanation.method.replace(' ', '_')}{suffix}"
        found[f"{key}_positive_share"] = round(float(np.maximum(part, 0).sum()) / total, 4) if total else 0.0
        if explanation.bands and total:
            best = explanation.bands[int(part.sum(axis=(0, 1)).argmax())]
            found[f"{key}_top_band"] = names.get(best, f"{best[0]:g} to {best[1]:g} Hz")
    return found


def _figures(subject: Subject, number: int, explained: Sequence[Explanation]) -> list[Figure]:
    modality, x = subject.bundle.modality, subject.windows[number].data
    positions, names = np.asarray(modality.positions), modality.ch_names
    start_s, figures = subject.windows[number].start_s, []
    strongest = int(np.maximum(explained[0].channels_steps, 0).sum(axis=1).argmax())
    for each in explained:
        stem = each.method.replace(" ", "_").replace("+", "p")
        drawn = drawings.traces(x, each, ch_names=names, sfreq=modality.sfreq, start_s=start_s)
        figures.append(Figure(file=f"{stem}_traces.svg", svg=drawn, caption=f"Traces, {each.method}"))
        palette = "activation" if each.method in drawings.WITHOUT_SIGN else "signed"
        title = f"input of {names[strongest]}, {each.method} of all channels"
        drawn = drawings.triptych(x[strongest], each, sfreq=modality.sfreq, title=title, palette=palette)
        figures.append(Figure(file=f"{stem}_triptych.svg", svg=drawn, caption=f"Time and frequency, {each.method}"))
        if each.has_channels:
            for k, drawn in enumerate(drawings.scalps(each, positions, ch_names=names)):
                caption = ("whole window", "first third", "second third", "last third")[k]
                group = f"Scalp maps, {each.method}"
                figures.append(Figure(file=f"{stem}_scalp_{k}.svg", svg=drawn, caption=caption, group=group))
    return figures


def _summary(
    subject: Subject, facts: Mapping[str, str | float | int], explanation: Explanation, background: str, file: str
) -> str:
    per_step = np.maximum(explanation.per_step, 0)
    runs = stretches(per_step)
    first, last = runs[0] if runs else (0, len(per_step))
    status = subject.card.status(explanation.method)
    of_evidence: dict[str, str | float] = {"method": explanation.method, "status": status}
    if runs:
        channels = strongest_channels(explanation, first, last)
        names = ", ".join(subject.bundle.modality.ch_names[i] for i in channels)
        of_evidence |= {"start_s": first * STEP_S, "stop_s": last * STEP_S, "channels": names}
    else:
        of_evidence["none"] = f"By {explanation.method} ({status}), no part of the window speaks for the class."
    band = np.maximum(explanation.per_band, 0)
    if explanation.bands and band.any():
        low, high = explanation.bands[int(band.argmax())]
        of_evidence |= {"band": f"{low:g} to {high:g} Hz", "band_share": float(band.max() / band.sum())}
    limits = {"background": f"Parts were replaced with {background}; another background may give another map."}
    if explanation.method == OCCLUSION:
        limits["spread"] = "Outside of the strongest stretches, channels and bands repeat those of the strongest one."
    if status != VALIDATED:
        limits["status"] = "This method is not validated for this model: do not rely on its map."
    sample = dict(facts)
    if sample["label"] == "unknown":
        del sample["label"]
    data = {"file": file, "n_windows": len(subject.windows), "window_s": facts["window_s"]}
    everything = {"data": data, "sample": sample, "evidence": of_evidence, "limits": limits}
    return summarise(Facts(flattened(everything))).text


def strongest_channels(explanation: Explanation, first: int, last: int, *, most: int = 3) -> list[int]:
    """Return the channels that speak most for the class in steps [first, last); none that speak against it."""
    in_stretch = explanation.channels_steps[:, first:last].sum(axis=1)
    return [int(i) for i in np.argsort(-in_stretch, kind="stable")[:most] if in_stretch[i] > 0]


def _write_sample(folder: Path, sample: Sample, card: ExplanationCard) -> None:
    place = folder / sample.name
    place.mkdir()
    for figure in sample.figures:
        (place / figure.file).write_text(standalone(figure.svg), encoding="utf-8")
    Facts(sample.facts).save(place / FACTS)
    (place / "summary.md").write_text(sample.summary, encoding="utf-8")
    (folder / f"{sample.name}.html").write_text(sample_page(sample, card), encoding="utf-8")
