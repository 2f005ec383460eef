"""The card that travels with a bundle: what it is for, what it was made of, how it was checked."""

from collections.abc import Sequence

from model.bundling.graphs import Exportable
from model.bundling.parity import Parity
from model.bundling.tracing import OPSET
from signals.bundles.calibration import Calibration

RESEARCH_ONLY = "Research use only. Not a medical device: no output may guide care without an expert reading the EEG."


def model_card(models: Sequence[Exportable], calibration: Calibration, agreement: Parity) -> str:
    """Return the card as Markdown."""
    first = models[0]
    title = "embeddings" if first.task is None else first.task.name
    lines = [f"# Cerebeam bundle: {title}", ""]
    if first.task is not None:
        lines += [first.task.description, "", f"- classes: {', '.join(first.task.classes)}"]
    lines += [
        f"- input: {first.profile['window_s']:g} s of {first.modality.name}, {first.modality.sfreq:g} Hz, "
        f"{first.profile['l_freq']:g}-{first.profile['h_freq']:g} Hz",
        *(f"- of the person: {', '.join(m.fields)}, any of which may be missing" for m in models if m.fields),
        f"- shortest input: {max(m.min_times for m in models) / first.modality.sfreq:g} s",
        *(f"- network: {m.name}, {m.n_parameters:,} parameters{_trained_on(m)}" for m in models),
        *_calibrated(calibration, is_classifier=first.task is not None),
        f"- ONNX opset {OPSET}; largest difference from torch over {agreement.n_windows} windows, "
        f"{agreement.n_synthetic} of them synthetic: {agreement.max_probability_difference:.1e}",
        "",
        RESEARCH_ONLY,
        "",
    ]
    return "\n".join(lines)


def _trained_on(model: Exportable) -> str:
    subjects, source = model.provenance.get("train_subjects"), model.provenance.get("label_source")
    labels = f" with {source} labels" if source else ""
    return f", trained on {len(subjects)} subjects{labels}" if subjects else ""


def _calibrated(calibration: Calibration, *, is_classifier: bool) -> list[str]:
    if not is_classifier:
        return []
    if not calibration.split_digest and calibration == Calibration():
        return ["- not calibrated: probabilities are the network's own, there are no prediction sets"]
    sets, below = calibration.conformal, calibration.abstain_below
    return [
        f"- temperature {calibration.temperature:.3g}",
        f"- prediction sets: {'none' if sets is None else f'{sets.method}, miss at most {sets.alpha:.0%}'}",
        f"- abstains {'never' if below is None else f'below a confidence of {below:.2f}'}",
    ]
