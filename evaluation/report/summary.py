"""The top of the page: what a clinician takes away, and what the audit found."""

from html import escape

from evaluation.report.text import Facts, interval, is_votes, p_text


def how_split(facts: Facts) -> str:
    """Return in words who was kept out of training."""
    return {
        "site": "each site was predicted by a model trained on the other sites only",
        "subject": "each subject was predicted by a model trained on other subjects",
    }.get(facts["grouping"], "the file does not say how training and test were separated")


def summary(facts: Facts) -> str:
    """Return the three sentences that a hurried reader takes away."""
    data, model = facts["data"], facts["main_model"]
    ours = facts["models"][model]["metrics"]
    sites = f"{data['n_sites']} sites" if data["n_sites"] != 1 else "one site"
    chance = 1 / len(facts["task"]["classes"])
    first = (
        f"On {data['n_windows']:,} windows of {data['n_subjects']:,} subjects at {sites} ({how_split(facts)}), {model} reached a "
        f"balanced accuracy of <b>{escape(interval(ours['balanced_accuracy']))}</b>; guessing gives {chance:.2f}."
    )
    second = (
        f"Its KL divergence to the {'expert votes' if is_votes(facts) else 'labels'} was <b>{escape(interval(ours['kl']))}</b>, "
        f"its macro AUROC <b>{escape(interval(ours['auroc_macro']))}</b>{_against_prior(facts)}."
    )
    across = facts["across_sites"][model]["balanced_accuracy"]
    if data["n_sites"] > 1 and across["n_sites"] > 1:
        third = f"Across sites balanced accuracy ran from {across['worst']:.2f} ({escape(across['worst_site'])}) to {across['best']:.2f}, {across['mean']:.2f} on average."
    elif data["n_sites"] > 1:
        third = f"Balanced accuracy is defined at {across['n_sites']} of {data['n_sites']} sites, so sites cannot be compared by it."
    else:
        third = "All data come from one site: nothing here says how the model does at another one."
    level = facts["bootstrap"]["level"]
    return (
        f'<p class="sub">{escape(facts["task"]["description"] or facts["task"]["name"] + ".")} In brackets: {level:.0%} intervals, patients resampled.</p>'
        f'{_failed(facts)}<p class="lead">{first} {second} {third}</p>'
        '<p class="use"><b>Research use only.</b> This is no medical device and no evidence for treating anyone; '
        "it says nothing about patients, hospitals or equipment other than those counted here.</p>"
    )


def _failed(facts: Facts) -> str:
    """Return what the audit said, in one line: a failure must not be overlooked."""
    told = facts["audit"]
    grave = [f["code"] for f in told["findings"] if f["severity"] == "error"]
    if told["verdict"] == "failed":
        named = ", ".join(f"<code>{escape(code)}</code>" for code in dict.fromkeys(grave))
        return (
            f'<p class="verdict error">The leak audit failed: the figures of this page must not be used ({named}).</p>'
        )
    n_warnings = sum(f["severity"] == "warning" for f in told["findings"])
    return f'<p class="note">The leak audit passed{f" with {n_warnings} warning(s), listed below" if n_warnings else ""}.</p>'


def _against_prior(facts: Facts) -> str:
    rows = [r for r in facts["differences"] if r["second"] == "prior" and r["metric"] == "kl"]
    if not rows or rows[0]["value"] is None:
        return ""
    row = rows[0]
    word = "below" if row["value"] < 0 else "above"
    return f" (KL {abs(row['value']):.2f} {word} the prior-only baseline, p {p_text(row['p_holm'])})"


def audit_section(facts: Facts) -> str:
    """Return the verdict and every finding."""
    verdict, findings = facts["audit"]["verdict"], facts["audit"]["findings"]
    bad = " error" if verdict == "failed" else ""
    more = " The figures below must not be used." if bad else ""
    items = "".join(
        f'<li><b class="{f["severity"]}">{f["severity"]}</b>{escape(f["message"])} <code>{escape(f["code"])}</code></li>'
        for f in findings
    )
    return (
        f'<h2>Leak audit</h2><p class="verdict{bad}">The audit {escape(verdict)}.{more}</p>'
        f'<ul class="findings">{items or "<li>Nothing was found.</li>"}</ul><p class="note">Looked for: subjects, recordings or sites on both sides of a '
        "fold, rows outside their fold, test subjects in the pretraining data, sites with one class or one subject, unknown subjects, one person who dominates "
        "or carries the result, a model that is constant, no better than guessing, or tells sites apart instead of classes, a control of shuffled labels that learns.</p>"
    )
