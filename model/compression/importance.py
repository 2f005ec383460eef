"""How much each head, channel and block of a task model matters.

What the loss would change by, to first order, if a unit fell silent: |activation x gradient| summed over a window
(Molchanov et al. 2017, 2019); or, without data, the product of the norms of the weights that lead in and out.

Shapes: B batch, U unit; see `model.encoder` for the others.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Literal

import torch
from torch import Tensor, nn

from model.classifier import Classifier
from model.saved import TaskModel
from signals.tasks import is_multilabel

Importance = Literal["taylor", "magnitude"]
"""Ways to measure what matters."""
Scores = Mapping[str, Tensor]
"""Importance by part: "blocks" (depth,), "temporal_heads" (depth, H), "mlp_dim" (depth, U), "key_dim" (depth, H, U),
"stem_dim" (U,), "wide" (stem_dim // 2,) inside of the stem, "head_dim" (U,)."""
Example = tuple[Tensor, Tensor, Tensor | None, Tensor]
"""Normalised windows: x_BCT, ch_state_BC, spectrogram_BRFS where the model reads it, target_BK."""


def taylor_scores(classifier: Classifier, examples: Iterable[Example]) -> Scores:
    """Return the importance of every unit on these windows; raises ValueError without windows.

    Gradients of one window do not mix with another's: signs cancel within a window, never between windows.
    """
    taps = _Taps(classifier)
    classifier.eval()
    with taps:
        for x_BCT, ch_state_BC, spectrogram_BRFS, target_BK in examples:
            taps.collect(loss_with_gradients(classifier, x_BCT, ch_state_BC, spectrogram_BRFS, target_BK))
    if not taps.sums:
        raise ValueError("importance needs at least one window")
    return _gathered(classifier, taps.sums)


def loss_with_gradients(
    model: TaskModel, x_BCT: Tensor, ch_state_BC: Tensor, spectrogram_BRFS: Tensor | None, target_BK: Tensor
) -> Tensor:
    """Return the loss summed over windows, with gradients to every activation even where all weights are frozen."""
    with torch.enable_grad():
        logits_BK, _ = model(x_BCT.clone().requires_grad_(), ch_state_BC, spectrogram_BRFS)
        if is_multilabel(model.config.task):
            return nn.functional.binary_cross_entropy_with_logits(logits_BK.float(), target_BK, reduction="sum")
        return -(target_BK * logits_BK.float().log_softmax(-1)).sum()


class _Taps:
    """Listens to activations and their gradients while it is entered."""

    def __init__(self, classifier: Classifier) -> None:
        self.classifier = classifier
        self.sums: dict[str, Tensor] = {}
        self._seen: dict[str, tuple[Tensor, Tensor, tuple[int, ...], int]] = {}

    def __enter__(self) -> None:
        encoder, head = self.classifier.encoder, self.classifier.head
        self._handles = [
            encoder.stem.convs[2].register_forward_pre_hook(self._into("wide", axis=1)),
            encoder.stem.register_forward_hook(self._patches_out_of("stem_dim")),
            head.classes.register_forward_pre_hook(self._into("head_dim")),
        ]
        for number, block in enumerate(encoder.blocks):
            heads = (block.temporal.n_heads, -1)
            self._handles += [
                block.temporal.out.register_forward_pre_hook(self._into(f"temporal_heads.{number}", heads)),
                block.mlp[2].register_forward_pre_hook(self._into(f"mlp_dim.{number}")),
                block.register_forward_hook(self._added_by(f"blocks.{number}")),
            ]
            if hasattr(block, "spatial"):
                keys = self._out_of(f"key_dim.{number}")
                self._handles.append(block.spatial.query_key.register_forward_hook(keys))

    def __exit__(self, *_: object) -> None:
        for handle in self._handles:
            handle.remove()

    def _keep(self, name: str, tensor: Tensor, value: Tensor, layout: tuple[int, ...], axis: int = -1) -> None:
        tensor.retain_grad()
        self._seen[name] = (tensor, value.detach(), layout, axis)

    def _into(self, name: str, layout: tuple[int, ...] = (-1, 1), axis: int = -1) -> Callable[..., None]:
        return lambda _, args: self._keep(name, args[0], args[0], layout, axis)

    def _out_of(self, name: str) -> Callable[..., None]:
        return lambda _, args, out: self._keep(name, out, out, (-1, 1))

    def _patches_out_of(self, name: str) -> Callable[..., None]:
        return lambda _, args, out: self._keep(name, out[0], out[0], (-1, 1))

    def _added_by(self, name: str) -> Callable[..., None]:
        return lambda _, args, out: self._keep(name, out, out - args[0], (1, -1))

    def collect(self, loss: Tensor) -> None:
        """Add the importance from a batch of windows."""
        loss.backward(inputs=[tensor for tensor, *_ in self._seen.values()])
        n_windows = len(self._seen["head_dim"][0])
        for name, (tensor, value, layout, axis) in self._seen.items():
            assert tensor.grad is not None
            change = (value * tensor.grad).movedim(axis, -1).unflatten(-1, layout).sum(-1)
            size_U = change.reshape(n_windows, -1, change.shape[-1]).sum(1).abs().sum(0)
            self.sums[name] = self.sums[name] + size_U if name in self.sums else size_U
        self._seen.clear()


def _gathered(classifier: Classifier, sums: Mapping[str, Tensor]) -> Scores:
    """Return sums of single blocks as one tensor a part."""
    depth, key_dim = classifier.encoder.config.depth, classifier.encoder.config.widths["key_dim"]
    scores = {name: sums[name] for name in ("wide", "stem_dim", "head_dim")}
    for part in ("temporal_heads", "mlp_dim", "blocks"):
        scores[part] = torch.stack([sums[f"{part}.{number}"] for number in range(depth)])
    scores["blocks"] = scores["blocks"][:, 0]
    if "key_dim.0" in sums:  # queries and keys meet in pairs: those of the queries speak for both
        keys = torch.stack([sums[f"key_dim.{number}"] for number in range(depth)])
        scores["key_dim"] = keys.reshape(depth, 2, -1, key_dim)[:, 0]
    return scores


def magnitude_scores(classifier: Classifier) -> Scores:
    """Return the importance of every unit by the norms of the weights that lead into and out of it."""
    sums: dict[str, Tensor] = {}
    state = {name: value.detach() for name, value in classifier.state_dict().items()}
    stem, head = "encoder.stem", "head"
    merge = state[f"{stem}.merge.weight"].unflatten(1, (classifier.encoder.config.merge, -1)).norm(dim=(0, 1))
    second, third = state[f"{stem}.convs.1.weight"], state[f"{stem}.convs.2.weight"]
    sums["wide"] = second.norm(dim=(1, 2)) * third.norm(dim=(0, 2))
    sums["stem_dim"] = third.norm(dim=(1, 2)) * merge
    sums["head_dim"] = state[f"{head}.hidden.1.weight"].norm(dim=1) * state[f"{head}.classes.weight"].norm(dim=0)
    for number, block in enumerate(classifier.encoder.blocks):
        at, n_heads = f"encoder.blocks.{number}", block.temporal.n_heads
        values = state[f"{at}.temporal.qkv.weight"].unflatten(0, (3, n_heads, -1))[2].norm(dim=(1, 2))
        out = state[f"{at}.temporal.out.weight"]
        sums[f"temporal_heads.{number}"] = values * out.unflatten(1, (n_heads, -1)).norm(dim=(0, 2))
        last = state[f"{at}.mlp.2.weight"]
        sums[f"mlp_dim.{number}"] = state[f"{at}.mlp.0.weight"].norm(dim=1) * last.norm(dim=0)
        added = [out, last]
        if hasattr(block, "spatial"):
            queries, keys = state[f"{at}.spatial.query_key.weight"].unflatten(0, (2, -1)).norm(dim=2)
            sums[f"key_dim.{number}"] = (queries * keys).repeat(2)
            added.append(state[f"{at}.spatial.out.weight"])
        sums[f"blocks.{number}"] = torch.stack([weight.norm() for weight in added]).norm()[None]
    return _gathered(classifier, sums)
