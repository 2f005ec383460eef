"""The console script `cerebeam`: a name for each module's `main`, its help, and how a run ends.

Help comes from stored pages (`cerebeam.help.pages`), so that no command is imported for it.
"""

import errno
import importlib
import os
import sys
from collections.abc import Sequence

from cerebeam.help.pages import stored
from signals.help_pages import render

INPUT_EXIT, FULL_EXIT, INTERRUPTED_EXIT = 2, 74, 130
EXTRAS = {
    "apache_beam": "beam", "onnxruntime": "serve", "torch": "train", "torch_geometric": "train", "tyro": "train",
    "transformers": "train", "safetensors": "train", "captum": "train", "fsspec": "train", "sklearn": "train",
    "pandas": "train", "onnx": "train", "onnxscript": "train", "alembic": "service", "edfio": "service",
    "fastapi": "service", "jwt": "service", "orjson": "service", "prometheus_client": "service", "psycopg": "service",
    "redis": "service", "sqlalchemy": "service", "uvicorn": "service", "websockets": "service", "dash": "dashboard",
    "plotly": "dashboard", "cryptography": "audit", "pydantic": "sites", "yaml": "sites", "pylsl": "lsl",
    "mlflow": "track", "wandb": "track", "antio": "formats", "curryreader": "formats", "h5py": "formats",
    "mffpy": "formats", "neo": "formats", "pyxdf": "formats", "wfdb": "formats",
}  # fmt: skip
"""Which extra brings a library that is missing."""
BASE = frozenset(
    {"cramjam", "google_crc32c", "mne", "numpy", "PIL", "pyarrow", "pywt", "scipy", "threadpoolctl", "tqdm"}
)
"""Libraries that every installation has: where one is missing, this Python has none."""

COMMANDS = {
    "demo": ("cerebeam.demo", "the whole way on a synthetic corpus or on your files, in one command"),
    "synthesize": ("synthetic.synthesize", "write a synthetic multi-site corpus"),
    "bank": ("synthetic.bank", "write a bank of simulated patterns with their truth, to pretrain on"),
    "critical-corpus": (
        "synthetic.critical_corpus",
        "write shards of synthetic critical-care segments, on real backgrounds too",
    ),
    "preprocess": ("pipelines.preprocess", "recordings to one shard set"),
    "site-card": ("signals.sites.draft", "a first draft of a site's card from one of its files"),
    "archive": ("pipelines.score", "answers of a bundle for every recording of an archive"),
    "compare": ("evaluation.scenarios.archives", "two models over one archive, with intervals over people"),
    "drift": ("cerebeam.drift", "whether recordings that came in are still what a model was trained on"),
    "paper": ("cerebeam.paper", "scans of printed electrocardiograms to records, and records to pages"),
    "dry-run": ("pipelines.dry_run", "what would become of each file, without writing anything"),
    "shards": ("pipelines.shards", "verify, summarise, show and merge shard sets, check that they identify no one"),
    "autoencoder": ("training.autoencoder", "train the network that scores artifacts, on shards without labels"),
    "pretrain": ("training.pretrain", "pretrain an encoder on shards"),
    "publish": ("training.publish", "copy a pretrained encoder or fitted model that has shown its worth"),
    "finetune": ("training.finetune", "fit a head for a task"),
    "study": ("cerebeam.study", "a study by name: the fair table, label curves, ablations and those below"),
    "loso": ("studies.loso", "leave-one-site-out predictions"),
    "crossval": ("studies.crossval", "out-of-fold predictions of any models, by patient"),
    "stack": ("studies.stack", "an ensemble of models from their out-of-fold predictions"),
    "score": ("cerebeam.score", "a bundle's predictions of labelled shards, for a report"),
    "calibrate": ("studies.calibrate", "temperature, prediction sets and abstention of a model, for its bundle"),
    "embed": ("studies.embed", "one vector a window from an encoder, for the domain gap"),
    "stress": ("studies.stress", "predictions of recordings made worse, level by level"),
    "transfer": ("studies.transfer", "ways of using an encoder and tuned baselines on the same folds"),
    "synthetic-to-real": ("studies.synthetic_to_real", "models of six classes that need no real label, compared"),
    "report": ("evaluation.report.__main__", "predictions to one HTML page and its facts"),
    "planted": ("studies.planted.faults", "plant faults on purpose and see that the audit names each"),
    "prune": ("training.prune", "a task model with fewer parameters, and what that costs"),
    "distil": ("training.distil", "a small model that learns from a large one or from several"),
    "export": ("model.export", "a trained model to a bundle"),
    "six-class": (
        "cerebeam.six_class.commands",
        "build a reader of the six classes and read recordings with it; the HMS competition's folder in and out",
    ),
    "competition": ("evaluation.competition", "the competition's KL of predictions or of a submission"),
    "quantise": ("serving.deploy.quantise", "a bundle in INT8, if it is small enough and as good"),
    "quantise-torch": ("model.bundling.int8", "a trained model in torch's own INT8, if it is small enough and as good"),
    "tensorrt": ("serving.deploy.tensorrt", "TensorRT engines from a bundle"),
    "quick-test": ("cerebeam.quick_test", "every family of models once forward and backward on noise, as a table"),
    "bench": ("cerebeam.bench", "latency, throughput, memory and size of bundles, beside torch"),
    "audit": ("cerebeam.compliance.audit_log", "keys for an audit log, the proof that it is whole, its last rows"),
    "sbom": ("cerebeam.compliance.sbom", "bills of materials of the server or of a bundle, with licences"),
    "sign": ("cerebeam.compliance.sign", "keys for bundles, signatures beside their files, and whether one holds"),
    "backup": (
        "cerebeam.compliance.backup",
        "copy a server's data folder while it is in use; verify and restore copies",
    ),
    "comply": (
        "cerebeam.compliance.comply",
        "controls of 45 CFR 164 held against a deployment, with evidence",
    ),
    "cost": ("cerebeam.costs.cost", "what hours of EEG cost to keep, prepare and learn from, what a budget buys"),
    "predict": ("serving.predict", "answers for one recording from a bundle"),
    "explain": ("cerebeam.explaining.explain", "what a model's answers on a recording depend on, as figures and pages"),
    "run": ("cerebeam.run", "data, training, report, registry and the API in one command that resumes"),
    "config": ("service.configure", "the service's configuration: show it, check it"),
    "serve": ("service.serve", "an API that answers windows and recordings"),
    "boards": ("service.monitoring.page", "the dashboards' queries drawn from a Prometheus, as one page"),
    "live": ("service.live.command", "samples of a file or of LSL to a bed of a server, its answers as they come"),
    "reviews": ("service.review.export", "what reviewers labelled, as the label file of preprocess"),
    "register": ("service.registry.commands:register", "store a bundle in the registry, as the challenger"),
    "promote": ("service.registry.commands:promote", "make a registered model the champion, if every gate holds"),
    "rollback": ("service.registry.commands:rollback", "go back to the champion before"),
    "completion": ("cerebeam.help.completion", "completion of commands and options for bash and zsh"),
}


