"""The run report as one HTML page, made from run.json alone: no network, no script, printable, nobody named."""

from collections.abc import Mapping
from html import escape

from pipelines.report.advice import ADVICE, NOTES
from pipelines.report.facts import RunFacts
from pipelines.report.figures import Sites, amplitude_plot, hours_plot, legend, presence_map, quality_plot
from pipelines.report.traces import COLOURS, row_distance, traces
from pipelines.runs.accounting import Counts, SiteCounts
from signals.description.artifacts import KINDS
from signals.description.quality import GOOD, REASONS
from signals.description.systems import system_of
from signals.modality import MODALITIES
from signals.pages.page import document, flatten, key_values, table

CSS = """
.cards{display:grid;grid-template-columns:repeat(auto-fit,minmax(130px,1fr));gap:10px 24px;margin:22px 0 6px;border-top:1px solid var(--rule);border-bottom:1px solid var(--rule);padding:14px 0}
.cards b{display:block;font-size:25px;font-weight:650;line-height:1.15;letter-spacing:-.01em}.cards span{color:var(--soft);font-size:14px}
.legend{font-size:13px;color:var(--soft);margin:4px 0 0}.legend span{margin-right:14px;white-space:nowrap}.legend i{display:inline-block;width:12px;height:12px;margin-right:5px;vertical-align:-1px;border:1px solid var(--rule)}
td.words{white-space:normal;text-align:left}th.words{text-align:left}td.words small{font-size:13px;max-width:60ch}td.words code{color:var(--ink)}
td.heat{text-align:center}
.zero{color:#a3adb3}
.example{break-inside:avoid}
"""


def page(facts: RunFacts) -> str:
    """Return the whole page."""
    sections = [summary(facts), sites_section(facts), losses_section(facts), traces_section(facts), time_section(facts),
                repeat_section(facts)]  # fmt: skip
    return document("".join(sections), title=f"Run report: {facts.profile['name']}", css=CSS)


def summary(facts: RunFacts) -> str:
    """Return the outcome, a few sentences and the figures that a hurried reader takes away."""
    counts = facts.counts
    files, windows, hours = counts.files, counts.windows, counts.hours
    came = hours.readable
    if facts.complaint:
        outcome = f'<p class="verdict error">The run failed: {escape(facts.complaint)}. No shards were kept; what follows is what it found.</p>'
    else:
        outcome = '<p class="verdict">The run completed, and its accounting adds up.</p>'
    lead = (
        f"{files.n_in:,} {_plural(files.n_in, 'file')} came in from {_sites(counts)}, <b>{files.accepted:,}</b> were used and <b>{files.quarantined:,}</b> left out. "
        f"Of {_hours(came)} h of recording that could be read, <b>{_share(hours.covered, came)}</b> lies in windows; "
        f"{windows.written:,} windows of {facts.profile['window_s']:g} s were written"
        + (f", {windows.rejected:,} rejected." if windows.rejected else " and none was rejected.")
    )
    unknown = hours.quarantined_files_of_unknown_length
    if unknown:
        lead += f" The length of {unknown} of the files left out could not be read."
    cards = {
        "hours read": _hours(came),
        "hours in windows": _hours(hours.covered),
        "windows": f"{windows.written:,}",
        "subjects": f"{counts.subjects:,}",
        "MB of shards": f"{counts.n_bytes / 1e6:,.1f}",
        "files left out": f"{files.quarantined:,}",
    }
    shown = "".join(f"<div><b>{value}</b><span>{name}</span></div>" for name, value in cards.items())
    return (
        f'<p class="sub">Profile {escape(facts.profile["name"])}, code {escape(facts.code_version)}. No name, path or date stands on this page.</p>'
        f'{outcome}<p class="lead">{lead}</p><div class="cards">{shown}</div>{_warnings(facts)}'
    )


def _warnings(facts: RunFacts) -> str:
    lines = []
    if n := facts.counts.files.copies:
        lines.append(f"{n} {_plural(n, 'file')} had the content of another one and were left out as copies.")
    if n := facts.counts.labels.refused:
        lines.append(f"{n:,} of {facts.counts.labels.n_in:,} labels were refused; the recordings were used without.")
    for site, entry in facts.counts.sites.items():
        if (share := _share_good(entry)) is not None and share < 0.5:
            lines.append(f"Of the windows of site {site} {share:.1%} are of good quality.")
        if not entry.files_accepted:
            lines.append(f"Nothing of site {site} was used.")
        elif entry.files_quarantined > entry.files_accepted:
            lines.append(f"Most files of site {site} were left out.")
    return "".join(f'<p class="use"><b>Look at this.</b> {escape(line)}</p>' for line in lines)


