"""The top of the page: who was tested, how well the model did, and what the audit found."""

from collections.abc import Mapping, Sequence
from typing import Any

from evaluation.audit.exposure import TRANSDUCTIVE, exposure
from evaluation.operating.nesting import by_fold
from evaluation.report.context import Context, cohort
from evaluation.report.drawing.blocks import Block, Text
from evaluation.report.drawing.wording import Facts, interval, label_noun, p_text, plural, sites_apart
from evaluation.report.sections.section import TOP, Section
from evaluation.schemas.predictions import targets


def facts(context: Context) -> Mapping[str, Any]:
    """Return who was tested and how training and test were kept apart."""
    origin, rows = context.scored.origin, context.rows
    target = targets(rows, context.classes)
    return {
        "grouping": origin.grouping,
        "n_folds": len(origin.folds),
        "chosen_on": "folds" if by_fold(rows) else "patients",
        "labels": {"source": origin.label_source, "votes": bool((target.max(axis=1) < 1 - 1e-6).any())},
        "exposure": exposure(rows, origin),
        "data": cohort(rows, context.classes),
    }


def render(facts: Facts) -> Sequence[Block]:
    """Return the three sentences that a reader in a hurry takes away."""
    level = facts["bootstrap"]["level"]
    description = facts["task"]["description"] or f"{facts['task']['name']}."
    return [
        *_transductive(facts),
        Text(description, "sub"),
        _decision(facts),
        Text(f"{_score(facts)} {_across(facts)} {_second_score(facts)}", "lead"),
        Text(f"In brackets: {level:.0%} intervals over patients of these sites.", "note"),
        Text(
            "**Research use only.** This is not a medical device, and these figures are no evidence for treating anyone. "
            "They say nothing about patients, hospitals or equipment other than those counted here.",
            "use",
        ),
    ]


def _transductive(facts: Facts) -> list[Block]:
    """Return, as the first line of the page, that the encoder had seen test data; nothing where it had not."""
    seen = facts["exposure"]
    if seen["status"] != TRANSDUCTIVE:
        return []
    people = f"{seen['n_subjects']} of {seen['n_test_subjects']} test subjects" if seen["n_subjects"] else "test sites"
    return [
        Text(
            f"Transductive evaluation: the encoder was pretrained, without labels, on signal of {people} "
            f"(sites {', '.join(seen['sites'])}). Results at a hospital that it has not seen may be lower.",
            "verdict",
        )
    ]


def how_split(facts: Facts) -> str:
    """Return in words who was kept out of training, as far as the file lists it."""
    split = {
        "site": "each site was predicted by a model fitted without labels of that site",
        "subject": "each subject was predicted by a model fitted without labels of that subject",
        "apart": "predicted by a model fitted on other data",
    }.get(facts["grouping"])
    if split is None:
        return "the file does not state how training and test were separated"
    return split if facts["n_folds"] else f"{split}, by its own statement: it lists no folds"


def _score(facts: Facts) -> str:
    data, model = facts["data"], facts["main_model"]
    sites = plural(data["n_sites"], "site")
    return (
        f"On {plural(data['n_windows'], 'window')} of {plural(data['n_subjects'], 'subject')} at {sites} ({how_split(facts)}), {model} reached a "
        f"balanced accuracy of **{interval(facts['models'][model]['metrics']['balanced_accuracy'])}**; "
        f"guessing gives {1 / len(facts['task']['classes']):.2f}."
    )


def _second_score(facts: Facts) -> str:
    known = facts["models"][facts["main_model"]]["metrics"]
    return (
        f"Its KL divergence from the {label_noun(facts)} was **{interval(known['kl'])}**, "
        f"its macro AUROC within folds **{interval(known['auroc_within'])}**{_against_prior(facts)}."
    )


def _across(facts: Facts) -> str:
    n_sites, across = facts["data"]["n_sites"], facts["across_sites"][facts["main_model"]]["balanced_accuracy"]
    if n_sites == 1:
        return "All data come from one site: nothing here shows how the model does at another one."
    if across["n_sites"] < 2:
        return f"Balanced accuracy is defined at {across['n_sites']} of {n_sites} sites, so sites cannot be compared by it."
    ranged = (
        f"Across sites, balanced accuracy ranged from {across['worst']:.2f} ({across['worst_site']}) to {across['best']:.2f}, "
        f"{across['mean']:.2f} on average."
    )
    if not sites_apart(facts):
        shared = (
            "training and test share sites" if facts["grouping"] == "subject" else "training and test may share sites"
        )
        return f"Nothing here shows how the model does at a new hospital: {shared}. {ranged}"
    new = across["new_hospital"]
    return (
        f"**At a new hospital {new['low']:.2f} to {new['high']:.2f} is to be expected** ({facts['bootstrap']['level']:.0%} prediction interval from "
        f"{across['n_sites']} sites). {ranged}"
    )


def _decision(facts: Facts) -> Block:
    """Return the audit's decision in one line: a failure must not be overlooked."""
    audit = facts["audit"]
    if audit["decision"] == "failed":
        codes = dict.fromkeys(f["code"] for f in audit["findings"] if f["severity"] == "error")
        named = ", ".join(f"`{code}`" for code in codes)
        return Text(f"The leak audit failed: the figures on this page must not be used ({named}).", "verdict error")
    n_warnings = sum(f["severity"] == "warning" for f in audit["findings"])
    more = f" with {plural(n_warnings, 'warning')}, listed below" if n_warnings else ""
    return Text(f"The leak audit passed{more}.", "note")


def _against_prior(facts: Facts) -> str:
    rows = [r for r in facts["differences"] if r["second"] == "prior" and r["metric"] == "kl"]
    if not rows or rows[0]["value"] is None:
        return ""
    row = rows[0]
    side = "below" if row["value"] < 0 else "above"
    return f" (KL {abs(row['value']):.2f} {side} the prior-only baseline, p {'= ' if not row['at_floor'] else ''}{p_text(row['p_holm'], at_floor=row['at_floor'])})"


def _behind(n_subjects: int) -> str:
    stand = "stands" if n_subjects == 1 else "stand"
    return (
        f"{plural(n_subjects, 'subject')} {stand} behind the intervals over patients, however many windows each gave."
    )


def caveats(facts: Facts) -> Sequence[str]:
    """Return what the design of the study leaves open."""
    known = [
        _behind(facts["data"]["n_subjects"]),
        "Intervals over patients hold for these sites; they do not cover another seed, another training run or another hospital.",
        _about_labels(facts),
    ]
    if facts["data"]["n_sites"] == 1:
        known.append("One site: what is measured may be a habit of its equipment.")
    if facts["grouping"] == "subject":
        known.append("Training and test share sites, so this is no test of another hospital.")
    elif facts["grouping"] not in ("site", "apart"):
        known.append("Training and test may share sites: the file does not state how they were separated.")
    return known


def _about_labels(facts: Facts) -> str:
    source = {
        "experts": "Labels are those of experts, taken as they are; disagreement between experts limits every score.",
        "protocol": "Labels follow from the protocol of the recordings; nobody has read the windows one by one.",
        "synthetic": "Labels were planted by a generator: no expert has read these recordings.",
    }.get(facts["labels"]["source"], "The file does not state who labelled the windows.")
    return source if facts["labels"]["votes"] else f"{source} They are single classes, so KL equals log loss."


SECTION = Section(name="summary", title="", part=TOP, facts=facts, render=render, caveats=caveats)
