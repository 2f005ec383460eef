"""Points of a beat on pictures by the set predictor, and on the signal by a delineator and by a peak finder.

All three are measured on the same beats of new people. The delineator is a 1-D network that reads each lead of the
record around the beat; within the waves that it finds, points are extremes, as in the truth.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw

from benchmarks.benches.parts.peak_finder import LEAST_MV, beat_points, complex_places
from benchmarks.harness import figure
from model.delineation.network import Delineator
from model.delineation.waves import Found, delineate
from model.images.points import WAVES, PointNet, create_ecg_vit_detr_model
from signals.modality import ECG_12
from studies.delineating.examples import arrays, generated
from studies.delineating.fit import DelineatorRecipe, fit
from synthetic.heart.person import CONDITIONS
from synthetic.paper.beats import AFTER_S, BEFORE_S, BeatPicture, draw_beat, from_picture, on_picture
from training.objectives.pictures import PicturePoints
from training.parallel.distributed import Single
from training.trainer.train import Trainer

NEAR_S = 0.05
SMALL = {"image_px": 256, "width": 96, "depth": 3, "decoder_depth": 3}
N_HELD_OUT = 48
DELINEATED_PEOPLE, DELINEATED_STEPS = 48, 350
"""People whose leads the delineator learns from, and its steps."""
Point = tuple[str, str, float, float]
"""Lead, wave, seconds, mV."""


def pictures(
    n: int, seed: int, names: tuple[str, ...], *, image_px: int = 256, layout: str = "3x4"
) -> list[BeatPicture]:
    """Return pictures of beats, conditions in turn."""
    rng = np.random.default_rng(seed)
    return [draw_beat(rng, names[number % len(names)], image_px=image_px, layout=layout) for number in range(n)]


def images(some: list[BeatPicture]) -> torch.Tensor:
    """Return pictures as a batch."""
    return torch.from_numpy(np.stack([one.image for one in some])).permute(0, 3, 1, 2).float() / 255


def point_batch(some: list[BeatPicture]) -> dict[str, torch.Tensor]:
    """Return pictures with their points, rows filled up."""
    most = max(len(one.points) for one in some)
    wave = torch.full((len(some), most), -1)
    box, key = torch.zeros(len(some), most, 4), torch.zeros(len(some), most, 2)
    for row, one in enumerate(some):
        for place, point in enumerate(one.points):
            wave[row, place] = WAVES.index(point.wave)
            at_s, mv = np.array([point.at_s, *point.span_s]), np.array([point.mv, 0.0, 0.0])
            x, y = on_picture(point.lead, at_s, mv, one.layout)
            key[row, place] = torch.tensor([x[0], y[0]])
            box[row, place] = torch.tensor([(x[1] + x[2]) / 2, (y[0] + y[1]) / 2, x[2] - x[1], abs(y[0] - y[1])])
    return {"image_BCHW": images(some), "wave_BM": wave, "box_BM4": box, "key_BM2": key}


def train(objective: torch.nn.Module, batch: dict[str, torch.Tensor], *, n_steps: int, size: int, lr: float) -> float:
    """Take steps on pictures in turn; returns the mean loss of the last tenth."""
    optimizer = torch.optim.AdamW(objective.parameters(), lr=lr)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, lr, total_steps=n_steps + 1)
    processes = Single(rank=0, world_size=1, device=torch.device("cpu"))
    trainer = Trainer(module=objective, optimizer=optimizer, scheduler=schedule, processes=processes, seed=0)
    rng, n, losses = np.random.default_rng(0), len(batch["image_BCHW"]), []
    for _ in range(n_steps):
        rows = torch.from_numpy(rng.choice(n, min(size, n), replace=False))
        values = trainer.take_step([{name: value[rows] for name, value in batch.items()}])
        losses.append(float("nan") if values is None else values["loss"])
    return float(np.mean(losses[-max(1, n_steps // 10) :]))


@dataclass(frozen=True)
class Errors:
    """Of points that are found within NEAR_S, and how many of all are."""

    ms: float
    mv: float
    found: float
    """Share of true points."""
    right: float
    """Share of what is given that is a true point."""


def errors(true: list[BeatPicture], guess: list[list[Point]]) -> Errors:
    """Return the errors of points per picture; of several guesses for one point the nearest counts."""
    ms, mv, n_true, n_guess = [], [], 0, 0
    for one, given in zip(true, guess, strict=True):
        n_true, n_guess = n_true + len(one.points), n_guess + len(given)
        for point in one.points:
            own = [g for g in given if g[:2] == (point.lead, point.wave) and abs(g[2] - point.at_s) <= NEAR_S]
            if own:
                best = min(own, key=lambda g: abs(g[2] - point.at_s))
                ms.append(1000 * abs(best[2] - point.at_s))
                mv.append(abs(best[3] - point.mv))
    median = [float(np.median(values)) if values else float("nan") for values in (ms, mv)]
    return Errors(median[0], median[1], len(ms) / n_true, len(ms) / n_guess if n_guess else float("nan"))


def network_points(network: PointNet, some: list[BeatPicture]) -> list[list[Point]]:
    """Return the points that the network gives of each picture: waves that are more likely than none."""
    with torch.no_grad():
        wave_BQK, _, key_BQ2, _ = network.eval()(images(some))
    layout = network.config.layout
    found: list[list[Point]] = []
    for waves, keys in zip(wave_BQK.argmax(-1).tolist(), key_BQ2.tolist(), strict=True):
        rows = []
        for wave, (x, y) in zip(waves, keys, strict=True):
            if wave < len(WAVES):
                lead, at_s, mv = from_picture(x, y, layout)
                rows.append((lead, WAVES[wave], at_s, mv))
        found.append(rows)
    return found


def trained_delineator(n_people: int, n_steps: int) -> Delineator:
    """Return the 1-D delineator, trained on generated leads of people of its own."""
    return fit(*arrays(list(generated(n_people, seed=4))), DelineatorRecipe(steps=n_steps))


def delineated_points(model: Delineator, one: BeatPicture) -> list[Point]:
    """Return the points of a picture's beat in the waves that the delineator finds in the record around it."""
    found: list[Point] = []
    waves_of_leads = delineate(model, one.record_mv, one.sfreq)
    for lead, values, waves in zip(ECG_12.ch_names, one.record_mv, waves_of_leads, strict=True):
        qrs = _nearest([wave for wave in waves if wave.kind == "QRS"], one.start_s + BEFORE_S)
        if qrs is None:
            continue
        on, off = round(qrs.onset_s * one.sfreq), round(qrs.offset_s * one.sfreq)
        x = values - values[on]
        places = complex_places(x, on, off)
        before = [w for w in waves if w.kind == "P" and one.start_s <= w.onset_s and w.offset_s <= qrs.onset_s + 0.01]
        after = [w for w in waves if w.kind == "T" and qrs.offset_s - 0.01 <= w.onset_s]
        for name, kept in (("P", before[-1:]), ("T", after[:1])):
            for wave in kept:
                first, last = round(wave.onset_s * one.sfreq), round(wave.offset_s * one.sfreq)
                places[name] = first + int(np.argmax(np.abs(x[first : last + 1])))
        for name, at in places.items():
            at_s = at / one.sfreq - one.start_s
            if abs(x[at]) >= LEAST_MV[name] and not (name in ("Q", "S") and x[at] > 0) and at_s < BEFORE_S + AFTER_S:
                found.append((lead, name, at_s, float(x[at])))
    return found


