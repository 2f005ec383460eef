"""Files whose samples are floats: BrainVision, arrays (.npy, .npz, .h5, .mat) and tables (parquet, csv)."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

_BRAINVISION = {"IEEE_FLOAT_32": "<f4", "INT_16": "<i2"}


def write_brainvision(
    path: Path, x: np.ndarray, *, ch_names: Sequence[str], sfreq: float, binary: str = "IEEE_FLOAT_32"
) -> None:
    """Write .vhdr, .vmrk and .eeg beside each other; x has shape (n_chans, n_times), µV, and is rounded for INT_16."""
    samples = np.round(x) if binary == "INT_16" else x
    samples.T.astype(_BRAINVISION[binary]).tofile(path.with_suffix(".eeg"))
    channels = "\n".join(f"Ch{k + 1}={name},,1,µV" for k, name in enumerate(ch_names))
    path.write_text(
        "Brain Vision Data Exchange Header File Version 1.0\n[Common Infos]\nCodepage=UTF-8\n"
        f"DataFile={path.stem}.eeg\nMarkerFile={path.stem}.vmrk\nDataFormat=BINARY\nDataOrientation=MULTIPLEXED\n"
        f"NumberOfChannels={len(ch_names)}\nSamplingInterval={1e6 / sfreq:g}\n"
        f"[Binary Infos]\nBinaryFormat={binary}\n[Channel Infos]\n{channels}\n",
        encoding="utf-8",
    )
    path.with_suffix(".vmrk").write_text("Brain Vision Data Exchange Marker File, Version 1.0\n[Marker Infos]\n")


def write_array(path: Path, x: np.ndarray, *, variable: str = "eeg", matlab_7_3: bool = False) -> None:
    """Write float32 samples as .npy, .npz, .h5 or .mat, by the path's suffix."""
    x = x.astype(np.float32)
    if path.suffix == ".npz":
        arrays: dict[str, Any] = {variable: x}
        np.savez(path, **arrays)
    elif path.suffix == ".npy":
        np.save(path, x)
    elif path.suffix == ".h5":
        import h5py

        with h5py.File(path, "w") as file:
            file[variable] = x
    elif matlab_7_3:
        from synthetic.recordings.laboratory_files import write_mat73

        write_mat73(path, {variable: x})
    else:
        from scipy.io import savemat

        savemat(path, {variable: x})


def write_table(
    path: Path, x: np.ndarray, *, ch_names: Sequence[str], group_rows: int | None = None, compression: str = "snappy"
) -> None:
    """Write float32 samples as .parquet or .csv, one column per channel; `group_rows` is of a parquet row group."""
    import pandas as pd

    frame = pd.DataFrame(x.T.astype(np.float32), columns=list(ch_names))
    if path.suffix == ".parquet":
        frame.to_parquet(path, row_group_size=group_rows, compression=compression)
    else:
        frame.to_csv(path, index=False)
