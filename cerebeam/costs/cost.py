"""cerebeam cost: what hours of EEG cost to keep, prepare and learn from, and what a budget buys, with the sums."""

import argparse
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from datetime import date
from pathlib import Path
from typing import Any

from cerebeam.costs.prices import PRICES, Assumed, Machine, PriceError, Prices, load_prices
from signals.command_line import Parser
from signals.json_output import add_json, plain, print_json

HOURS_A_MONTH = 730.0
"""Of 8,760 a year."""
_OLD_DAYS = 180
_EDF_BYTES_A_HOUR = 19 * 256 * 3600 * 2
"""19 channels at 256 Hz as int16."""


@dataclass(frozen=True, kw_only=True)
class Kept:
    """A class of storage that holds recordings and shards."""

    storage: str
    usd_a_month: float
    usd: float
    """Over all months."""


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """A machine that prepares everything once."""

    machine: str
    hours: float
    usd: float


@dataclass(frozen=True, kw_only=True)
class Pretrained:
    """A machine that pretrains, or is rented throughout."""

    machine: str
    gpu_hours: float
    usd: float
    usd_spot: float
    rented_gpu_hours: float
    rented_usd: float
    rented_usd_spot: float


@dataclass(frozen=True, kw_only=True)
class Nodes:
    """So many nodes of the budget's kind for a month, against its dollars."""

    n_nodes: int
    node: str
    usd: float
    usd_spot: float
    budget_usd: float


@dataclass(frozen=True, kw_only=True)
class Bought:
    """What the budget's dollars rent of a machine in a month."""

    machine: str
    hours: float
    hours_spot: float
    eeg_hours: float
    """That all epochs of pretraining pass in those hours on spot."""


@dataclass(frozen=True, kw_only=True)
class Stored:
    """The storage that the budget wishes for, and the one that it pays."""

    storage: str
    usd_a_month: float
    budget_usd: float
    tb: float
    """TB that the budget keeps."""
    eeg_hours: float


@dataclass(frozen=True, kw_only=True)
class Cost:
    """Every figure of the report."""

    hours: float
    gpus: int
    months: float
    recordings_tb: float
    shards_tb: float
    core_hours: float
    useful_share: float
    """Of a spot machine's time."""
    keeping: tuple[Kept, ...]
    preparing: tuple[Prepared, ...]
    pretraining: tuple[Pretrained, ...]
    nodes: tuple[Nodes, ...]
    bought: tuple[Bought, ...]
    stored: tuple[Stored, ...]


def cost_of(prices: Prices, *, hours: float, gpus: int, months: float) -> Cost:
    """Return what hours of EEG cost, and what the budget of the table buys."""
    recordings_tb = hours * _EDF_BYTES_A_HOUR / 1e12
    shards_tb = recordings_tb * prices.measured.shard_bytes_vs_edf
    core_hours = hours / prices.measured.eeg_hours_a_core_minute / 60
    return Cost(
        hours=hours, gpus=gpus, months=months, recordings_tb=recordings_tb, shards_tb=shards_tb,
        core_hours=core_hours, useful_share=prices.useful_share(),
        keeping=tuple(_kept(prices, recordings_tb + shards_tb, months)),
        preparing=tuple(_prepared(prices, core_hours)),
        pretraining=tuple(_pretrained(prices, hours, gpus * months * HOURS_A_MONTH)),
        nodes=tuple(_nodes(prices)), bought=tuple(_bought(prices)), stored=tuple(_stored(prices)),
    )  # fmt: skip


def _kept(prices: Prices, n_tb: float, months: float) -> Iterator[Kept]:
    for name, storage in prices.storage.items():
        usd = storage.usd_a_month(n_tb)
        yield Kept(storage=name, usd_a_month=usd, usd=usd * months)


def _prepared(prices: Prices, core_hours: float) -> Iterator[Prepared]:
    for name, machine in prices.machines.items():
        if machine.cores:
            n_hours = core_hours / machine.cores
            yield Prepared(machine=name, hours=n_hours, usd=n_hours * machine.usd_an_hour)


