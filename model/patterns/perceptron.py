"""A small network on pattern features as plain arrays, and how it is fitted to votes.

Inputs are held within the range of the training rows and standardised, as the logistic regression's are. Fitting draws
inputs anew with noise and leaves some out, since hospitals differ in single features more than in all of them.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
import torch
from scipy.special import softmax
from torch import nn

WIDTHS = (64, 32)
EPOCHS, BATCH, RATE, DECAY = 60, 64, 2e-3, 0.05
NOISE, DROPPED = 0.3, 0.3
"""Spread of what is added to a standardised input, and the chance of leaving out an input or a hidden unit."""


@dataclass(frozen=True, kw_only=True)
class Perceptron:
    """Layers of weights with a rectifier between them."""

    names: tuple[str, ...]
    """Inputs, in order."""
    classes: tuple[str, ...]
    """Outputs, in order."""
    low: np.ndarray = field(repr=False)
    """float32, shape (n_inputs,): smaller values count as this."""
    high: np.ndarray = field(repr=False)
    mean: np.ndarray = field(repr=False)
    """float32, shape (n_inputs,), taken off before the first layer."""
    scale: np.ndarray = field(repr=False)
    """float32, shape (n_inputs,): what is left is divided by it."""
    weights: tuple[np.ndarray, ...] = field(repr=False)
    """float32, shape (n_in, n_out) of each layer."""
    offsets: tuple[np.ndarray, ...] = field(repr=False)
    """float32, shape (n_out,) of each layer."""

    def logits(self, x: np.ndarray) -> np.ndarray:
        """Return logits, float32, shape (n, n_classes); x (n, n_inputs).

        Raises ValueError for another number of inputs.
        """
        if x.ndim != 2 or x.shape[1] != len(self.names):
            raise ValueError(f"x has shape {x.shape}; it must be (n, {len(self.names)})")
        y = (np.clip(x.astype(np.float32), self.low, self.high) - self.mean) / self.scale
        for weight, offset in zip(self.weights[:-1], self.offsets[:-1], strict=True):
            y = np.maximum(y @ weight + offset, 0)
        return np.asarray(y @ self.weights[-1] + self.offsets[-1])

    def predict(self, x: np.ndarray) -> np.ndarray:
        """Return class probabilities, float64, shape (n, n_classes); as `logits`."""
        return np.asarray(softmax(self.logits(x).astype(np.float64), axis=1))


def fit_perceptron(
    x: np.ndarray, votes: np.ndarray, *, names: Sequence[str], classes: Sequence[str], seed: int
) -> Perceptron:
    """Return a network fitted to rows x (n, n_inputs) and votes (n, n_classes), which need not add up to 1."""
    x = np.asarray(x, dtype=np.float32)
    low, high = (np.quantile(x, q, axis=0).astype(np.float32) for q in (0.01, 0.99))
    held = np.clip(x, low, high)
    mean, scale = held.mean(axis=0), np.maximum(held.std(axis=0), 1e-6)
    target = (votes / votes.sum(axis=1, keepdims=True)).astype(np.float32)
    layers = _fitted((held - mean) / scale, target, seed)
    return Perceptron(
        names=tuple(names), classes=tuple(classes), low=low, high=high, mean=mean, scale=scale,
        weights=tuple(layer.weight.detach().numpy().T.copy() for layer in layers),
        offsets=tuple(layer.bias.detach().numpy().copy() for layer in layers),
    )  # fmt: skip


def _fitted(x: np.ndarray, target: np.ndarray, seed: int) -> list[nn.Linear]:
    """Return the layers after `EPOCHS` passes."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        sizes = (x.shape[1], *WIDTHS, target.shape[1])
        layers = [nn.Linear(a, b) for a, b in pairwise(sizes)]
        parameters = [p for layer in layers for p in layer.parameters()]
        optimizer = torch.optim.AdamW(parameters, lr=RATE, weight_decay=DECAY)
        steps = EPOCHS * -(-len(x) // BATCH)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
        inputs, wanted = torch.from_numpy(x), torch.from_numpy(target)
        for _ in range(EPOCHS):
            for rows in torch.randperm(len(x)).split(BATCH):
                y = nn.functional.dropout(inputs[rows] + NOISE * torch.randn(len(rows), x.shape[1]), DROPPED)
                for layer in layers[:-1]:
                    y = nn.functional.dropout(layer(y).relu(), DROPPED)
                loss = nn.functional.cross_entropy(layers[-1](y), wanted[rows])
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                schedule.step()
    return layers
