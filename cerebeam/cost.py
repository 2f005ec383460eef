"""cerebeam cost: what hours of EEG cost to keep, prepare and learn from, and what a budget buys, with the sums."""

import argparse
import itertools
import sys
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass, fields
from datetime import date
from pathlib import Path
from typing import Any

from signals.command_line import Parser

PRICES = Path(__file__).with_name("prices.toml")
HOURS_A_MONTH = 730.0
"""Of 8,760 a year."""
_OLD_DAYS = 180
_EDF_BYTES_A_HOUR = 19 * 256 * 3600 * 2
"""19 channels at 256 Hz as int16."""


class PriceError(ValueError):
    """A price table that cannot be used; the message is one line."""


@dataclass(frozen=True, kw_only=True)
class Machine:
    """A machine to rent."""

    what: str
    usd_an_hour: float
    gpus: int = 0
    tflops: float = 0.0
    """Of one GPU."""
    cores: int = 0


@dataclass(frozen=True, kw_only=True)
class Storage:
    """A class of storage whose price falls in steps."""

    steps_tb: tuple[float, ...]
    usd_a_gb: tuple[float, ...]

    def __post_init__(self) -> None:
        if len(self.usd_a_gb) != len(self.steps_tb) + 1 or list(self.steps_tb) != sorted(self.steps_tb):
            raise PriceError(f"steps_tb={self.steps_tb} needs rising steps and one price more than steps")

    def usd_a_month(self, n_tb: float) -> float:
        """Return what so many TB (10^12 bytes) cost a month."""
        edges = [0.0, *self.steps_tb, float("inf")]
        parts = [max(min(n_tb, high) - low, 0.0) for low, high in itertools.pairwise(edges)]
        return sum(part * 1000 * usd for part, usd in zip(parts, self.usd_a_gb, strict=True))

    def tb_for(self, usd: float) -> float:
        """Return how many TB so many dollars a month keep."""
        n_tb = 0.0
        for edge, price in zip([*self.steps_tb, float("inf")], self.usd_a_gb, strict=True):
            full = (edge - n_tb) * 1000 * price
            if usd <= full:
                return n_tb + usd / (1000 * price)
            usd, n_tb = usd - full, edge
        raise AssertionError("the last step has no end")


@dataclass(frozen=True, kw_only=True)
class Budget:
    """Dollars a month, and the wishes that are held against them."""

    gpu_usd_a_month: float
    storage_usd_a_month: float
    node: str
    nodes: int
    storage_tb: float


@dataclass(frozen=True, kw_only=True)
class Assumed:
    """What nobody measured here."""

    spot_share: float
    interruptions_a_day: float
    replacement_s: float
    mfu: float
    epochs: float


@dataclass(frozen=True, kw_only=True)
class Measured:
    """What docs/benchmarks.md has."""

    eeg_hours_a_core_minute: float
    shard_bytes_vs_edf: float
    gflop_a_window: float
    window_s: float
    sigterm_worst_s: float
    segment_ms_cpu: float


@dataclass(frozen=True, kw_only=True)
class Prices:
    """A price table."""

    as_of: date
    source: str
    budget: Budget
    machines: dict[str, Machine]
    storage: dict[str, Storage]
    assumed: Assumed
    measured: Measured

    def useful_share(self) -> float:
        """Return the share of a spot machine's hours that trains: the rest saves, waits for a machine and starts."""
        lost = self.assumed.interruptions_a_day * (self.assumed.replacement_s + self.measured.sigterm_worst_s)
        return max(1.0 - lost / 86_400, 0.0)

    def gpu_hours(self, machine: Machine, eeg_hours: float) -> float:
        """Return the GPU-hours of pretraining on so many hours of EEG."""
        windows = eeg_hours * 3600 / self.measured.window_s * self.assumed.epochs
        return windows * self.measured.gflop_a_window / (machine.tflops * 1000 * self.assumed.mfu) / 3600


def load_prices(path: Path, overrides: dict[str, float]) -> Prices:
    """Return a price table, with assumptions replaced. Raises PriceError in one line for one that cannot be used."""
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
        prices = Prices(
            as_of=table["as_of"],
            source=table["source"],
            budget=Budget(**table["budget"]),
            machines={name: Machine(**fields) for name, fields in table["machines"].items()},
            storage={name: Storage(**{key: tuple(v) for key, v in f.items()}) for name, f in table["storage"].items()},
            assumed=Assumed(**table["assumed"] | overrides),
            measured=Measured(**table["measured"]),
        )
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise PriceError(f"{path} cannot be read as TOML: {str(error).splitlines()[0]}") from None
    except (KeyError, TypeError, AttributeError) as error:
        raise PriceError(f"{path}: {error} is missing or not a key of a price table") from None
    if prices.budget.node not in prices.machines:
        raise PriceError(f"{path}: budget.node={prices.budget.node} is none of its machines")
    return prices