def _pretrained(prices: Prices, hours: float, rented: float) -> Iterator[Pretrained]:
    spot, useful = prices.assumed.spot_share, prices.useful_share()
    for name, machine in _gpu_machines(prices):
        wanted, usd = prices.gpu_hours(machine, hours), machine.usd_an_hour / machine.gpus
        yield Pretrained(
            machine=name, gpu_hours=wanted, usd=wanted * usd, usd_spot=wanted * usd * spot / useful,
            rented_gpu_hours=rented, rented_usd=rented * usd, rented_usd_spot=rented * usd * spot,
        )  # fmt: skip


def _nodes(prices: Prices) -> Iterator[Nodes]:
    budget = prices.budget
    for n_nodes in sorted({1, budget.nodes}):
        usd = n_nodes * prices.machines[budget.node].usd_an_hour * HOURS_A_MONTH
        yield Nodes(
            n_nodes=n_nodes, node=budget.node, usd=usd, usd_spot=usd * prices.assumed.spot_share,
            budget_usd=budget.gpu_usd_a_month,
        )  # fmt: skip


def _bought(prices: Prices) -> Iterator[Bought]:
    for name, machine in _gpu_machines(prices):
        n_hours = prices.budget.gpu_usd_a_month / machine.usd_an_hour
        n_spot = n_hours / prices.assumed.spot_share
        eeg = n_spot * prices.useful_share() * machine.gpus / prices.gpu_hours(machine, 1.0)
        yield Bought(machine=name, hours=n_hours, hours_spot=n_spot, eeg_hours=eeg)


def _stored(prices: Prices) -> Iterator[Stored]:
    budget = prices.budget
    for name, storage in prices.storage.items():
        n_tb = storage.tb_for(budget.storage_usd_a_month)
        yield Stored(
            storage=name, usd_a_month=storage.usd_a_month(budget.storage_tb), budget_usd=budget.storage_usd_a_month,
            tb=n_tb, eeg_hours=n_tb * 1e12 / _EDF_BYTES_A_HOUR,
        )  # fmt: skip


def report(prices: Prices, *, hours: float, gpus: int, months: float, today: date) -> list[str]:
    """Return the lines of the report: storage, preparation, pretraining, the budget; each sum beside its result."""
    age = (today - prices.as_of).days
    old = f"  ** {age} days old: check them **" if age > _OLD_DAYS else ""
    cost = cost_of(prices, hours=hours, gpus=gpus, months=months)
    return [
        f"prices of {prices.as_of}, {prices.source}{old}",
        *_keeping(prices, cost),
        *_preparing(prices, cost),
        *_learning(prices, cost),
        *_budget(prices, cost),
    ]


def _keeping(prices: Prices, cost: Cost) -> list[str]:
    recordings, shards = cost.recordings_tb, cost.shards_tb
    lines = [
        "",
        f"Keeping {cost.hours:,.0f} h of 19 channels at 256 Hz for {cost.months:g} months",
        f"  recordings  {cost.hours:,.0f} h x {_EDF_BYTES_A_HOUR / 1e6:.1f} MB = {recordings:.2f} TB",
        f"  shards      {recordings:.2f} TB x {prices.measured.shard_bytes_vs_edf} (measured) = {shards:.2f} TB",
    ]
    for one in cost.keeping:
        usd = f"${one.usd_a_month:,.2f} a month, ${one.usd:,.2f} in all"
        lines.append(f"  {one.storage:<16} {recordings + shards:.2f} TB = {usd}")
    return lines


def _preparing(prices: Prices, cost: Cost) -> list[str]:
    rate = prices.measured.eeg_hours_a_core_minute
    lines = [
        "",
        "Preparing once",
        f"  {cost.hours:,.0f} h / {rate:g} h a core-minute (measured) / 60 = {cost.core_hours:,.1f} core-hours",
    ]
    for one in cost.preparing:
        machine = prices.machines[one.machine]
        rent = f"{machine.cores} cores, ${machine.usd_an_hour:g}/h"
        lines.append(f"  {one.machine} ({rent}): {one.hours:,.1f} h = ${one.usd:,.2f}")
    return lines


