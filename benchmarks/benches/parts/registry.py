"""What every entry of the registry of image networks must do: keep its shapes, overfit a batch, export to ONNX."""

from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from model.images.backbones import IMAGE_NETWORKS, build
from model.images.export import export_network
from model.images.mask2former import Mask2Former
from model.images.matching import TruePoints, count, total
from model.images.points import WAVES, Points
from model.images.unet import UNet

N_CLASSES, SIDE_PX, N_TIMES = 3, 64, 400


def tiny(name: str) -> nn.Module:
    """Return an entry's tiny form, seeded."""
    torch.manual_seed(0)
    entry = IMAGE_NETWORKS[name]
    classes = {"n_classes": N_CLASSES} if entry.kind == "classes" else {}
    return build(name, **classes, **entry.tiny)


def batch(name: str) -> Tensor:
    """Return two inputs that differ; of masks, pictures with a dark disk each on light noise."""
    generator = torch.Generator().manual_seed(1)
    if IMAGE_NETWORKS[name].kind == "signal":
        return 0.3 * torch.randn(2, 2, N_TIMES, generator=generator)
    noise = torch.rand(2, 3, SIDE_PX, SIDE_PX, generator=generator)
    return 0.3 * noise + 0.6 * (1 - disks()) if IMAGE_NETWORKS[name].kind in ("mask", "instances") else noise


def disks() -> Tensor:
    """Return the masks of two pictures, shape (2, 1, SIDE_PX, SIDE_PX): a disk each, of other places and sizes."""
    y, x = torch.meshgrid(torch.arange(SIDE_PX), torch.arange(SIDE_PX), indexing="ij")
    inside = [(x - 20) ** 2 + (y - 30) ** 2 < 200, (x - 40) ** 2 + (y - 20) ** 2 < 300]
    return torch.stack(inside)[:, None].float()


def instances() -> list[dict[str, Tensor]]:
    """Return the disks as torchvision's detectors want them: a box, a label and a mask of each picture."""
    found = []
    for mask in disks()[:, 0]:
        rows, columns = (mask.amax(axis).nonzero()[:, 0] for axis in (1, 0))
        box = torch.stack([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1]).float()
        found.append({"boxes": box[None], "labels": torch.ones(1, dtype=torch.int64), "masks": mask[None].byte()})
    return found


def shapes(name: str, network: nn.Module) -> list[tuple[int, ...]]:
    """Return the shapes of what comes out for a batch of two; of instances, of one of the first picture's."""
    with torch.no_grad():
        out = network.eval()(batch(name))
    if IMAGE_NETWORKS[name].kind == "instances":
        return [tuple(out[0][part].shape[1:]) for part in ("boxes", "labels", "scores", "masks")]
    return [tuple(part.shape) for part in (out if isinstance(out, tuple) else (out,))]


def losses(name: str, network: nn.Module, *, n_steps: int = 25) -> tuple[float, float]:
    """Return the loss of one batch before and after steps on it alone."""
    x, network = batch(name), network.train()
    optimizer = torch.optim.Adam(network.parameters(), lr=3e-3)
    first = last = float("nan")
    for step in range(n_steps + 1):
        loss = _loss(IMAGE_NETWORKS[name].kind, network, x)
        first, last = (float(loss), float(loss)) if step == 0 else (first, float(loss))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return first, last


def _loss(kind: str, network: nn.Module, x: Tensor) -> Tensor:
    if kind == "mask":
        assert isinstance(network, UNet | Mask2Former)
        return network.loss_sum(x, disks()) / len(x)
    if kind == "instances":
        return torch.stack(list(network(x, instances()).values())).sum()
    out = network(x)
    if kind == "points":
        true = [true_points(6, seed) for seed in range(len(x))]
        return total(Points(*out), true) / count(true)
    if kind == "classes":
        return nn.functional.cross_entropy(out, torch.tensor([0, 2]))
    wanted = torch.linspace(-1, 1, out.shape[1]) * torch.tensor([[1.0], [-1.0]])
    return (out - wanted).square().mean()


def true_points(n: int, seed: int) -> TruePoints:
    """Return so many points of a picture."""
    rng = np.random.default_rng(seed)
    key = torch.from_numpy(rng.uniform(0.1, 0.9, (n, 2))).float()
    return TruePoints(torch.arange(n) % len(WAVES), torch.cat([key, torch.full((n, 2), 0.05)], 1), key)


def iou(network: nn.Module) -> float:
    """Return how far what a network of masks marks is the disks of `batch`: intersection over union, of pixels."""
    with torch.no_grad():
        given, true = network.eval()(batch("unet")) > 0, disks() > 0
    return float((given & true).sum() / (given | true).sum())


def export_error(name: str, network: nn.Module, path: Path) -> float:
    """Return the largest difference of the exported graph's answers to torch's, on inputs that it was not traced with.

    Raises what the exporter raises where it fails.
    """
    import onnxruntime

    export_network(network, batch(name), path)
    x = batch(name).flip(-1)
    with torch.no_grad():
        out = network(x)
    parts = out if isinstance(out, tuple) else (out,)
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    answers = session.run(None, {"x": x.numpy()})
    return max(float(np.abs(a - b.numpy()).max()) for a, b in zip(answers, parts, strict=True))
