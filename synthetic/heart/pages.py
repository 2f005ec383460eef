"""Coarse pages of twelve leads: what an image adds to the very signal that it was drawn from is nothing.

Far below what a reader of waves needs: for models of several sources, not for digitisation.
"""

import numpy as np

HEIGHT, WIDTH = 64, 96
ROWS, COLUMNS = 4, 3
RANGE = 8.0
"""Largest value that is drawn, in units of the signal."""


def coarse_pages(x: np.ndarray, *, pixels: tuple[int, int] = (HEIGHT, WIDTH), limit: float = RANGE) -> np.ndarray:
    """Return light pages with dark traces of leads (n, 12, n_times), 4 rows of 3: float32, shape (n, 3, *pixels).

    `pixels` are height and width, `limit` is the largest value that is drawn. Raises ValueError for other than twelve
    leads, and for pixels that the boxes do not share evenly.
    """
    height, width = pixels
    n, n_chans, n_times = x.shape
    if n_chans != ROWS * COLUMNS:
        raise ValueError(f"{n_chans} leads do not fill {ROWS} rows of {COLUMNS}")
    if height % ROWS or width % COLUMNS:
        raise ValueError(f"pixels={pixels} are not shared evenly by {ROWS} rows of {COLUMNS}")
    tall, wide = height // ROWS, width // COLUMNS
    page = np.ones((n, height, width), dtype=np.float32)
    edges = np.linspace(0, n_times, wide + 1).astype(int)
    place = np.arange(tall)[None, None, :]
    for column in range(wide):
        part = x[..., edges[column] : max(edges[column + 1], edges[column] + 1)]
        low, high = (
            np.clip((0.5 - value / (2 * limit)) * (tall - 1), 0, tall - 1)[..., None]
            for value in (part.max(axis=-1), part.min(axis=-1))
        )
        ink = np.clip(np.minimum(place - low, high - place) + 1.0, 0.0, 1.0)  # (n, 12, tall)
        for lead in range(n_chans):
            row, of = divmod(lead, COLUMNS)
            page[:, row * tall : (row + 1) * tall, of * wide + column] = 1.0 - ink[:, lead]
    return np.repeat(page[:, None], 3, axis=1)