def usage() -> str:
    """Return the list of commands."""
    width = max(map(len, COMMANDS))
    lines = [f"  {name:<{width}}  {what}" for name, (_, what) in COMMANDS.items()]
    return "\n".join(
        ["usage: cerebeam COMMAND [OPTIONS]", "", *lines, "", "cerebeam COMMAND --help lists the options."]
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns its exit code, 2 for an unknown one."""
    args = list(sys.argv[1:] if argv is None else argv)
    if not args or args[0] in {"-h", "--help"}:
        print(usage())  # noqa: T201
        return 0 if args else 2
    if args[0] not in COMMANDS:
        print(f"cerebeam: unknown command {args[0]!r}; one of {', '.join(COMMANDS)}", file=sys.stderr)  # noqa: T201
        return 2
    try:
        code = 0
        if page := stored(args):
            print(render(page))  # noqa: T201
        else:
            code = run(args)
        sys.stdout.flush()  # now, where a reader that has gone is known about
        return code
    except KeyboardInterrupt:
        return _failed(args[0], "interrupted", INTERRUPTED_EXIT)
    except ImportError as error:
        if (line := missing(error)) is None:
            raise
        return _failed(args[0], line)
    except BrokenPipeError:  # whoever read the output has gone: no fault of the command
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        is_full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        if error.filename is None and not is_full:
            raise
        line = f"{error.filename or 'output'}: {error.strerror}"
        return _failed(args[0], line, FULL_EXIT if is_full else INPUT_EXIT)


def missing(error: ImportError) -> str | None:
    """Return what to install where a library is missing; None for a module of our own, or one that nobody names."""
    library = (error.name or "").partition(".")[0]
    if library in BASE:
        return f"{library} is missing from {sys.executable}: use .venv/bin/cerebeam, or pip install ."
    extra = EXTRAS.get(library)
    return None if extra is None else f"{error.name} is not installed: pip install 'cerebeam[{extra}]'"


def run(args: Sequence[str]) -> int:
    """Import a command and run it; returns its exit code."""
    name, _, function = COMMANDS[args[0]][0].partition(":")
    return int(getattr(importlib.import_module(name), function or "main")(args[1:]) or 0)


def _failed(command: str, message: str, code: int = INPUT_EXIT) -> int:
    print(f"cerebeam {command}: {message}", file=sys.stderr)  # noqa: T201
    return code


if __name__ == "__main__":
    sys.exit(main())