def report(prices: Prices, *, hours: float, gpus: int, months: float, today: date) -> list[str]:
    """Return the lines of the report: storage, preparation, pretraining, the budget; each sum beside its result."""
    age = (today - prices.as_of).days
    old = f"  ** {age} days old: check them **" if age > _OLD_DAYS else ""
    return [
        f"prices of {prices.as_of}, {prices.source}{old}",
        *_keeping(prices, hours, months),
        *_preparing(prices, hours),
        *_learning(prices, hours, gpus, months),
        *_budget(prices),
    ]


def _keeping(prices: Prices, hours: float, months: float) -> list[str]:
    source = hours * _EDF_BYTES_A_HOUR / 1e12
    shards = source * prices.measured.shard_bytes_vs_edf
    lines = [
        "",
        f"Keeping {hours:,.0f} h of 19 channels at 256 Hz for {months:g} months",
        f"  recordings  {hours:,.0f} h x {_EDF_BYTES_A_HOUR / 1e6:.1f} MB = {source:.2f} TB",
        f"  shards      {source:.2f} TB x {prices.measured.shard_bytes_vs_edf} (measured) = {shards:.2f} TB",
    ]
    for name, storage in prices.storage.items():
        usd = storage.usd_a_month(source + shards)
        lines.append(f"  {name:<16} {source + shards:.2f} TB = ${usd:,.2f} a month, ${usd * months:,.2f} in all")
    return lines


def _preparing(prices: Prices, hours: float) -> list[str]:
    rate = prices.measured.eeg_hours_a_core_minute
    core_hours = hours / rate / 60
    lines = [
        "",
        "Preparing once",
        f"  {hours:,.0f} h / {rate:g} h a core-minute (measured) / 60 = {core_hours:,.1f} core-hours",
    ]
    for name, machine in prices.machines.items():
        if machine.cores:
            n_hours = core_hours / machine.cores
            usd = n_hours * machine.usd_an_hour
            rent = f"{machine.cores} cores, ${machine.usd_an_hour:g}/h"
            lines.append(f"  {name} ({rent}): {n_hours:,.1f} h = ${usd:,.2f}")
    return lines


def _learning(prices: Prices, hours: float, gpus: int, months: float) -> list[str]:
    assumed, measured = prices.assumed, prices.measured
    useful = prices.useful_share()
    lines = [
        "",
        f"Pretraining, {assumed.epochs:g} epochs of {hours:,.0f} h, {gpus} GPUs for {months:g} months",
        f"  one epoch: {hours:,.0f} h x {3600 / measured.window_s:g} windows x {measured.gflop_a_window:g} GFLOP"
        f" (measured) = {hours * 3600 / measured.window_s * measured.gflop_a_window / 1e9:.4g} x 10^18 FLOP",
        f"  MFU {assumed.mfu:g} is assumed: no GPU was measured. Spot: {assumed.spot_share:g} of the price (assumed),"
        f" {assumed.interruptions_a_day:g} interruption a day x ({assumed.replacement_s:g} s until the next machine"
        f" + {measured.sigterm_worst_s:g} s to save, measured): {useful:.4f} of the time trains",
    ]
    for name, machine in _gpu_machines(prices):
        wanted = prices.gpu_hours(machine, hours)
        usd = machine.usd_an_hour / machine.gpus
        rented = gpus * months * HOURS_A_MONTH
        lines += [
            f"  {name} ({machine.what}): {wanted:,.1f} GPU-hours x ${usd:.3f} = ${wanted * usd:,.2f};"
            f" spot ${wanted * usd * assumed.spot_share / useful:,.2f}"
            f"; renting {gpus} GPUs throughout = {rented:,.0f} GPU-hours = ${rented * usd:,.0f},"
            f" spot ${rented * usd * assumed.spot_share:,.0f}",
        ]
    return lines


