"""A model card in the form of the Hugging Face hub, from facts alone: intended use, data, evidence, limits."""

from evaluation.report.drawing.wording import NAMES, Facts, interval, plural
from evaluation.report.sections.overview.model import how_started
from evaluation.report.sections.overview.summary import how_split
from evaluation.report.sections.registry import limitations

CARD_METRICS = ("balanced_accuracy", "auroc_macro", "kl", "kappa", "ece")


def model_card(facts: Facts, *, title: str) -> str:
    """Return MODEL_CARD.md: a YAML header, then Markdown. The same facts give the same card."""
    parts = [
        _header(facts), f"# {title}\n", _use(facts), _data(facts), _evidence(facts), _audit(facts),
        _limitations(facts), _reproduce(facts),
    ]  # fmt: skip
    return "\n".join(parts)


def _header(facts: Facts) -> str:
    """Return the YAML of the hub; results only where the audit did not fail."""
    lines = ["---", "library_name: cerebeam", "license: mit", "tags:", "- eeg", "- biosignals", "- research-use-only"]
    known = facts["models"][facts["main_model"]]["metrics"]
    if facts["audit"]["decision"] != "failed":
        lines += ["model-index:", f"- name: {_quoted(facts['main_model'])}", "  results:", "  - task:",
                  "      type: time-series-classification", "    dataset:", f"      name: {_quoted(facts['task']['name'])}",
                  f"      type: {_quoted(facts['task']['name'])}", "    metrics:"]  # fmt: skip
        for metric in CARD_METRICS:
            if known[metric]["value"] is not None:
                value = f"{known[metric]['value']:.4f}"
                lines += [f"    - type: {metric}", f"      name: {_quoted(NAMES[metric])}", f"      value: {value}"]
    return "\n".join([*lines, "---", ""])


def _quoted(words: str) -> str:
    return '"' + words.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _use(facts: Facts) -> str:
    description = facts["task"]["description"] or facts["task"]["name"]
    classes = ", ".join(facts["task"]["classes"])
    return (
        "## Intended use\n\n"
        f"{description} Classes: {classes}.\n\n"
        "Research use only: this is not a medical device, and the figures are no evidence for treating anyone. Do not use it to decide "
        "about patients, nor on recordings of different equipment, montage or population without measuring there first.\n"
    )


def _data(facts: Facts) -> str:
    data = facts["data"]
    rows = "".join(
        f"| {name} | {data['class_windows'][name]:,} | {data['class_subjects'][name]:,} |\n"
        for name in facts["task"]["classes"]
    )
    return (
        "## Data\n\n"
        f"{plural(data['n_windows'], 'window')} of {plural(data['n_recordings'], 'recording')}, {plural(data['n_subjects'], 'subject')}, "
        f"{plural(data['n_sites'], 'site')}; {how_split(facts)}. {how_started(facts)}\n\n"
        f"| Class | Windows | Subjects |\n|---|---|---|\n{rows}"
    )


def _evidence(facts: Facts) -> str:
    level = facts["bootstrap"]["level"]
    head = f"| Model | {' | '.join(NAMES[m] for m in CARD_METRICS)} |\n|{'---|' * (len(CARD_METRICS) + 1)}\n"
    rows = "".join(
        f"| {name} | {' | '.join(interval(entry['metrics'][m], 3) for m in CARD_METRICS)} |\n"
        for name, entry in facts["models"].items()
    )
    sites = "".join(
        f"| {row['name']} | {row['n_subjects']:,} | {interval(row['metrics']['balanced_accuracy'], 3)} |\n"
        for row in facts["sites"][facts["main_model"]]
    )
    return (
        f"## Evidence\n\nIn brackets {level:.0%} intervals, patients resampled {facts['bootstrap']['n_boot']:,} times.\n\n{head}{rows}\n"
        f"| Site | Subjects | Balanced accuracy |\n|---|---|---|\n{sites}"
    )


def _audit(facts: Facts) -> str:
    audit = facts["audit"]
    findings = "".join(f"- {f['severity']}, `{f['code']}`: {f['message']}\n" for f in audit["findings"])
    warning = " **The figures of this card must not be used.**" if audit["decision"] == "failed" else ""
    return f"## Leak audit\n\nThe audit {audit['decision']}.{warning}\n\n{findings or '- Nothing was found.' + chr(10)}"


def _limitations(facts: Facts) -> str:
    return "## Limitations\n\n" + "".join(f"- {sentence}\n" for sentence in limitations(facts))


def _reproduce(facts: Facts) -> str:
    provenance = facts["provenance"]
    digests = "".join(f"- {name}: `{digest}`\n" for name, digest in provenance.get("sha256", {}).items())
    command = f"```\n{provenance['command']}\n```\n\n" if provenance.get("command") else ""
    return f"## Reproducibility\n\n{command}{digests}Every number is in facts.json, and in report.html beside it.\n"
