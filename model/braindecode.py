"""The encoder under the arguments of braindecode's models: raw windows of any montage in, one output a class out.

    model = EncoderClassifier(n_chans=19, n_outputs=6, n_times=12800, sfreq=256, chs_info=raw.info["chs"])

It takes part wherever braindecode's models do (skorch's EEGClassifier, for one), and depends on neither: `chs_info` is
a list of mappings with "ch_name" and perhaps "loc", as MNE's info has them.

Shapes: B batch, C channel, T sample, K class.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from model.encoder import Encoder
from model.encoder_config import sized
from model.heads import ClassifierHead
from model.montage import Montage
from signals.electrodes import POSITIONS, RENAMED
from signals.window import MEASURED

_FLOOR = 1e-12


class EncoderClassifier(nn.Module):
    """An encoder of random or given weights with a classifier head, for windows of one montage and length."""

    def __init__(
        self,
        *,
        n_chans: int,
        n_outputs: int,
        n_times: int,
        sfreq: float,
        chs_info: Sequence[Mapping[str, Any]],
        size: str = "tiny",
        encoder: Encoder | None = None,
        dropout: float = 0.2,
        drop_path: float = 0.1,
    ) -> None:
        """Take what the data are like; `encoder` instead of random weights of a named `size`.

        Raises ValueError where `chs_info` does not hold `n_chans` channels, where one has neither a known name nor a
        place, for windows below 2 s, and for a rate that the encoder cannot be cut for.
        """
        super().__init__()
        if len(chs_info) != n_chans:
            raise ValueError(f"chs_info holds {len(chs_info)} channels, not n_chans={n_chans}")
        if n_times < 2 * sfreq:
            raise ValueError(f"n_times={n_times} at {sfreq:g} Hz is less than 2 s")
        if sfreq % 64:
            raise ValueError(f"sfreq={sfreq:g} is no multiple of 64 Hz: resample to 128 or 256 Hz first")
        if encoder is not None and encoder.config.sfreq != sfreq:
            raise ValueError(f"the encoder reads {encoder.config.sfreq:g} Hz, not sfreq={sfreq:g}: resample first")
        self.encoder = encoder or Encoder(
            sized(size, sfreq=float(sfreq), patch_times=int(sfreq) // 4, drop_path=drop_path)
        )
        self.head = ClassifierHead(self.encoder.config, n_classes=n_outputs, dropout=dropout)
        self.n_chans, self.n_outputs, self.n_times, self.sfreq = n_chans, n_outputs, n_times, sfreq
        names, more = named_places(chs_info)
        montage = Montage.named(names, torch.full((1, n_chans), MEASURED), more=more)
        for name, value in montage.tensors().items():
            self.register_buffer(name, value)

    def forward(self, x_BCT: Tensor) -> Tensor:
        """Return logits, shape (B, K), of windows in any unit: each is divided by its channels' median deviation."""
        if x_BCT.ndim != 3 or x_BCT.shape[1] != self.n_chans:
            raise ValueError(f"x has shape {tuple(x_BCT.shape)}, not (batch, n_chans={self.n_chans}, n_times)")
        scale_B = x_BCT.std(-1).median(-1).values.clamp(min=_FLOOR)
        one: dict[str, Tensor] = {name: getattr(self, name) for name in Montage.__dataclass_fields__}
        montage = Montage(**{name: value.expand(len(x_BCT), *value.shape[1:]) for name, value in one.items()})
        out = self.encoder((x_BCT / scale_B[:, None, None]).clamp(-20.0, 20.0), montage)
        batch = {"ch_state_BC": montage.ch_state_BC, "position_C3": one["position_BC3"][0]}
        logits_BK: Tensor = self.head(out, batch)["logits_BK"]
        return logits_BK


def named_places(chs_info: Sequence[Mapping[str, Any]]) -> tuple[list[str], dict[str, Sequence[float]]]:
    """Return canonical names, and directions of those that are no electrode of the 10-5 system, from MNE's "loc"."""
    names = [RENAMED.get(str(info["ch_name"]), str(info["ch_name"])) for info in chs_info]
    more = {}
    for name, info in zip(names, chs_info, strict=True):
        loc = np.asarray(info.get("loc", ()), dtype=np.float64)[:3]
        if name not in POSITIONS and loc.size == 3 and np.isfinite(loc).all() and np.any(loc):
            more[name] = loc.tolist()
    return names, more