def _budget(prices: Prices) -> list[str]:
    budget, assumed = prices.budget, prices.assumed
    node = prices.machines[budget.node]
    lines = [
        "",
        f"What ${budget.gpu_usd_a_month:,.0f} a month of GPUs and ${budget.storage_usd_a_month:,.0f} of storage buy",
    ]
    for n_nodes in sorted({1, budget.nodes}):
        usd = n_nodes * node.usd_an_hour * HOURS_A_MONTH
        spot = usd * assumed.spot_share
        lines.append(
            f"  {n_nodes} x {budget.node} ({node.what}) for a month:"
            f" {n_nodes} x ${node.usd_an_hour:g} x {HOURS_A_MONTH:g} h = ${usd:,.0f}; on spot ${spot:,.0f}:"
            f" ${budget.gpu_usd_a_month:,.0f} is {_decision(spot, budget.gpu_usd_a_month)}"
        )
    useful = prices.useful_share()
    for name, machine in _gpu_machines(prices):
        n_hours = budget.gpu_usd_a_month / machine.usd_an_hour
        n_spot = n_hours / assumed.spot_share
        eeg = n_spot * useful * machine.gpus / prices.gpu_hours(machine, 1.0)
        lines.append(
            f"  buys {n_hours:,.0f} h of one {name} ({machine.what}) at the list price, {n_spot:,.0f} h on spot:"
            f" {assumed.epochs:g} epochs of {eeg:,.0f} h of EEG at MFU {assumed.mfu:g} (assumed)"
        )
    for name, storage in prices.storage.items():
        usd = storage.usd_a_month(budget.storage_tb)
        n_tb = storage.tb_for(budget.storage_usd_a_month)
        lines.append(
            f"  {budget.storage_tb:,.0f} TB, {name}: ${usd:,.0f} a month: ${budget.storage_usd_a_month:,.0f} is"
            f" {_decision(usd, budget.storage_usd_a_month)}; it keeps {n_tb:,.1f} TB"
            f" = {n_tb * 1e12 / _EDF_BYTES_A_HOUR:,.0f} h of EEG"
        )
    return lines


def _gpu_machines(prices: Prices) -> list[tuple[str, Machine]]:
    return [(name, machine) for name, machine in prices.machines.items() if machine.gpus]


def _decision(usd: float, budget: float) -> str:
    return "enough" if usd <= budget else f"NOT ENOUGH, {usd / budget:.1f} x too little"


def parse_args(argv: Sequence[str] | None) -> argparse.Namespace:
    """Return the parsed command line."""
    parser = Parser(prog="cerebeam cost", description=(__doc__ or "").split(": ", 1)[1])
    parser.add_argument("--hours", type=float, default=100_000, help="hours of EEG, 100,000 by default")
    parser.add_argument("--gpus", type=int, default=8, help="GPUs rented throughout, 8 by default")
    parser.add_argument("--months", type=float, default=1, help="1 by default")
    parser.add_argument("--prices", type=Path, default=PRICES, help="another price table")
    for field in fields(Assumed):
        parser.add_argument(f"--{field.name.replace('_', '-')}", type=float, help="instead of the table's assumption")
    args = parser.parse_args(argv)
    if not (0 < args.hours < 1e12 and args.gpus > 0 and 0 < args.months < 1e6):
        parser.error("--hours, --gpus and --months must be positive")
    for field in fields(Assumed):
        value: Any = getattr(args, field.name)
        limit = 1.0 if field.name in {"mfu", "spot_share"} else float("inf")
        least_is_fine = field.name in {"interruptions_a_day", "replacement_s"}
        if value is not None and not ((0 < value <= limit) or (least_is_fine and value == 0)):
            parser.error(f"--{field.name.replace('_', '-')} {value:g} is out of range")
    return args


def main(argv: Sequence[str] | None = None) -> int:
    """Run from the command line; returns 0, or 2 for bad input."""
    args = parse_args(argv)
    given = {field.name: value for field in fields(Assumed) if (value := getattr(args, field.name)) is not None}
    try:
        prices = load_prices(args.prices, given)
        if not prices.useful_share():
            raise PriceError("interruptions take the whole day: nothing is ever trained")
    except PriceError as error:
        print(f"cerebeam cost: {error}", file=sys.stderr)  # noqa: T201
        return 2
    for line in report(prices, hours=args.hours, gpus=args.gpus, months=args.months, today=date.today()):
        print(line)  # noqa: T201
    return 0


if __name__ == "__main__":
    sys.exit(main())
