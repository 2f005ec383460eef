"""Figures of an explanation: traces with evidence behind them, triptychs over time and frequency, maps of the scalp.

Red speaks for the class, blue against it, everywhere but in class activation maps, which have no sign.
"""

from collections.abc import Sequence
from html import escape

import numpy as np

from explain.explanation import STEP_S, Explanation
from explain.figures.colours import coloured, image, scale, signed_share
from signals.pages.svg import INK, line, svg, text
from signals.spectrograms import stft_power

WITHOUT_SIGN = ("Grad-CAM", "Grad-CAM++", "attention rollout")
"""Methods whose maps show strength alone, and are drawn in colours of their own."""
WIDTH = 720.0
_LEFT, _TOP, _ROW = 52.0, 34.0, 25.0
_MOST_HZ = 45.0


def traces(
    x: np.ndarray, explanation: Explanation, *, ch_names: Sequence[str], sfreq: float, start_s: float = 0.0
) -> str:
    """Return traces of a window (n_chans, n_times), µV, below each other, evidence behind each in its step."""
    values = explanation.channels_steps
    limit, bottom = float(np.abs(values).max()), _TOP + _ROW * len(x)
    width, length_s = WIDTH - _LEFT - 6, x.shape[1] / sfreq
    body = [image(coloured(signed_share(values, limit), "signed"), _LEFT, _TOP, width, bottom - _TOP)]
    size = max(float(np.quantile(np.abs(x), 0.98)), 1e-9)
    for row, name in enumerate(ch_names):
        y = _TOP + _ROW * (row + 0.5)
        body.append(text(_LEFT - 6, y + 4, name, anchor="end"))
        body.append(_course(x[row], y, width, 0.42 * _ROW / size))
    for second in np.arange(0, length_s + 1e-6, _tick_s(length_s)):
        at = _LEFT + width * second / length_s
        body.append(line(at, _TOP, at, bottom, width=0.5))
        body.append(text(at, bottom + 14, f"{start_s + second:g}", anchor="middle", cls="soft"))
    words = "evidence by channel" if explanation.has_channels else "evidence over time; channels are not told apart"
    body.append(text(_LEFT, 15, f"{explanation.method}: {words}"))
    body.append(text(_LEFT + width, 15, f"a row is {size / 0.42:.3g} µV high", anchor="end", cls="soft"))
    body.append(text(_LEFT + width, bottom + 30, "s since the recording's start", anchor="end", cls="soft"))
    body.append(scale(_LEFT, bottom + 26, 300, "signed", f"against, −{limit:.2g}", f"for the class, +{limit:.2g}"))
    body.append(text(_LEFT, bottom + 62, f"logit, for each channel and {STEP_S:g} s", cls="soft"))
    return svg(bottom + 70, "".join(body), f"traces with evidence, {explanation.method}", width=WIDTH)


