"""cerebeam sbom code|bundle: bills of materials in CycloneDX 1.6: packages with licences, or a bundle's files.

The code's bill is what this environment has of the packages that requirement files ask for, and of what those ask for.
"""

import argparse
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from signals.bundles.bundle import ABOUT, Bundle, BundleError, load_bundle
from signals.command_line import Parser
from signals.files import atomic_file, file_sha256
from signals.json_output import add_json, print_json
from signals.version import __version__

if TYPE_CHECKING:
    from cyclonedx.model.bom import Bom
    from cyclonedx.model.component import Component

ROOT = Path(__file__).parents[2]
SERVER = (ROOT / "serving" / "requirements.txt", ROOT / "service" / "requirements.txt")
"""What the image of the service installs (infra/docker/service.Dockerfile)."""


class SbomError(ValueError):
    """A bill that cannot be written; the message is one line."""


@dataclass(kw_only=True)
class Package:
    """An installed package."""

    name: str
    version: str
    licence: str
    """As it states itself; empty where it does not."""
    n_bytes: int
    needs: set[str] = field(default_factory=set)
    """Names of packages that it requires here, with the extras that are required of it."""


def packages(names: Iterable[str]) -> Sequence[Package]:
    """Return the installed packages of requirements ("psycopg[binary]"), and of what they ask for, by name.

    Raises SbomError for one that is not installed.
    """
    from packaging.requirements import InvalidRequirement, Requirement
    from packaging.utils import canonicalize_name

    found, seen = dict[str, Package](), set[tuple[str, frozenset[str]]]()
    try:
        waiting = [Requirement(name) for name in names]
    except InvalidRequirement as error:
        raise SbomError(f"no requirement: {str(error).splitlines()[0]}") from None
    while waiting:
        required = waiting.pop()
        name, extras = str(canonicalize_name(required.name)), frozenset(required.extras)
        if (name, extras) in seen:
            continue
        seen.add((name, extras))
        try:
            dist = metadata.distribution(name)
        except metadata.PackageNotFoundError:
            raise SbomError(f"{name} is not installed here: a bill is of what is there") from None
        needed = [
            one for one in map(Requirement, dist.requires or ())
            if one.marker is None or any(one.marker.evaluate({"extra": extra}) for extra in ("", *extras))
        ]  # fmt: skip
        package = found.setdefault(
            name, Package(name=name, version=dist.version, licence=_licence(dist), n_bytes=_size(dist))
        )
        package.needs |= {str(canonicalize_name(one.name)) for one in needed}
        waiting += needed
    return [found[name] for name in sorted(found)]


def requirements_of(files: Sequence[Path]) -> Sequence[str]:
    """Return the requirements of files, one a line, comments left out; raises SbomError for an unreadable one."""
    try:
        lines = [line.strip() for path in files for line in path.read_text(encoding="utf-8").splitlines()]
    except OSError as error:
        raise SbomError(f"{error.filename}: {error.strerror}") from None
    return [line for line in lines if line and not line.startswith("#")]


def _licence(dist: metadata.Distribution) -> str:
    fields = [one for name in ("License-Expression", "License") for one in dist.metadata.get_all(name) or ()]
    stated = str(next(iter(fields), ""))
    classifiers = [
        c.rpartition(" :: ")[2] for c in dist.metadata.get_all("Classifier") or () if c.startswith("License")
    ]
    if not stated.strip() or "\n" in stated.strip() or len(stated) > 100:  # whole texts stand there now and then
        stated = " OR ".join(classifiers)
    return stated.strip()


def _size(dist: metadata.Distribution) -> int:
    places = (Path(str(dist.locate_file(file))) for file in dist.files or ())
    return sum(place.stat().st_size for place in places if place.is_file())


def bill_of_code(found: Sequence[Package]) -> "Bom":
    """Return the bill of packages, each with its licence and what it depends on."""
    from cyclonedx.factory.license import LicenseFactory
    from cyclonedx.model.bom import Bom
    from cyclonedx.model.component import Component, ComponentType
    from packageurl import PackageURL

    bom, licences = Bom(), LicenseFactory()
    root = Component(name="cerebeam", version=__version__, type=ComponentType.APPLICATION, bom_ref="cerebeam")
    bom.metadata.component = root
    parts = {
        one.name: Component(
            name=one.name, version=one.version, type=ComponentType.LIBRARY, bom_ref=one.name,
            purl=PackageURL("pypi", name=one.name, version=one.version),
            licenses=[licences.make_from_string(one.licence)] if one.licence else [],
        )
        for one in found
    }  # fmt: skip
    bom.components.update(parts.values())
    bom.register_dependency(root, parts.values())
    for one in found:
        bom.register_dependency(parts[one.name], [parts[name] for name in sorted(one.needs)])
    return bom


