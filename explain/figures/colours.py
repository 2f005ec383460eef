"""Colours of values, and images of them inside of SVG: PNG by hand, no library to draw needed."""

import base64
import struct
import zlib

import numpy as np

_STOPS: dict[str, tuple[tuple[int, int, int], ...]] = {
    # matplotlib's viridis at eighths (Smith and van der Walt 2015).
    "viridis": ((68, 1, 84), (71, 44, 122), (59, 81, 139), (44, 113, 142), (33, 144, 141), (39, 173, 129), (92, 200, 99),
                (170, 220, 50), (253, 231, 37)),
    # From blue, against the class, through white to red, for it.
    "signed": ((23, 78, 166), (108, 152, 214), (200, 217, 240), (255, 255, 255), (246, 205, 199), (219, 117, 105),
               (168, 30, 30)),
    # Class activation maps, from blue to red.
    "activation": ((44, 62, 148), (60, 130, 200), (120, 190, 180), (235, 220, 120), (230, 130, 60), (178, 24, 30)),
}  # fmt: skip
MAPS = tuple(_STOPS)


def coloured(share: np.ndarray, name: str) -> np.ndarray:
    """Return colours of shares from 0 to 1, uint8, shape (..., 3); what is not finite is grey."""
    stops = np.array(_STOPS[name], dtype=np.float64)
    place = np.clip(np.nan_to_num(share, nan=0.0), 0, 1) * (len(stops) - 1)
    low = np.minimum(place.astype(int), len(stops) - 2)
    mixed = stops[low] + (stops[low + 1] - stops[low]) * (place - low)[..., None]
    return np.where(np.isfinite(share)[..., None], mixed, 224).round().astype(np.uint8)


def signed_share(values: np.ndarray, limit: float) -> np.ndarray:
    """Return values from -limit to limit as shares, 0.5 at 0; a limit of 0 gives 0.5 everywhere."""
    return np.asarray(0.5 + 0.5 * values / limit if limit > 0 else np.full(values.shape, 0.5))


def png(pixels: np.ndarray) -> bytes:
    """Return an image (height, width, 3), uint8, as a PNG file (RFC 2083)."""
    height, width, _ = pixels.shape
    rows = np.concatenate([np.zeros((height, 1), np.uint8), pixels.reshape(height, -1)], axis=1)
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    parts = ((b"IHDR", header), (b"IDAT", zlib.compress(rows.tobytes(), 9)), (b"IEND", b""))
    body = b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in parts
    )
    return b"\x89PNG\r\n\x1a\n" + body


def image(pixels: np.ndarray, x: float, y: float, width: float, height: float, *, opacity: float = 1.0) -> str:
    """Return an SVG image of pixels (height, width, 3), first row on top, stretched without smoothing."""
    data = base64.b64encode(png(pixels)).decode("ascii")
    return (
        f'<image x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}" preserveAspectRatio="none" '
        f'opacity="{opacity:g}" style="image-rendering:pixelated" href="data:image/png;base64,{data}"/>'
    )


def scale(x: float, y: float, width: float, name: str, low: str, high: str, *, middle: str = "") -> str:
    """Return a colour scale with its ends written below."""
    from signals.pages.svg import text

    pixels = coloured(np.linspace(0, 1, 64)[None], name)
    words = text(x, y + 22, low, cls="soft") + text(x + width, y + 22, high, anchor="end", cls="soft")
    words += text(x + width / 2, y + 22, middle, anchor="middle", cls="soft") if middle else ""
    return image(pixels, x, y, width, 8) + words