def sites_section(facts: RunFacts) -> str:
    """Return what came in and out by site, and what the signals look like."""
    sites = facts.counts.sites
    rows = [
        f"<tr><td>{escape(site)}</td><td>{s.files_accepted:,}{_small(_left_out(s))}</td><td>{s.subjects:,}</td><td>{_hours(s.hours.readable)}</td>"
        f"<td>{_hours(s.hours.covered)}</td><td>{s.windows:,}{_small(_rejected(s))}</td><td>{s.n_bytes / 1e6:,.1f}{_small(_shards(s))}</td>"
        f"<td>{_list(s.native_sfreqs)}</td><td>{_list(s.mains_hz)}</td><td>{_list(s.readers)}</td></tr>"
        for site, s in sites.items()
    ]
    system = system_of(MODALITIES[facts.profile["modality"]])
    head = [
        "Site",
        "Files used",
        "Subjects",
        "Hours in",
        "In windows",
        "Windows",
        "MB",
        "Native Hz",
        "Mains Hz",
        "Reader",
    ]
    return (
        f"<h2>Sites</h2>{table(head, rows)}"
        f"<div class=pair>{hours_plot(sites)}{presence_map(sites, facts.ch_names)}"
        f"{amplitude_plot(sites, system)}{quality_plot(sites)}</div>"
        f"{_decisions(sites)}{_artifacts(sites)}{_classes(sites)}{_details(sites)}"
    )


def _share_good(site: SiteCounts) -> float | None:
    """Return the share of a site's windows whose quality is good; None where no decision was stored."""
    n_windows = sum(site.sums.decisions.values())
    return site.sums.decisions.get(GOOD, 0) / n_windows if n_windows else None


def _decisions(sites: Sites) -> str:
    rows = []
    for site, entry in sites.items():
        decisions = entry.sums.decisions
        n_windows, share_good = sum(decisions.values()), _share_good(entry)
        if share_good is None:
            continue
        against = {reason: sum(n for d, n in decisions.items() if reason in d.split("+")) for reason in REASONS}
        rows.append(
            f"<tr><td>{escape(site)}</td><td>{n_windows:,}</td><td>{decisions.get(GOOD, 0):,}{_small(f'{share_good:.1%}')}</td>"
            + "".join(_heat(n / n_windows) for n in against.values())
            + "</tr>"
        )
    if not rows:
        return ""
    head = ["Site", "Windows", "Good", *(reason.replace("_", " ") for reason in REASONS)]
    meaning = " ".join(f"<b>{name.replace('_', ' ')}</b>: {escape(text)}" for name, text in REASONS.items())
    return (
        f"<h3>Quality of windows, and the shares with a reason against them</h3>{table(head, rows)}"
        f'<p class="note">{meaning} A window may have several reasons, and is kept all the same: training leaves it out on request.</p>'
    )


def _artifacts(sites: Sites) -> str:
    rows = []
    for site, entry in sites.items():
        seconds = entry.sums.channel_seconds
        if not seconds.get("all"):
            continue
        rows.append(
            f"<tr><td>{escape(site)}</td>"
            + "".join(_heat(seconds.get(kind, 0) / seconds["all"]) for kind in KINDS)
            + "</tr>"
        )
    if not rows:
        return ""
    return (
        f"<h3>Artifacts, share of the measured channels’ seconds</h3>{table(['Site', *KINDS], rows)}"
        '<p class="note">Flagged, not cut out: a window keeps its artifacts, and marks where they are.</p>'
    )


def _classes(sites: Sites) -> str:
    if not any(name for entry in sites.values() for name in entry.sums.classes):
        return ""
    rows = [
        f"<tr><td>{escape(site)}</td><td class=words>{_labels(entry.sums.classes)}</td></tr>"
        for site, entry in sites.items()
        if entry.sums.classes
    ]
    return f"<h3>Windows by label</h3>{at_left(table(['Site', 'Labels'], rows), 'Labels')}"


