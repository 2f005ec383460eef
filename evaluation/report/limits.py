"""What the figures cannot carry, and how to repeat them."""

from html import escape

from evaluation.report.text import Facts, is_votes
from signals.pages.page import flatten, key_values


def limits(facts: Facts) -> list[str]:
    """Return what the figures cannot carry, a sentence each."""
    data = facts["data"]
    found = [
        f"{data['n_subjects']} subjects stand behind these intervals, however many windows each gave; with few subjects percentile intervals are somewhat too narrow.",
        "Resampling patients says nothing about another seed, another training run or another hospital.",
        "Where every resample gives the same value (1.000 to 1.000), no error was seen; that is no certainty.",
        "ECE grows when data are drawn with replacement, so its interval may lie above its value.",
        "A resample in which a class is missing averages recall over the classes that it has.",
        "Labels are taken as they are; what experts disagree on bounds every score."
        if is_votes(facts)
        else "Labels are single classes, so KL equals log loss.",
    ]
    if data["n_sites"] == 1:
        found.append("One site: what is measured may be a habit of its equipment.")
    if facts["grouping"] != "site":
        found.append("Training and test share sites, so this is no test of another hospital.")
    if any(embeddings["gap"]["gaps"] for embeddings in facts["embeddings"]):
        found.append(
            "Distances between sites hold all that differs between them: equipment, patients, and the mix of labels."
        )
    return found


def limits_section(facts: Facts) -> str:
    """Return the limits as a list."""
    return "<h2>Limits</h2><ul>" + "".join(f"<li>{escape(limit)}</li>" for limit in limits(facts)) + "</ul>"


def repeat_section(facts: Facts) -> str:
    """Return commands, digests and versions."""
    provenance = {k: v for k, v in facts["provenance"].items() if k != "command"}
    flat = {**flatten(provenance), **flatten(facts["meta"]), **facts["versions"], "seed": facts["bootstrap"]["seed"]}
    command = facts["provenance"].get("command")
    shown = f"<pre>{escape(command)}</pre>" if command else ""
    return (
        f"<h2>How to repeat</h2><p>The same files and seed give the same numbers.</p>{shown}{key_values(flat)}"
        '<p class="note">Every number of this page is in facts.json beside it, and in this file’s element <code>#facts</code>.</p>'
    )
