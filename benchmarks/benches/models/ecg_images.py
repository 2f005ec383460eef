"""make bench-ecg-images: paper and back, points of a beat on pictures and on the signal, classes, the registry.

    python -m benchmarks ecg-images [--pages N] [--pictures N] [--steps N] [--classes N]

Pages are drawn from generated hearts up to 150 Hz, at 300 dots per inch, 3 x 4 at 10 mm/mV and 12 x 1 at 5 mm/mV in
turn, clean and as photographs; each is scored against what is drawn. The set predictor of points is trained on
pictures of 256 pixels, beside a peak finder on the signal that the pictures are drawn from; its 512-pixel form takes
two steps. Classes are told apart from pictures by a network, and from the same signals by a linear model of their
features. 0 leaves a part out. Figures of accuracy, not of time.
"""

import argparse
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from warnings import catch_warnings, simplefilter

import numpy as np
import torch

from benchmarks.benches.parts.peak_finder import beat_points
from benchmarks.benches.parts.registry import export_error, losses, shapes, tiny
from benchmarks.harness import figure, machine
from evaluation.measures.snr import snr_db
from model.images.backbones import IMAGE_NETWORKS, build
from model.images.points import WAVES, PointNet, create_ecg_vit_detr_model
from signals.modality import ECG_12
from signals.paper.digitise import digitise
from signals.paper.ink import UnreadablePageError
from signals.paper.layout import PaperScale
from synthetic.heart.leads import generate
from synthetic.heart.person import CONDITIONS
from synthetic.paper.beats import AFTER_S, BEFORE_S, PANELS, SHOWN_MV, BeatPicture, draw_beat, on_picture, panel
from synthetic.paper.draw import Style, draw, printed
from synthetic.paper.wear import drawn_wear, worn
from training.objectives.pictures import PictureClasses, PicturePoints
from training.parallel.distributed import Single
from training.trainer.train import Trainer

STYLES = (Style(), Style(layout="12x1", scale=PaperScale(25.0, 5.0)))
CLASSES = ("normal", "left bundle", "infarction", "t inversion")
NEAR_S = 0.05
SMALL = {"image_px": 256, "width": 96, "depth": 3, "decoder_depth": 3}


def pages(n_pages: int, *, photographed: bool) -> tuple[float, float]:
    """Return the mean of leads' ratios over pages that are read, dB, and the share that is refused."""
    ratios, n_refused = [], 0
    for number in range(n_pages):
        rng = np.random.default_rng(1000 + number)
        record = generate(rng, tuple(CONDITIONS)[number % len(CONDITIONS)])
        page = draw(printed(record.x_mv, record.sfreq), record.sfreq, STYLES[number % len(STYLES)])
        if photographed:
            page = worn(page, drawn_wear(rng), rng)
        try:
            found = digitise(page.image)
        except UnreadablePageError as error:
            print(f"page {number}: {error}", flush=True)
            n_refused += 1
            continue
        leads = [snr_db(a, b, page.sfreq) for a, b in zip(page.shown, found.x_mv, strict=True)]
        ratios.append(float(np.mean(leads)))
        print(f"page {number}: {found.layout}, {ratios[-1]:.1f} dB", flush=True)
    return float(np.mean(ratios)) if ratios else float("nan"), n_refused / n_pages


def pictures(n: int, seed: int, names: tuple[str, ...], *, image_px: int = 256) -> list[BeatPicture]:
    """Return pictures of beats, conditions in turn."""
    rng = np.random.default_rng(seed)
    return [draw_beat(rng, names[number % len(names)], image_px=image_px) for number in range(n)]


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
            x, y = on_picture(point.lead, np.array([point.at_s, *point.span_s]), np.array([point.mv, 0.0, 0.0]))
            key[row, place] = torch.tensor([x[0], y[0]])
            box[row, place] = torch.tensor([(x[1] + x[2]) / 2, (y[0] + y[1]) / 2, x[2] - x[1], abs(y[0] - y[1])])
    return {"image_BCHW": images(some), "wave_BM": wave, "box_BM4": box, "key_BM2": key}


def train(objective: torch.nn.Module, batch: dict[str, torch.Tensor], *, n_steps: int, size: int, lr: float) -> float:
    """Take steps on pictures in turn; returns the last loss."""
    optimizer = torch.optim.AdamW(objective.parameters(), lr=lr)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, lr, total_steps=n_steps + 1)
    processes = Single(rank=0, world_size=1, device=torch.device("cpu"))
    trainer = Trainer(module=objective, optimizer=optimizer, scheduler=schedule, processes=processes, seed=0)
    rng, n, loss = np.random.default_rng(0), len(batch["image_BCHW"]), float("nan")
    for _ in range(n_steps):
        rows = torch.from_numpy(rng.choice(n, min(size, n), replace=False))
        values = trainer.take_step([{name: value[rows] for name, value in batch.items()}])
        loss = float("nan") if values is None else values["loss"]
    return loss


@dataclass(frozen=True)
class Errors:
    """Of points that are found within NEAR_S, and how many of all are."""

    ms: float
    mv: float
    found: float
    """Share of true points."""
    right: float
    """Share of what is given that is a true point."""


def errors(true: list[BeatPicture], guess: list[list[tuple[str, str, float, float]]]) -> Errors:
    """Return the errors of (lead, wave, seconds, mV) a picture; of several guesses for one point the nearest counts."""
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