def _details(sites: Sites) -> str:
    names = sorted({name for entry in sites.values() for name in entry.details})
    if not names:
        return ""
    rows = [
        f"<tr><td>{escape(site)}</td>"
        + "".join(f"<td>{_list(entry.details.get(name, {}))}</td>" for name in names)
        + "</tr>"
        for site, entry in sites.items()
    ]
    head = ["Site", *(name.replace("_", " ") for name in names)]
    return (
        f"<h3>Details that were requested to be kept</h3>{table(head, rows)}"
        '<p class="note">Recordings by maker of the amplifier, hour of the day at which they start, age group, and sex; a recording whose file does not hold it is not counted.</p>'
    )


def _labels(classes: Mapping[str, int]) -> str:
    return " · ".join(
        f"{escape(name) or 'without'} <b>{n:,}</b>" for name, n in sorted(classes.items(), key=lambda item: -item[1])
    )


def at_left(shown: str, column: str) -> str:
    """Return a table with the heading of one column of words at the left."""
    return shown.replace(f"<th>{column}<", f"<th class=words>{column}<")


def losses_section(facts: RunFacts) -> str:
    """Return what was lost, where, and what to do about it."""
    sites, hours = facts.counts.sites, facts.counts.hours
    files = _coded({site: entry.files_by_reason for site, entry in sites.items()})
    windows = _coded({site: entry.windows_by_reason for site, entry in sites.items()})
    labels = _coded({site: entry.labels_refused for site, entry in sites.items()})
    notes = _coded({site: entry.notes for site, entry in sites.items()})
    replay = (
        '<p class="note">Which files these are, and what exactly was wrong, stands in the private list beside the shard set (<code>.private/quarantine.jsonl</code>), '
        "which stays in the house. When they are repaired: <code>python -m pipelines.preprocess --replay OUT --output MORE</code>, then <code>cerebeam shards merge OUT MORE --output ALL</code>.</p>"
    )
    parts = [
        "<h2>What was lost, and what to do about it</h2>",
        f"<h3>Files left out</h3>{_table_of_codes('Reason', 'Files', files, ADVICE)}{replay}"
        if files
        else "<p>No file was left out.</p>",
        f"<h3>Windows rejected</h3>{_table_of_codes('Reason', 'Windows', windows, ADVICE)}"
        if windows
        else "<p>No window was rejected.</p>",
    ]
    if labels:
        parts.append(f"<h3>Labels refused</h3>{_table_of_codes('Reason', 'Labels', labels, ADVICE)}")
    if hours.uncovered:
        parts.append(
            f"<h3>Time that no window covers: {_hours(hours.uncovered)} h</h3><p>Ends of recordings shorter than a window of {facts.profile['window_s']:g} s, "
            "stretches between two gaps that are shorter than one, and, where windows lie at labels, all that no label speaks of.</p>"
        )
    if notes:
        parts.append(f"<h3>Remarks on files that were used</h3>{_table_of_codes('Note', 'Files', notes, NOTES)}")
    return "".join(parts)


def _coded(by_site: Mapping[str, Mapping[str, int]]) -> list[tuple[str, str, int]]:
    rows = [(code, site, n) for site, counted in by_site.items() for code, n in counted.items()]
    return sorted(rows, key=lambda row: (row[0], -row[2], row[1]))


def _table_of_codes(what: str, unit: str, rows: list[tuple[str, str, int]], meaning: Mapping[str, str]) -> str:
    cells = [
        f"<tr><td class=words><code>{escape(code)}</code><small>{escape(meaning.get(code, ''))}</small></td><td>{escape(site)}</td><td>{n:,}</td></tr>"
        for code, site, n in rows
    ]
    return table([what, "Site", unit], cells)


def traces_section(facts: RunFacts) -> str:
    """Return examples before and after preparation."""
    if not facts.examples:
        return ""
    parts = [
        "<h2>Before and after</h2><p>The same ten seconds of one recording per site, chosen by a hash, not by beauty. Left as read, each channel’s median taken off; "
        "right as it lies in the shard: referenced, filtered, resampled, missing electrodes interpolated.</p>",
        legend(COLOURS),
    ]
    for example in facts.examples:
        row_uv = row_distance(example.after)
        drawn = "".join(traces(example, side, row_uv=row_uv) for side in ("before", "after"))
        label = f", label {escape(example.label)}" if example.label else ""
        low, high = example.band
        parts.append(
            f'<div class="example"><h3>{escape(example.site_id)}</h3><p class="note">Recording <code>{escape(example.recording_id)}</code> from second {example.start_s:g}{label}; '
            f"band {low:g} to {high:g} Hz{_mains(example.mains_hz, high)}.</p><div class=pair>{drawn}</div></div>"
        )
    return "".join(parts)


