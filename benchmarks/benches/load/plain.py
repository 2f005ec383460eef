"""python -m benchmarks.benches.load.plain BUNDLE PORT: FastAPI with a plain synchronous handler around a bundle.

What one writes first: the framework's own thread pool, the array as JSON, the bundle's answer.
"""

import sys
from typing import Any

import numpy as np
import uvicorn
from fastapi import FastAPI

from serving.runtime import answer_batch, described
from signals.bundles.bundle import load_bundle
from signals.bundles.inputs import windows_of_recording
from signals.readers.memory import recording_of_array

app = FastAPI()
bundle = load_bundle(sys.argv[1]) if len(sys.argv) == 3 else None


@app.get("/ready")
def ready() -> dict[str, str]:
    """Answer when it listens."""
    return {"status": "ready"}


@app.post("/predict")
def predict(body: dict[str, Any]) -> dict[str, Any]:
    """Answer one window."""
    assert bundle is not None
    x = np.asarray(body["eeg_data"], dtype=np.float32)
    recording = recording_of_array(x, ch_names=bundle.modality.ch_names, sfreq=200.0)
    windows = list(windows_of_recording(bundle.profile, recording, source_sha256="0" * 64))
    (answer,) = described(bundle, windows, answer_batch(bundle, windows))
    return {"predicted_class": answer.predicted_class, "class_probabilities": answer.class_probabilities}


if __name__ == "__main__":
    uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[2]), log_level="error")