def bill_of_bundle(bundle: Bundle) -> "Bom":
    """Return the bill of a checked bundle: the model, and each of its files with its sha256."""
    from cyclonedx.model import Property
    from cyclonedx.model.bom import Bom
    from cyclonedx.model.component import Component, ComponentType

    facts = {"kind": bundle.kind, "precision": bundle.precision, "task": bundle.task.name if bundle.task else "none"}
    weights = {f"weights {graph.file}": graph.weights_sha256 for graph in bundle.graphs}
    model = Component(
        name=bundle.path.resolve().name, version=str(bundle.about["digest"]), bom_ref="bundle",
        type=ComponentType.MACHINE_LEARNING_MODEL,
        properties=[Property(name=f"cerebeam:{name}", value=value) for name, value in {**facts, **weights}.items()],
    )  # fmt: skip
    bom = Bom()
    bom.metadata.component = model
    digests = {**bundle.about["files"], ABOUT: file_sha256(bundle.path / ABOUT)}
    files = [_file(name, digest) for name, digest in sorted(digests.items())]
    bom.components.update(files)
    bom.register_dependency(model, files)
    return bom


def _file(name: str, sha256: str) -> "Component":
    from cyclonedx.model import HashAlgorithm, HashType
    from cyclonedx.model.component import Component, ComponentType

    digest = HashType(alg=HashAlgorithm.SHA_256, content=sha256)
    return Component(name=name, type=ComponentType.FILE, bom_ref=name, hashes=[digest])


def as_json(bom: "Bom") -> str:
    """Return a bill as JSON of CycloneDX 1.6."""
    from cyclonedx.output.json import JsonV1Dot6

    return str(JsonV1Dot6(bom).output_as_string(indent=1))


def parse_args(argv: Sequence[str] | None) -> argparse.Namespace:
    """Return the parsed command line."""
    parser = Parser(prog="cerebeam sbom", description=(__doc__ or "").split(": ", 1)[1])
    parser.add_argument("what", choices=("code", "bundle"))
    parser.add_argument("bundle", type=Path, nargs="?", help="folder of the bundle, for `bundle`")
    parser.add_argument(
        "--requirements", type=Path, nargs="+", default=SERVER, help="files; those of the server's image"
    )
    parser.add_argument("--output", type=Path, required=True, help="JSON file to write")
    add_json(parser, "the file, and what the bill covers")
    args = parser.parse_args(argv)
    if (args.what == "bundle") != (args.bundle is not None):
        parser.error("bundle needs a folder, and code takes none")
    return args


def main(argv: Sequence[str] | None = None) -> int:
    """Run from the command line; returns 0, or 2 with one line."""
    args = parse_args(argv)
    try:
        if args.what == "bundle":
            text, summary = as_json(bill_of_bundle(load_bundle(args.bundle))), str(args.bundle)
            known: dict[str, Any] = {"bundle": args.bundle}
        else:
            found = packages(requirements_of(args.requirements))
            unstated = [one.name for one in found if not one.licence]
            text = as_json(bill_of_code(found))
            n_mb = sum(one.n_bytes for one in found) / 1e6
            known = {"n_packages": len(found), "mb": round(n_mb, 1), "without_licence": unstated}
            summary = f"{len(found)} packages, {n_mb:.0f} MB; without a stated licence: {', '.join(unstated) or 'none'}"
        with atomic_file(args.output) as file:
            file.write(text.encode("utf-8"))
        if args.json:
            print_json({"output": args.output, **known})
        else:
            print(f"{args.output}: {summary}")  # noqa: T201
    except ImportError as error:
        print(f"cerebeam sbom: {error.name} is not installed: pip install 'cerebeam[dev]'", file=sys.stderr)  # noqa: T201
        return 2
    except (BundleError, SbomError) as error:
        print(f"cerebeam sbom: {error}", file=sys.stderr)  # noqa: T201
        return 2
    except OSError as error:
        print(f"cerebeam sbom: {error.filename}: {error.strerror}", file=sys.stderr)  # noqa: T201
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