def network_points(network: PointNet, some: list[BeatPicture]) -> list[list[tuple[str, str, float, float]]]:
    """Return the points that the network gives of each picture: waves that are more likely than none."""
    with torch.no_grad():
        wave_BQK, _, key_BQ2, _ = network.eval()(images(some))
    leads = {panel(lead): lead for lead in ECG_12.ch_names}
    found: list[list[tuple[str, str, float, float]]] = []
    for waves, keys in zip(wave_BQK.argmax(-1).tolist(), key_BQ2.tolist(), strict=True):
        rows = []
        for wave, (x, y) in zip(waves, keys, strict=True):
            if wave < len(WAVES):
                column, row = min(int(x * PANELS[1]), 3), min(int(y * PANELS[0]), 2)
                at_s = (x * PANELS[1] - column) * (BEFORE_S + AFTER_S)
                rows.append((leads[row, column], WAVES[wave], at_s, (0.55 - (y * PANELS[0] - row)) * SHOWN_MV))
        found.append(rows)
    return found


def points(n_pictures: int, n_steps: int) -> None:
    """Print the errors of points from pictures and from the signal."""
    torch.manual_seed(0)
    names = tuple(CONDITIONS)
    held_out = pictures(48, 2, names)
    network = create_ecg_vit_detr_model(pretrained=False, **SMALL)
    loss = train(PicturePoints(network), point_batch(pictures(n_pictures, 1, names)), n_steps=n_steps, size=8, lr=1e-3)
    print(f"{n_steps} steps on {n_pictures} pictures: loss {loss:.3f} a point", flush=True)
    by_picture = errors(held_out, network_points(network, held_out))
    by_signal = errors(held_out, [beat_points(one.x_mv, one.sfreq, qrs_s=BEFORE_S) for one in held_out])
    for name, error in (("ecg_points", by_picture), ("ecg_points_signal", by_signal)):
        figure(f"{name}_ms", error.ms, "ms")
        figure(f"{name}_mv", error.mv, "mV")
        figure(f"{name}_found", error.found, "share")
        figure(f"{name}_right", error.right, "share")
    large = PicturePoints(create_ecg_vit_detr_model(pretrained=False))
    batch = point_batch(pictures(1, 3, names, image_px=512))
    figure("ecg_points_512_loss", train(large, batch, n_steps=2, size=1, lr=1e-4), "loss")


def classes(n_train: int) -> None:
    """Print the macro AUROC of pictures by a network and of the same signals by a linear model of their features."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import roc_auc_score
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    torch.manual_seed(0)
    sides = [pictures(n, seed, CLASSES, image_px=128) for n, seed in ((n_train, 5), (80, 6))]
    labels = [np.arange(len(side)) % len(CLASSES) for side in sides]
    network = build("resnet", n_classes=len(CLASSES), widths=(16, 24, 32, 48), depths=(1, 1, 1, 1))
    batch = {"image_BCHW": images(sides[0]), "class_B": torch.from_numpy(labels[0])}
    train(PictureClasses(network), batch, n_steps=max(4, 2 * n_train // 5), size=16, lr=3e-3)
    with torch.no_grad():
        shown = network.eval()(images(sides[1])).softmax(-1).numpy()
    figure("ecg_image_auroc", float(roc_auc_score(labels[1], shown, multi_class="ovr")), "AUROC")
    rows = [np.stack([one.x_mv[:, ::15].ravel() for one in side]) for side in sides]
    linear = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=500)).fit(rows[0], labels[0])
    figure(
        "ecg_signal_auroc", float(roc_auc_score(labels[1], linear.predict_proba(rows[1]), multi_class="ovr")), "AUROC"
    )


def registry() -> None:
    """Print how many entries there are, and how many keep shapes, overfit and export, or give a reason why not."""
    n_covered = 0
    with TemporaryDirectory() as folder, catch_warnings():
        simplefilter("ignore")  # the exporter's own
        for name, entry in IMAGE_NETWORKS.items():
            if reason := entry.unavailable():
                print(f"{name}: {reason}", flush=True)
                n_covered += 1
                continue
            network = tiny(name)
            first, last = (shapes(name, network), losses(name, network))[1]
            n_covered += last < 0.8 * first and export_error(name, network, Path(folder) / "network.onnx") < 1e-3
    figure("registry_entries", len(IMAGE_NETWORKS), "entries")
    figure("registry_entries_covered", n_covered, "entries")


def main() -> None:
    """Print all figures."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--pages", type=int, default=8, help="of each kind, clean and photographed")
    parser.add_argument("--pictures", type=int, default=480, help="of beats, to train the set predictor on")
    parser.add_argument("--steps", type=int, default=600, help="of that training")
    parser.add_argument("--classes", type=int, default=320, help="pictures to train a classifier on")
    args = parser.parse_args()
    print(machine(), flush=True)
    registry()
    if args.pages:
        clean, clean_refused = pages(args.pages, photographed=False)
        photo, photo_refused = pages(args.pages, photographed=True)
        figure("ecg_digitise_snr_db", clean, "dB")
        figure("ecg_digitise_snr_photo_db", photo, "dB")
        figure("ecg_digitise_failed_share", (clean_refused + photo_refused) / 2, "share")
    if args.pictures:
        points(args.pictures, args.steps)
    if args.classes:
        classes(args.classes)


if __name__ == "__main__":
    main()
