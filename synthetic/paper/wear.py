"""What happens to a page between the printer and the file: creases, shadow, a crooked photograph, blur, noise, JPEG."""

import io
from dataclasses import dataclass, replace

import numpy as np
from PIL import Image
from scipy import ndimage

from synthetic.paper.draw import Page

DESK = (92, 84, 78)
"""What lies around a page that is photographed."""


@dataclass(frozen=True, kw_only=True)
class Wear:
    """How much of each; 0 for none."""

    creases: int = 0
    shadow: float = 0.0
    """Share of light that its darkest place loses."""
    rotation_deg: float = 0.0
    """Anticlockwise."""
    perspective: float = 0.0
    """How much smaller the far side is than the near one, as a share."""
    blur_px: float = 0.0
    """Standard deviation of the blur."""
    noise: float = 0.0
    """Standard deviation of each pixel's noise, as a share of white."""
    jpeg_quality: int = 0
    """1-95."""
    grey: bool = False
    """Whether a scanner without colours saw it."""


SCAN = Wear(rotation_deg=0.6, blur_px=0.5, noise=0.015, jpeg_quality=85)


def drawn_wear(rng: np.random.Generator) -> Wear:
    """Return the wear of one photographed page."""
    return Wear(
        creases=int(rng.integers(1, 4)), shadow=float(rng.uniform(0.2, 0.5)),
        rotation_deg=float(rng.uniform(-6.0, 6.0)), perspective=float(rng.uniform(0.0, 0.05)),
        blur_px=float(rng.uniform(0.6, 1.4)), noise=float(rng.uniform(0.01, 0.04)),
        jpeg_quality=int(rng.integers(55, 90)),
    )  # fmt: skip


def worn(page: Page, wear: Wear, rng: np.random.Generator) -> Page:
    """Return the page as a scanner or a telephone sees it, with the pixels of its samples moved along."""
    image = page.image.astype(np.float32)
    image = image * _creases(image.shape[:2], wear.creases, rng)[..., None]
    traces = page.traces
    if wear.rotation_deg or wear.perspective:
        matrix = _view(image.shape[1], image.shape[0], wear, rng)
        image = _seen(image, matrix)
        traces = tuple(replace(trace, xy_px=moved(trace.xy_px, matrix)) for trace in traces)
    image = image * _light(image.shape[:2], wear.shadow, rng)[..., None]
    if wear.grey:
        image = np.repeat(image @ np.array([[0.299], [0.587], [0.114]], dtype=np.float32), 3, axis=-1)
    if wear.blur_px:
        image = ndimage.gaussian_filter(image, (wear.blur_px, wear.blur_px, 0))
    if wear.noise:
        image = image + rng.normal(0.0, 255 * wear.noise, image.shape).astype(np.float32)
    pixels = np.clip(np.round(image), 0, 255).astype(np.uint8)
    if wear.jpeg_quality:
        stored = io.BytesIO()
        Image.fromarray(pixels).save(stored, "JPEG", quality=wear.jpeg_quality)
        pixels = np.asarray(Image.open(stored))
    return replace(page, image=pixels, traces=traces)


def _creases(shape: tuple[int, int], n: int, rng: np.random.Generator) -> np.ndarray:
    """Return the light of folds that go straight across the page: a dark line, a bright one beside it."""
    height, width = shape
    y, x = np.mgrid[:height, :width].astype(np.float32)
    light = np.ones(shape, dtype=np.float32)
    for _ in range(n):
        angle = rng.choice([0.0, np.pi / 2]) + rng.normal(0.0, 0.05)
        at = rng.uniform(0.2, 0.8) * (width * abs(np.cos(angle)) + height * abs(np.sin(angle)))
        away = x * np.float32(np.cos(angle)) + y * np.float32(np.sin(angle)) - np.float32(at)
        dark, bright = rng.uniform(0.12, 0.3), rng.uniform(0.03, 0.08)
        light *= 1 - dark * np.exp(-((away / 3) ** 2)) + bright * np.exp(-(((away - 9) / 6) ** 2))
    return light


def _light(shape: tuple[int, int], shadow: float, rng: np.random.Generator) -> np.ndarray:
    """Return the light on a page with a soft shadow over one side and a fall of light to another."""
    height, width = shape
    y, x = np.mgrid[:height, :width].astype(np.float32)
    if not shadow:
        return np.ones(shape, dtype=np.float32)
    angle, slope = rng.uniform(0, 2 * np.pi, 2)
    along = ((x / width - 0.5) * np.cos(angle) + (y / height - 0.5) * np.sin(angle)).astype(np.float32)
    edge = rng.uniform(-0.2, 0.2)
    fall = ((x / width - 0.5) * np.cos(slope) + (y / height - 0.5) * np.sin(slope)).astype(np.float32)
    soft = 1 / (1 + np.exp(-(along - edge) / np.float32(0.06)))
    return np.asarray((1 - shadow * soft) * (1 - 0.3 * shadow * (fall + 0.5)), dtype=np.float32)


def _view(width: int, height: int, wear: Wear, rng: np.random.Generator) -> np.ndarray:
    """Return the matrix, shape (3, 3), that moves pixels of the page to those of the photograph, all of it in view."""
    angle = np.deg2rad(wear.rotation_deg)
    centre = np.array([[1, 0, -(width - 1) / 2], [0, 1, -(height - 1) / 2], [0, 0, 1]])
    turn = np.array([[np.cos(angle), np.sin(angle), 0], [-np.sin(angle), np.cos(angle), 0], [0, 0, 1]])
    tilt = rng.uniform(0, 2 * np.pi)
    far = np.eye(3)
    far[2, :2] = wear.perspective * np.cos(tilt) / width, wear.perspective * np.sin(tilt) / height
    seen = far @ turn @ centre
    corners = moved(np.array([(0, 0), (width - 1, 0), (0, height - 1), (width - 1, height - 1)], float), seen)
    low, high = corners.min(axis=0), corners.max(axis=0)
    scale = 0.98 * min((width - 1) / (high[0] - low[0]), (height - 1) / (high[1] - low[1]))
    middle = (low + high) / 2
    fit = np.array([
        [scale, 0, (width - 1) / 2 - scale * middle[0]], [0, scale, (height - 1) / 2 - scale * middle[1]], [0, 0, 1]
    ])  # fmt: skip
    return np.asarray(fit @ seen)


def moved(xy: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """Return points, shape (n, 2), after a projective matrix."""
    w = np.concatenate([xy, np.ones((len(xy), 1))], axis=1) @ matrix.T
    return np.asarray(w[:, :2] / w[:, 2:])


def _seen(image: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """Return the image after a projective matrix, the desk around it."""
    # Pillow counts from pixels' corners, here from their centres.
    half = np.array([[1, 0, 0.5], [0, 1, 0.5], [0, 0, 1]])
    back = half @ np.linalg.inv(matrix) @ np.linalg.inv(half)
    back /= back[2, 2]
    height, width = image.shape[:2]
    picture = Image.fromarray(np.clip(image, 0, 255).astype(np.uint8))
    seen = picture.transform(
        (width, height),
        Image.Transform.PERSPECTIVE,
        back.ravel()[:8].tolist(),
        Image.Resampling.BICUBIC,
        fillcolor=DESK,
    )
    return np.asarray(seen, dtype=np.float32)