def _course(x: np.ndarray, y: float, width: float, scale_y: float) -> str:
    """Return one trace: lowest and highest sample of each bin, so that spikes stay."""
    n = min(int(width), len(x) // 2)
    edges = np.arange(n + 1) * len(x) // n
    low, high = np.minimum.reduceat(x, edges[:-1]), np.maximum.reduceat(x, edges[:-1])
    pairs = np.clip(np.stack([low, high], axis=1).ravel() * scale_y, -0.9 * _ROW, 0.9 * _ROW)
    at = _LEFT + width * (np.arange(2 * n) + 0.5) / (2 * n)
    points = " ".join(f"{a:.1f},{y - b:.1f}" for a, b in zip(at, pairs, strict=True))
    return f'<polyline points="{points}" fill="none" stroke="{INK}" stroke-width="0.5"/>'


def _tick_s(length_s: float) -> float:
    return next((step for step in (1.0, 2.0, 5.0, 10.0) if length_s / step <= 10), 30.0)


def spectrogram(x: np.ndarray, sfreq: float) -> tuple[np.ndarray, np.ndarray]:
    """Return Hz up to 45 and log10 power of a trace (n_times,), each frequency less its own median: without 1/f.

    Shape (n_freqs,), (n_freqs, n_frames). Frames of 1 s each 1/8 s.
    """
    freqs, _, power = stft_power(x, sfreq, window_s=min(1.0, len(x) / sfreq), step_s=0.125)
    kept = (freqs >= 0.5) & (freqs <= _MOST_HZ)
    log = np.log10(power[kept] + 1e-12)
    return freqs[kept], log - np.median(log, axis=1, keepdims=True)


def triptych(
    x: np.ndarray, explanation: Explanation, *, sfreq: float, title: str, palette: str = "signed"
) -> str:  # fmt: skip
    """Return input, evidence and both over each other, frequency upwards, time to the right; x is a trace (n_times,).

    The evidence is that of all channels. Evidence without bands is the same at all frequencies. palette: "signed", or "activation" for maps without a sign.
    """
    freqs, log = spectrogram(x, sfreq)
    values = by_frequency(explanation, freqs)
    limit = float(np.abs(values).max())
    share = signed_share(values, limit) if palette == "signed" else values / limit if limit > 0 else values
    power = np.clip((log + 0.5) / 2.0, 0, 1)
    columns = np.minimum((np.arange(log.shape[1]) + 0.5) * values.shape[1] / log.shape[1], values.shape[1] - 1).astype(
        int
    )
    upper, over = coloured(power, "viridis")[::-1], coloured(share, palette)[::-1]
    strength = (np.abs(share - 0.5) * 2 if palette == "signed" else share)[::-1][:, columns, None]
    blend = (upper * (1 - 0.8 * strength) + over[:, columns] * 0.8 * strength).round().astype(np.uint8)
    panel, height, length_s = (WIDTH - _LEFT - 40) / 3, 150.0, x.shape[0] / sfreq
    body = [text(_LEFT, 15, title)]
    names = ("input", "evidence", "both")
    for k, (name, pixels) in enumerate(zip(names, (upper, over, blend), strict=True)):
        left = _LEFT + k * (panel + 14)
        body.append(image(pixels, left, _TOP + 8, panel, height))
        body.append(
            text(left + panel / 2, _TOP + height + 24, f"{name}, 0 to {length_s:g} s", anchor="middle", cls="soft")
        )
    for hz in (10, 20, 30, 40):
        y = _TOP + 8 + height * (1 - (hz - freqs[0]) / (freqs[-1] - freqs[0]))
        body.append(text(_LEFT - 6, y + 4, f"{hz} Hz", anchor="end", cls="soft") + line(_LEFT - 3, y, _LEFT, y))
    low, high = ("against", "for the class") if palette == "signed" else ("none", "strongest")
    body.append(scale(_LEFT, _TOP + height + 36, 190, "viridis", "quiet", "loud for its frequency"))
    body.append(scale(_LEFT + panel + 14, _TOP + height + 36, 190, palette, low, high))
    return svg(_TOP + height + 64, "".join(body), f"{title}: input, evidence, both", width=WIDTH)


def by_frequency(explanation: Explanation, freqs: np.ndarray) -> np.ndarray:
    """Return evidence at each frequency and step, shape (n_freqs, n_steps), as evidence per Hz within its band."""
    per_band = explanation.values.sum(axis=0).T
    if not explanation.bands:
        return np.repeat(per_band, len(freqs), axis=0)
    out = np.zeros((len(freqs), per_band.shape[1]))
    for (low, high), row in zip(explanation.bands, per_band, strict=True):
        out[(freqs >= low) & (freqs < high)] = row / (min(high, _MOST_HZ) - low if low < _MOST_HZ else 1.0)
    return out


def scalp(
    values: np.ndarray, positions: np.ndarray, *, ch_names: Sequence[str], title: str, limit: float, unit: str
) -> str:
    """Return a map of the scalp from above, nose up, with its scale from -limit to limit.

    values (n_chans,), positions on the unit sphere (n_chans, 3).
    """
    size, middle = 200.0, 100.0
    places = flat(positions)
    grid = np.linspace(-1, 1, 64)
    at_x, at_y = np.meshgrid(grid, grid[::-1])
    apart = (at_x[..., None] - places[:, 0]) ** 2 + (at_y[..., None] - places[:, 1]) ** 2
    weights = 1 / (apart + 0.01) ** 2
    smooth = (weights @ values) / weights.sum(axis=-1)
    pixels = coloured(signed_share(smooth, limit), "signed")
    pixels[at_x**2 + at_y**2 > 1] = 255
    body = [image(pixels, 10, 24, size - 20, size - 20)]
    body.append(f'<circle cx="{middle}" cy="114" r="90" fill="none" stroke="{INK}" stroke-width="1"/>')
    body.append(f'<path d="M92 25L100 14L108 25" fill="none" stroke="{INK}"/>')
    for (px, py), name, value in zip(places, ch_names, values, strict=True):
        cx, cy = middle + 90 * px, 114 - 90 * py
        hover = f"<title>{escape(name)}: {value:.3g}</title>"
        body.append(f'<circle cx="{cx:.1f}" cy="{cy:.1f}" r="2" fill="{INK}">{hover}</circle>')
    body.append(text(middle, 218, title, anchor="middle", cls="soft"))
    body.append(scale(10, 226, size - 20, "signed", f"−{limit:.2g}", f"+{limit:.2g}", middle=unit))
    return svg(256, "".join(body), f"scalp map, {title}", width=size)


def flat(positions: np.ndarray) -> np.ndarray:
    """Return places seen from above, the vertex in the middle, the ears' height at radius 0.9, shape (n_chans, 2)."""
    polar = np.arccos(np.clip(positions[:, 2], -1, 1)) / (np.pi / 2) * 0.85
    turn = np.arctan2(positions[:, 1], positions[:, 0])
    return np.stack([polar * np.cos(turn), polar * np.sin(turn)], axis=1)


def segments(explanation: Explanation, n: int = 3) -> list[tuple[float, float]]:
    """Return thirds of the window, from and to, seconds from its start."""
    length_s = explanation.values.shape[1] * STEP_S
    return [(length_s * k / n, length_s * (k + 1) / n) for k in range(n)]


def scalps(
    explanation: Explanation, positions: np.ndarray, *, ch_names: Sequence[str]
) -> list[str]:  # fmt: skip
    """Return a scalp map of the whole window, and one of each third, on one scale of evidence per second."""
    length_s = explanation.values.shape[1] * STEP_S
    spans = [(0.0, length_s), *segments(explanation)]
    rows = []
    for start_s, stop_s in spans:
        first, last = round(start_s / STEP_S), max(round(stop_s / STEP_S), round(start_s / STEP_S) + 1)
        rows.append(explanation.channels_steps[:, first:last].sum(axis=1) / max(stop_s - start_s, 1e-9))
    limit = max(float(np.abs(row).max()) for row in rows)
    return [
        scalp(row, positions, ch_names=ch_names, title=f"{a:.3g} to {b:.3g} s", limit=limit, unit="logit per s")
        for row, (a, b) in zip(rows, spans, strict=True)
    ]
