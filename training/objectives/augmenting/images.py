"""Changes of a page's image that a camera or a scanner makes: light, a small turn, blur, grain.

Nothing is mirrored: a mirrored electrocardiogram runs backwards.
"""

import numpy as np
from scipy import ndimage

MOST_DEGREES, MOST_BLUR, MOST_SHADE, MOST_GRAIN = 3.0, 1.0, 0.3, 0.05


def photographed(image: np.ndarray, rng: np.random.Generator, *, strength: float) -> np.ndarray:
    """Return an image (n_colours, height, width), values of 0 to 1, as a camera may see it; float32, same shape.

    strength: 0 changes nothing, 1 turns by up to 3 degrees. Raises ValueError for a strength outside of 0 to 1.
    """
    if not 0 <= strength <= 1:
        raise ValueError(f"strength={strength} must lie between 0 and 1")
    if strength == 0:
        return np.asarray(image, dtype=np.float32)
    degrees = strength * rng.uniform(-MOST_DEGREES, MOST_DEGREES)
    turned = ndimage.rotate(image, degrees, axes=(1, 2), reshape=False, order=1, mode="nearest")
    blurred = ndimage.gaussian_filter(turned, (0, *2 * (strength * rng.uniform(0, MOST_BLUR),)))
    across = np.linspace(-1, 1, image.shape[2]) * rng.uniform(-1, 1)
    shade = 1 - strength * MOST_SHADE * (rng.uniform(0, 1) + across) / 2
    grain = rng.normal(0.0, strength * MOST_GRAIN, image.shape)
    return np.clip(blurred * shade + grain, 0.0, 1.0).astype(np.float32)
