"""What an encoder makes of windows, before any label: one vector a window, for the measures of the domain gap.

`python -m studies.embed --shards DIR --encoder DIR --output embeddings.parquet`; `--no-encoder` for random weights,
`--features` for the shards' own features instead. Every window is embedded, with a label or without.
"""

import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from evaluation.schemas.embeddings import Embeddings, write_embeddings
from model.encoder import Encoder
from model.montage import Montage
from signals.command_line import Parser
from signals.shards.normalise import Normaliser
from studies.baselines.classical import filled_features
from training.command import run_main
from training.corpus.corpus import Corpus
from training.fitting.fit import NOT_PRETRAINED, pretraining_meta, start_encoder
from training.parallel.distributed import own_device

PROG = "cerebeam embed"


@torch.no_grad()
def representations(encoder: Encoder, shards: Corpus, *, batch: int = 16) -> np.ndarray:
    """Return the encoder's mean token of every window, float32, shape (n, dim); each is scaled by its own size."""
    modality, normaliser = shards.manifest.modality, Normaliser(kind="window")
    device = own_device()
    encoder.to(device).eval()
    rows = []
    for start in range(0, len(shards.entries), batch):
        made = shards.batch(range(start, min(start + batch, len(shards.entries))), normaliser)
        montage = Montage.of(modality, torch.from_numpy(made.ch_state_BC).to(device))
        out = encoder(torch.from_numpy(made.x_BCT).to(device), montage)
        rows.append(out["window_BD"].cpu().numpy())
    return np.concatenate(rows)


def embed(
    shards_dir: Path, encoder_dir: Path | None, output: Path, *, features: bool, seed: int, command_line: str
) -> None:
    """Write the embeddings file of a shard set."""
    shards = Corpus.open(shards_dir)
    about: dict[str, Any] = dict(NOT_PRETRAINED)
    if features:
        values, kind = filled_features(shards, range(len(shards.entries))), "features"
    else:
        encoder, about = start_encoder(encoder_dir, seed=seed)
        values, kind = representations(encoder, shards), "random" if encoder_dir is None else "pretrained"
    names = ("window_key", "recording_id", "subject_id", "site_id", "label")
    frame = pd.DataFrame(
        [(e.key, e.recording_id, e.subject_id, e.site_id, e.label) for e in shards.entries], columns=names
    )
    meta = {
        "model": kind if kind == "features" else f"{kind} encoder",
        "encoder": kind,
        "manifest_digest": shards.manifest.digest,
        "salt_id": shards.manifest.salt_id,
        **pretraining_meta(about),
        "seed": seed,
        "command": command_line,
    }
    write_embeddings(output, Embeddings(frame=frame, values=values.astype(np.float32), meta=meta))


def main(argv: Sequence[str] | None = None) -> None:
    """Run from the command line."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    parser = Parser(prog=PROG, description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--shards", type=Path, required=True, help="shard set")
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--encoder", type=Path, help="folder of a pretrained encoder")
    source.add_argument("--no-encoder", action="store_true", help="an encoder with random weights")
    source.add_argument("--features", action="store_true", help="the features that the shards store")
    parser.add_argument("--output", type=Path, required=True, help="embeddings file to write")
    parser.add_argument("--seed", type=int, default=0, help="of random weights")
    given = parser.parse_args(arguments)
    command_line = f"{PROG} {shlex.join(arguments)}"
    run_main(
        PROG,
        lambda: embed(
            given.shards,
            given.encoder,
            given.output,
            features=given.features,
            seed=given.seed,
            command_line=command_line,
        ),
    )


if __name__ == "__main__":
    main()