def _learning(prices: Prices, cost: Cost) -> list[str]:
    assumed, measured = prices.assumed, prices.measured
    lines = [
        "",
        f"Pretraining, {assumed.epochs:g} epochs of {cost.hours:,.0f} h, {cost.gpus} GPUs for {cost.months:g} months",
        f"  one epoch: {cost.hours:,.0f} h x {3600 / measured.window_s:g} windows x {measured.gflop_a_window:g} GFLOP"
        f" (measured) = {cost.hours * 3600 / measured.window_s * measured.gflop_a_window / 1e9:.4g} x 10^18 FLOP",
        f"  MFU {assumed.mfu:g} is assumed: no GPU was measured. Spot: {assumed.spot_share:g} of the price (assumed),"
        f" {assumed.interruptions_a_day:g} interruption a day x ({assumed.replacement_s:g} s until the next machine"
        f" + {measured.sigterm_worst_s:g} s to save, measured): {cost.useful_share:.4f} of the time trains",
    ]
    for one in cost.pretraining:
        machine = prices.machines[one.machine]
        lines.append(
            f"  {one.machine} ({machine.what}): {one.gpu_hours:,.1f} GPU-hours"
            f" x ${machine.usd_an_hour / machine.gpus:.3f} = ${one.usd:,.2f}; spot ${one.usd_spot:,.2f}"
            f"; renting {cost.gpus} GPUs throughout = {one.rented_gpu_hours:,.0f} GPU-hours = ${one.rented_usd:,.0f},"
            f" spot ${one.rented_usd_spot:,.0f}"
        )
    return lines


def _budget(prices: Prices, cost: Cost) -> list[str]:
    budget, assumed = prices.budget, prices.assumed
    node = prices.machines[budget.node]
    lines = [
        "",
        f"What ${budget.gpu_usd_a_month:,.0f} a month of GPUs and ${budget.storage_usd_a_month:,.0f} of storage buy",
    ]
    lines += [
        f"  {one.n_nodes} x {one.node} ({node.what}) for a month:"
        f" {one.n_nodes} x ${node.usd_an_hour:g} x {HOURS_A_MONTH:g} h = ${one.usd:,.0f}; on spot ${one.usd_spot:,.0f}:"
        f" ${one.budget_usd:,.0f} is {_decision(one.usd_spot, one.budget_usd)}"
        for one in cost.nodes
    ]
    lines += [
        f"  buys {one.hours:,.0f} h of one {one.machine} ({prices.machines[one.machine].what}) at the list price,"
        f" {one.hours_spot:,.0f} h on spot:"
        f" {assumed.epochs:g} epochs of {one.eeg_hours:,.0f} h of EEG at MFU {assumed.mfu:g} (assumed)"
        for one in cost.bought
    ]
    lines += [
        f"  {budget.storage_tb:,.0f} TB, {one.storage}: ${one.usd_a_month:,.0f} a month: ${one.budget_usd:,.0f} is"
        f" {_decision(one.usd_a_month, one.budget_usd)}; it keeps {one.tb:,.1f} TB = {one.eeg_hours:,.0f} h of EEG"
        for one in cost.stored
    ]
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
    add_json(parser, "every figure of the report, the prices' date and what is assumed")
    args = parser.parse_args(argv)
    if not (0 < args.hours < 1e12 and args.gpus > 0 and 0 < args.months < 1e6):
        parser.error("--hours, --gpus and --months must be positive")
    for field in fields(Assumed):
        value: Any = getattr(args, field.name)
        limit = 1.0 if field.name in {"mfu", "spot_share"} else 1e12
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
    wanted = {"hours": args.hours, "gpus": args.gpus, "months": args.months}
    if args.json:
        cost = cost_of(prices, **wanted)
        print_json(
            {"prices": {"as_of": prices.as_of, "source": prices.source}, "assumed": prices.assumed, **plain(cost)}
        )
    else:
        print("\n".join(report(prices, **wanted, today=date.today())))  # noqa: T201
    return 0


if __name__ == "__main__":
    sys.exit(main())
