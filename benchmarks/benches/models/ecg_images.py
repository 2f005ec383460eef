"""make bench-ecg-images: paper and back, points of a beat on pictures and on the signal, traces, classes, the registry.

    python -m benchmarks ecg-images [--pages N] [--pictures N] [--steps N] [--masks N] [--classes N] [--drawing FILE]

Pages are drawn from generated hearts up to 150 Hz, at 300 dots per inch, 3 x 4 at 10 mm/mV and 12 x 1 at 5 and
10 mm/mV in turn, clean and as photographs; each is scored against what is drawn. The set predictor of points is
trained on pictures of 256 pixels, beside a delineator and a peak finder on the signal that the pictures are drawn
from; its 512-pixel form takes two steps. Traces are marked by a U-Net and by Mask2Former, trained alike, whose
512-pixel form takes two steps too. Classes are told apart from pictures by a network, and from the same signals
by a linear model of their features. 0 leaves a part out. Figures of accuracy, not of time.
"""

import argparse
from pathlib import Path
from tempfile import TemporaryDirectory
from warnings import catch_warnings, simplefilter

import numpy as np
import torch

from benchmarks.benches.models.pictures.masks import masks
from benchmarks.benches.models.pictures.points import images, pictures, points, train
from benchmarks.benches.parts.registry import export_error, losses, shapes, tiny
from benchmarks.harness import figure, machine
from evaluation.measures.snr import snr_db
from model.images.backbones import IMAGE_NETWORKS, build
from signals.paper.digitise import digitise
from signals.paper.ink import UnreadablePageError
from signals.paper.layout import PaperScale
from synthetic.heart.leads import generate
from synthetic.heart.person import CONDITIONS
from synthetic.paper.draw import Style, draw, printed
from synthetic.paper.wear import drawn_wear, worn
from training.objectives.pictures import PictureClasses

STYLES = {
    "3x4": Style(), "12x1_5mm": Style(layout="12x1", scale=PaperScale(25.0, 5.0)), "12x1_10mm": Style(layout="12x1"),
}  # fmt: skip
CLASSES = ("normal", "left bundle", "infarction", "t inversion")


def pages(n_pages: int, *, photographed: bool) -> dict[str, list[float]]:
    """Return the mean of leads' ratios of each page, dB, by style; nan for a page that is refused."""
    ratios: dict[str, list[float]] = {name: [] for name in STYLES}
    for number in range(n_pages):
        rng = np.random.default_rng(1000 + number)
        record = generate(rng, tuple(CONDITIONS)[number % len(CONDITIONS)])
        name = tuple(STYLES)[number % len(STYLES)]
        page = draw(printed(record.x_mv, record.sfreq), record.sfreq, STYLES[name])
        if photographed:
            page = worn(page, drawn_wear(rng), rng)
        try:
            found = digitise(page.image)
        except UnreadablePageError as error:
            print(f"page {number}, {name}: {error}", flush=True)
            ratios[name].append(float("nan"))
            continue
        leads = [snr_db(a, b, page.sfreq) for a, b in zip(page.shown, found.x_mv, strict=True)]
        ratios[name].append(float(np.mean(leads)))
        print(f"page {number}, {name}: {ratios[name][-1]:.1f} dB, worst lead {min(leads):.1f} dB", flush=True)
    return ratios


def digitised(n_pages: int) -> None:
    """Print the ratios of pages that are read, of all where a refused one counts 0 dB, and the share refused."""
    n_refused = 0
    for kind, photographed in (("", False), ("_photo", True)):
        by_style = pages(n_pages, photographed=photographed)
        every = np.concatenate(list(by_style.values()))
        n_refused += int(np.isnan(every).sum())
        figure(f"ecg_digitise_snr{kind}_db", _mean(every), "dB")
        figure(f"ecg_digitise_snr{kind}_all_db", float(np.nan_to_num(every).mean()), "dB")
        for name, ratios in by_style.items():
            figure(f"ecg_digitise_snr{kind}_{name}_db", _mean(np.array(ratios)), "dB")
    figure("ecg_digitise_failed_share", n_refused / (2 * n_pages), "share")


def _mean(ratios: np.ndarray) -> float:
    read = ratios[np.isfinite(ratios)]
    return float(read.mean()) if len(read) else float("nan")


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
            exports = bool(entry.no_export) or export_error(name, network, Path(folder) / "network.onnx") < 1e-3
            n_covered += last < 0.8 * first and exports
    figure("registry_entries", len(IMAGE_NETWORKS), "entries")
    figure("registry_entries_covered", n_covered, "entries")


def main() -> None:
    """Print all figures."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--pages", type=int, default=12, help="of each kind, clean and photographed")
    parser.add_argument("--pictures", type=int, default=600, help="of beats, to train the set predictor on")
    parser.add_argument("--steps", type=int, default=700, help="of that training")
    parser.add_argument("--masks", type=int, default=160, help="pictures to mark traces on, for half as many steps")
    parser.add_argument("--classes", type=int, default=320, help="pictures to train a classifier on")
    parser.add_argument("--drawing", type=Path, help="picture of a beat with true and predicted points, .png or .webp")
    args = parser.parse_args()
    print(machine(), flush=True)
    registry()
    if args.pages:
        digitised(args.pages)
    if args.pictures:
        points(args.pictures, args.steps, args.drawing)
    if args.masks:
        masks(args.masks, max(1, args.masks // 2))
    if args.classes:
        classes(args.classes)


if __name__ == "__main__":
    main()
