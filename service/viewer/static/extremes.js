/** From samples to pixel columns: the smallest and largest value of each, so that no extreme is lost at any zoom. */

/**
 * Extremes of the samples of each pixel column, NaN where it has none.
 *
 * Column c has the samples i with start + c * perPixel <= i < start + (c + 1) * perPixel. Where a column has no sample
 * of its own because samples are wider than pixels, it has the straight line between its neighbours, at its middle.
 * @param {Float32Array} x samples; x[0] is sample `origin`, NaN is missing
 * @param {number} n how many of x are there
 */
export function columnExtremes(x, n, origin, start, perPixel, width, low, high) {
  for (let c = 0; c < width; c++) {
    let from = Math.ceil(start + c * perPixel) - origin;
    let to = Math.ceil(start + (c + 1) * perPixel) - origin;
    if (from < 0) from = 0;
    if (to > n) to = n;
    let least = Infinity, most = -Infinity;
    for (let i = from; i < to; i++) {
      const value = x[i];
      if (value < least) least = value;
      if (value > most) most = value;
    }
    if (least > most) {
      least = most = from < to ? NaN : between(x, n, start + (c + 0.5) * perPixel - origin);
    }
    low[c] = least;
    high[c] = most;
  }
}

function between(x, n, at) {
  const i = Math.floor(at);
  if (i < 0 || i + 1 >= n) return i >= 0 && i < n && at - i < 0.5 ? x[i] : NaN;
  return x[i] + (x[i + 1] - x[i]) * (at - i);
}

/**
 * Draw one trace into pixels (ABGR): a vertical run per column, joined to the one before, soft at its ends.
 *
 * @param {Uint32Array} pixels @param {number} width of the picture @param {number} height
 * @param {number} left first column @param {number} middle y of zero @param {number} gain pixels per µV, downwards
 * @param {number} colour ABGR without alpha @param {number} thick pixels
 */
export function paint(pixels, width, height, left, low, high, n, middle, gain, colour, thick) {
  let before = NaN, beforeEnd = NaN;
  const half = thick / 2;
  for (let c = 0; c < n; c++) {
    let top = middle + low[c] * gain, bottom = middle + high[c] * gain;
    if (top > bottom) [top, bottom] = [bottom, top];
    if (!(top <= bottom)) {
      before = NaN;
      continue;
    }
    let from = top, to = bottom;
    if (before > to) to = before;
    else if (beforeEnd < from) from = beforeEnd;
    before = top;
    beforeEnd = bottom;
    from -= half;
    to += half;
    if (to < 0 || from > height) continue;
    if (from < 0) from = 0;
    if (to > height) to = height;
    const first = Math.floor(from), last = Math.ceil(to) - 1;
    let at = first * width + left + c;
    if (first >= last) {
      mix(pixels, at, colour, to - from);
      continue;
    }
    mix(pixels, at, colour, first + 1 - from);
    for (let y = first + 1; y < last; y++) pixels[(at += width)] = colour | 0xff000000;
    mix(pixels, last * width + left + c, colour, to - last);
  }
}

function mix(pixels, at, colour, share) {
  const alpha = Math.round(255 * Math.min(1, share));
  if (alpha > pixels[at] >>> 24) pixels[at] = colour | (alpha << 24);
}

/** "#rrggbb" as 0x00bbggrr. */
export function abgr(css) {
  const value = parseInt(css.slice(1), 16);
  return ((value & 255) << 16) | (value & 0xff00) | (value >> 16);
}