def _nearest(waves: Iterable[Found], onset_s: float) -> Found | None:
    near = [wave for wave in waves if abs(wave.onset_s - onset_s) < 0.15]
    return min(near, key=lambda wave: abs(wave.onset_s - onset_s), default=None)


def drawing(one: BeatPicture, given: list[Point], *, times: int = 4) -> Image.Image:
    """Return a picture, enlarged, with green rings at its true points and red crosses at those that are given."""
    side = one.image.shape[0] * times
    picture = Image.fromarray(one.image).resize((side, side), Image.Resampling.BICUBIC)
    pencil = ImageDraw.Draw(picture)
    for point in one.points:
        x, y = (float(share) * side for share in on_picture(point.lead, point.at_s, point.mv, one.layout))
        pencil.ellipse((x - 8, y - 8, x + 8, y + 8), outline=(20, 140, 60), width=2)
    for lead, _, at_s, mv in given:
        x, y = (float(share) * side for share in on_picture(lead, at_s, mv, one.layout))
        for slope in (-1, 1):
            pencil.line((x - 6, y - 6 * slope, x + 6, y + 6 * slope), fill=(210, 30, 40), width=2)
    return picture


def points(n_pictures: int, n_steps: int, path: Path | None = None) -> None:
    """Print the errors of points from pictures, from a delineator and a peak finder; draw one picture's to a file."""
    torch.manual_seed(0)
    names = tuple(CONDITIONS)
    held_out = pictures(N_HELD_OUT, 2, names)
    network = create_ecg_vit_detr_model(pretrained=False, **SMALL)
    loss = train(PicturePoints(network), point_batch(pictures(n_pictures, 1, names)), n_steps=n_steps, size=8, lr=1e-3)
    print(f"{n_steps} steps on {n_pictures} pictures: loss {loss:.3f} a point", flush=True)
    delineator = trained_delineator(min(DELINEATED_PEOPLE, n_pictures), min(DELINEATED_STEPS, n_steps))
    ways = {
        "ecg_points": network_points(network, held_out),
        "ecg_points_delineator": [delineated_points(delineator, one) for one in held_out],
        "ecg_points_peaks": [beat_points(one.x_mv, one.sfreq, qrs_s=BEFORE_S) for one in held_out],
    }
    for name, given in ways.items():
        error = errors(held_out, given)
        figure(f"{name}_ms", error.ms, "ms")
        figure(f"{name}_mv", error.mv, "mV")
        figure(f"{name}_found", error.found, "share")
        figure(f"{name}_right", error.right, "share")
    if path is not None:
        drawing(held_out[0], ways["ecg_points"][0]).save(path)
    large = PicturePoints(create_ecg_vit_detr_model(pretrained=False))
    batch = point_batch(pictures(1, 3, names, image_px=512))
    figure("ecg_points_512_loss", train(large, batch, n_steps=2, size=1, lr=1e-4), "loss")
