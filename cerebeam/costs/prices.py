"""The price table of `cerebeam cost`: what machines and storage cost, what is assumed, what was measured."""

import itertools
import tomllib
from dataclasses import dataclass
from datetime import date
from pathlib import Path

PRICES = Path(__file__).with_name("prices.toml")


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
