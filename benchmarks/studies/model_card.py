"""The published encoder's README.md, made of what its run measured."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from signals.shards.manifest import Manifest, read_manifest
from training.provenance import SUBJECTS_FILE

SOURCES = {
    "albany-eegmmidb": "EEG Motor Movement/Imagery (PhysioNet), ODC-BY 1.0",
    "kyiv-eegmat": "EEG During Mental Arithmetic (PhysioNet), ODC-BY 1.0",
    "bissau-emotiv": "Epilepsy in Guinea-Bissau (Zenodo 1252141), CC-BY 4.0",
    "tehran-adhd": "ADHD in children (IEEE DataPort), CC-BY 4.0 as stated there",
    "leipzig-lemon": "MPI-LEMON excerpt, PDDL/CC0",
    "frankfurt-rest": "eeg_microstates example, MIT",
    "neonatal-stevenson": "Neonatal-EEG-Analysis examples, MIT",
    "sandiego-eeglab": "EEGLAB sample, BSD-2 of EEGLAB; not licensed apart",
    "yasa-sleep": "YASA examples, BSD-3",
}
"""Where sites' recordings come from and under which licence, as their publishers state it."""

_FILLINGS = {
    "line": " (the line)",
    "ar": " (the autoregression)",
    "window": " (regression on the visible channels, fitted within the window, and *ar* of what it leaves)",
}
_CARD = """---
library_name: transformers
tags: [eeg, biosignal, self-supervised, foundation-model]
license: {licence}
---

# Cerebeam encoder, {recipe}

{n_params:.2f} million parameters, schema version {schema}. It turns a window of EEG (electrodes with known places,
256 Hz, at least a few seconds, each window scaled by its own size) into a vector for each second and channel, each
channel, and the window. It was pretrained to fill in hidden samples, to tell their log spectra and to tell hidden
channels apart, without labels. `model.layers.pooling.pooled_statistics` makes one row of a window's tokens, for a
classifier.

    from model.encoder import Encoder
    encoder = Encoder.from_pretrained("FOLDER", local_files_only=True)

## Trained on

{hours:.1f} hours, {n_windows} windows of {n_train} people; {n_held_out} other people, chosen by hash, were never
trained on and are those that the figures below are of. Excluded altogether: {excluded}.

{sources}

Windows are 0.5 Hz to at most 128 Hz, average-referenced over 19 electrodes of the 10-20 system; each is divided by the
median standard deviation of its channels. Shards {digest}, code {code}. Settings:
`pretrain_subjects.json`.

## Filling hidden samples in

On the {n_held_out} held-out people; a quarter to half of the channels are hidden at once; 95% intervals resample
people. All estimates see the same visible samples. *linear*: the line across the gap; *spline*: spherical splines from
visible channels; *ar*: an autoregressive model of the channel, both sides; *filling*: what the network's own estimate
starts from, untrained{filling}.
Squared error is in units of the window's scale. **On gaps of 60-500 ms the network's squared error is {ratio:.3f} of
its filling's.**

{table}

## Limits

- Some hours of a few dozen people: far too little for a foundation model in the sense of the word. It shows that the
  way from recordings to a checkpoint works, not what the method can reach.
- Bands below about 1 Hz and above 60 Hz, sleep, newborns and intensive care are rare or absent in training.
- Not a medical device. Nobody has tested it for a diagnosis, and frozen embeddings do not always beat band powers:
  docs/results/pretraining.md has the tables.
- `pretrain_subjects.json` names people by salted hashes of public data sets' identifiers.

## Repeat

    make pretrain-small

{seconds:.0f} s of pretraining on {machine}.
"""


def write_card(
    encoder: Path, shards: Sequence[Path], table: Sequence[str], *, ratio: float, seconds: float, machine: str
) -> None:
    """Write README.md beside an encoder, of its own files, the shard sets, and the table of figures."""
    about = json.loads((encoder / SUBJECTS_FILE).read_text())
    config = json.loads((encoder / "config.json").read_text())
    manifests = [read_manifest(folder) for folder in shards]
    trained = _extent(manifests, set(about["train"]))
    sites = sorted({name for m in manifests for name in _sites(m, set(about["train"]))})
    text = _CARD.format(
        licence="other" if any(site in SOURCES for site in sites) else "mit",
        recipe=about["recipe"],
        n_params=_n_params(encoder / "model.safetensors") / 1e6,
        schema=config["schema_version"],
        hours=trained["hours"],
        n_windows=trained["n_windows"],
        n_train=len(about["train"]),
        n_held_out=len(about["held_out"]),
        excluded=", ".join(about["exclude_sites"]) or "nothing",
        sources="\n".join(f"- {site}: {SOURCES.get(site, 'synthetic recordings of this project')}" for site in sites),
        digest=about["manifest_digest"][:16],
        code=about["code_version"],
        filling=_FILLINGS[about["config"]["objective"]["filling"]],
        table="\n".join(table),
        ratio=ratio,
        seconds=seconds,
        machine=machine,
    )
    (encoder / "README.md").write_text(text)


def _n_params(weights: Path) -> int:
    """Return the number of values in a safetensors file, by its header."""
    with weights.open("rb") as file:
        header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
    sizes = (_product(entry["shape"]) for name, entry in header.items() if name != "__metadata__")
    return sum(sizes)


def _product(shape: Sequence[int]) -> int:
    n = 1
    for length in shape:
        n *= length
    return n


def _sites(manifest: Manifest, people: set[str]) -> set[str]:
    return {entry.site_id for name, entry in manifest.subjects.items() if name in people}


def _extent(manifests: Sequence[Manifest], people: set[str]) -> Mapping[str, Any]:
    entries = [e for m in manifests for name, e in m.subjects.items() if name in people]
    n_times = sum(int(entry.moments.count.max()) for entry in entries)
    hours = n_times / manifests[0].modality.sfreq / 3600
    return {"n_windows": sum(entry.n_windows for entry in entries), "hours": hours}
