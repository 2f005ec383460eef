"""One window of a shard set: as text for a terminal, and drawn."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pipelines.report.figures import legend
from pipelines.report.page import CSS, at_left
from pipelines.report.traces import COLOURS, Row, courses, extremes, row_distance
from pipelines.shard_sets.problem import Problem
from signals.description.artifacts import kinds_of
from signals.modality import MODALITIES, microvolts
from signals.pages.page import document, key_values, table
from signals.shards.manifest import read_manifest
from signals.shards.records import decode_window
from signals.shards.tfrecord import read_shard
from signals.window import INTERPOLATED, MEASURED, Window

WIDTH = 960
_STATES = {MEASURED: "measured", INTERPOLATED: "interpolated"}


def find_window(shards_dir: Path, key: str | None) -> Window:
    """Return the window of a key, or the set's first; raises Problem where it is not in the set."""
    for shard in read_manifest(shards_dir).shards:
        for record in read_shard(shards_dir / shard.path):
            window = decode_window(record)
            if key in (None, window.key):
                return window
    raise Problem(f"no window {key} in {shards_dir}")


def about(window: Window) -> dict[str, str]:
    """Return what is known of a window, name by name."""
    span = window.label_span_s
    known = {
        "window": window.key,
        "site": window.site_id,
        "subject": window.subject_id,
        "recording": window.recording_id,
        "onset": f"{window.start_s:g} s, {window.data.shape[1] / window.sfreq:g} s long",
        "signal": f"{window.modality}, {window.sfreq:g} Hz, {window.band[0]:g} to {window.band[1]:g} Hz",
        "label": window.label + (f" (seconds {span[0]:g} to {span[1]:g})" if span else "") if window.label else "none",
        "quality": window.quality_verdict.replace("+", ", ") or "not stored",
        "source": f"segment {window.provenance.segment}, samples {window.provenance.start_sample} to "
        f"{window.provenance.stop_sample}, read by {window.provenance.reader}",
        "code": f"{window.provenance.code_version}, config {window.provenance.config_hash}",
    }
    if window.device:
        known["device"] = window.device
    if window.start_hour is not None:
        known["recording starts"] = f"in hour {window.start_hour} of the day"
    if window.age_group:
        known["age group"] = window.age_group
    person = {"age": window.age, "sex": window.sex, "height, cm": window.height_cm, "weight, kg": window.weight_kg}
    known |= {name: str(value) for name, value in person.items() if value not in ("", None)}
    return known | ({"votes": " ".join(f"{vote:g}" for vote in window.votes)} if window.votes else {})


def as_text(window: Window) -> str:
    """Return what is known of a window, then a line per channel: state, size, quality and flagged seconds."""
    known = about(window)
    width = max(map(len, known))
    lines = [f"{name:<{width}}  {value}" for name, value in known.items()]
    lines += ["", f"{'channel':<8}{'state':<13}{'SD, µV':>8}{'quality':>9}  flagged seconds"]
    lines += [
        f"{name:<8}{state:<13}{size:>8}{score:>9}  {flags}".rstrip()
        for name, state, size, score, flags in (channel.cells for channel in channels(window))
    ]
    return "\n".join(lines)


@dataclass(frozen=True, kw_only=True)
class Channel:
    """A channel of a window in a row."""

    name: str
    state: str
    sd_uv: float
    quality: float
    flags: str
    """Kinds of artifacts, each with its seconds."""

    @property
    def cells(self) -> tuple[str, str, str, str, str]:
        """The row as text."""
        return self.name, self.state, f"{self.sd_uv:.1f}", f"{self.quality:.2f}", self.flags


def channels(window: Window) -> list[Channel]:
    """Return what is known of each channel of a window."""
    data_uv = microvolts(window.data, window.sensor_types)
    return [
        Channel(
            name=name,
            state=_STATES.get(int(window.ch_state[i]), "absent"),
            sd_uv=float(data_uv[i].std()),
            quality=float(window.quality[i]),
            flags=_flags(window.artifact_mask[i]),
        )
        for i, name in enumerate(MODALITIES[window.modality].ch_names)
    ]


def as_svg(window: Window) -> str:
    """Return the whole window as a drawing that stands alone."""
    style = '<svg xmlns="http://www.w3.org/2000/svg" style="font:12.5px sans-serif;background:#fff" width="1280" '
    return _drawing(window).replace("<svg ", style, 1) + "\n"


def as_page(window: Window) -> str:
    """Return the window drawn, and what is known of it, as one page."""
    rows = [
        f"<tr>{''.join(f'<td>{cell}</td>' for cell in one.cells[:4])}<td class=words>{one.flags}</td></tr>"
        for one in channels(window)
    ]
    drawing = f"<div class=scroll><figure style='max-width:none;min-width:640px'>{_drawing(window)}</figure></div>"
    states = at_left(table(["Channel", "State", "SD, µV", "Quality", "Flagged seconds"], rows), "Flagged seconds")
    return document(
        f"{legend(COLOURS)}{drawing}{states}{key_values(about(window))}", title=f"Window {window.key}", css=CSS
    )


def _drawing(window: Window) -> str:
    names = MODALITIES[window.modality].ch_names
    rows = [
        Row(name=name, values=extremes(x, WIDTH) if state else None)
        for name, x, state in zip(names, microvolts(window.data, window.sensor_types), window.ch_state, strict=True)
    ]
    title = f"Window {window.key}"
    flags = window.artifact_mask.tolist()
    return courses(rows, window.ch_state.tolist(), flags, row_uv=row_distance(rows), title=title, width=WIDTH)


def _flags(mask: np.ndarray) -> str:
    """Return the kinds of a channel's flags, each with its seconds: "blink 2-3, 7"."""
    parts = []
    for kind in sorted({kind for bits in mask for kind in kinds_of(int(bits))}):
        seconds = [second for second, bits in enumerate(mask) if kind in kinds_of(int(bits))]
        parts.append(f"{kind} {_ranges(seconds)}")
    return "; ".join(parts)


def _ranges(seconds: list[int]) -> str:
    groups: list[list[int]] = []
    for second in seconds:
        if groups and second == groups[-1][-1] + 1:
            groups[-1].append(second)
        else:
            groups.append([second])
    return ", ".join(f"{group[0]}" if len(group) == 1 else f"{group[0]}-{group[-1]}" for group in groups)