def _mains(mains_hz: float | None, h_freq: float) -> str:
    if mains_hz is None:
        return ""
    return f", mains {mains_hz:g} Hz " + ("taken out" if mains_hz <= h_freq else "beyond the band")


def time_section(facts: RunFacts) -> str:
    """Return the counters of the stages and the throughput."""
    known = facts.timings
    if known is None:
        return "<h2>Where the time went</h2><p>The job ended without its launcher, which is where counters come from; the runner’s own pages have them.</p>"
    stages = {name: entry for name, entry in known.stages.items() if "milliseconds" in entry}
    spent = sum(entry["milliseconds"] for entry in stages.values())
    rows = [
        f"<tr><td>{escape(name)}</td><td>{entry.get('elements', 0):,}</td><td>{entry.get('bytes', 0) / 1e6:,.1f}</td><td>{entry['milliseconds'] / 1000:,.1f}</td>"
        f"<td>{_share(entry['milliseconds'], spent)}</td></tr>"
        for name, entry in stages.items()
    ]
    hours, wall_s = facts.counts.hours.accepted, known.wall_s
    pace = (
        f"{_hours(hours)} h of EEG in {wall_s:,.1f} s by the wall clock, start of the runner included: <b>{hours / (wall_s / 60):,.1f} h per minute</b>, "
        f"{facts.counts.n_bytes / 1e6 / wall_s:,.1f} MB of shards per second, on {escape(known.runner)}."
    )
    counted = (
        table(["Stage", "Elements", "MB written", "Seconds, all workers", "Share"], rows)
        if rows
        else "<p>The runner gave no counters.</p>"
    )
    return f"<h2>Where the time went</h2><p>{pace}</p>{counted}"


def repeat_section(facts: RunFacts) -> str:
    """Return what decides the bytes of this shard set."""
    sizes = facts.shard_bytes
    values = {
        "code": facts.code_version,
        "config hash": facts.config_hash,
        "digest of the recordings used": facts.counts.sources_digest,
        "salt (which, not what)": facts.salt_id,
        **facts.versions,
        **facts.options,
    }
    if sizes:
        values["shards"] = f"{len(sizes)}, {sizes[0] / 1e6:.1f} to {sizes[-1] / 1e6:.1f} MB"
    return (
        "<h2>How to repeat</h2><p>The same files, profile and salt give the same shards, byte for byte, on any runner. The digest of the recordings is the same under another salt.</p>"
        f"{key_values(values)}<h3>Profile</h3>{key_values(flatten(facts.profile))}"
        '<p class="note">Every number of this page is in run.json beside it.</p>'
    )


def _hours(hours: float) -> str:
    return f"{hours:,.0f}" if hours >= 1000 else f"{hours:,.1f}" if hours >= 100 else f"{hours:.2f}"


def _share(part: float, whole: float) -> str:
    return f"{part / whole:.1%}" if whole else "–"


def _plural(n: int, noun: str) -> str:
    return noun if n == 1 else noun + "s"


def _sites(counts: Counts) -> str:
    n = len(counts.sites)
    return f"{n} {_plural(n, 'site')}"


def _small(words: str) -> str:
    return f"<small>{words}</small>" if words else ""


def _left_out(site: SiteCounts) -> str:
    return f"{site.files_quarantined:,} left out" if site.files_quarantined else ""


def _rejected(site: SiteCounts) -> str:
    return f"{site.windows_rejected:,} rejected" if site.windows_rejected else ""


def _shards(site: SiteCounts) -> str:
    return f"{site.shards:,} {_plural(site.shards, 'shard')}" if site.shards else ""


def _list(counted: Mapping[str, int]) -> str:
    """Return the values; how often each, where there are several."""
    if len(counted) == 1:
        return escape(next(iter(counted)))
    return (
        "<br>".join(f"{escape(value)} <small style='display:inline'>×{n:,}</small>" for value, n in counted.items())
        or "–"
    )


def _heat(share: float) -> str:
    if share == 0:
        return '<td class="heat zero">0</td>'
    # The square root lets a per cent be seen beside a half.
    return f'<td class="heat" style="background:rgba(179,38,30,{0.6 * share**0.5:.2f})">{"&lt;0.1" if share < 0.0005 else f"{100 * share:.1f}"}%</td>'
