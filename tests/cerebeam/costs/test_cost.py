import re
from datetime import date
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cerebeam.costs.cost import main, report
from cerebeam.costs.prices import PRICES, PriceError, Storage, load_prices

ROOT = Path(__file__).parents[3]
TODAY = date(2026, 11, 22)


def lines_of(hours=100_000, gpus=8, months=1, **overrides):
    return report(load_prices(PRICES, overrides), hours=hours, gpus=gpus, months=months, today=TODAY)


def test_measured_figures_are_those_of_the_page():
    page = " ".join((ROOT / "docs" / "benchmarks.md").read_text(encoding="utf-8").split())
    measured = load_prices(PRICES, {}).measured
    assert f"**{measured.eeg_hours_a_core_minute:g} EEG-hours a minute**" in page
    row = "`shard_bytes_vs_edf`, of the same 19 channels and rate; against GZIP TFRecord"
    assert f"{row} | {measured.shard_bytes_vs_edf:.2f};" in page
    assert f"| ours | 5.76 M | {measured.gflop_a_window:g} |" in page
    assert f"19 channels x {measured.window_s:g} s, forward and backward" in page
    assert f"`sigterm_worst_s` {measured.sigterm_worst_s:g} s" in page
    assert f"85 of `segment_ms_cpu` {measured.segment_ms_cpu:g} ms" in page


def test_sums_of_a_hundred_thousand_hours():
    text = "\n".join(lines_of())
    # 19 x 256 x 3600 x 2 bytes = 35.0 MB an hour; x 100,000 = 3.50 TB; x 0.70 = 2.45 TB; 5.954 TB x $23 = $136.93.
    assert "= 3.50 TB" in text
    assert "= 2.45 TB" in text
    assert "5.95 TB = $136.93 a month" in text
    # 100,000 / 34.7 / 60 = 48.03 core-hours; / 8 cores x $0.714 = $4.29.
    assert "48.0 core-hours" in text
    assert "$4.29" in text
    # 100,000 h x 120 x 20.9 GFLOP x 10 epochs / (312 TFLOP/s x 0.2) / 3600 = 11.16 GPU-hours; x $21.96 / 8 = $30.65.
    assert "p4d.24xlarge (8 x A100 40 GB): 11.2 GPU-hours x $2.745 = $30.65" in text
    # Renting one node of eight throughout: 730 h x $21.96 = $16,031.
    assert "5,840 GPU-hours = $16,031" in text


def test_the_budget_of_the_design_buys_neither_nodes_nor_a_petabyte():
    text = "\n".join(lines_of())
    assert "1 x $21.96 x 730 h = $16,031; on spot $6,412: $4,000 is NOT ENOUGH, 1.6 x too little" in text
    # 8 x 21.96 x 730 = 128,246; x 0.4 = 51,299; / 4,000 = 12.8.
    assert "8 x $21.96 x 730 h = $128,246; on spot $51,299: $4,000 is NOT ENOUGH, 12.8 x too little" in text
    assert "buys 182 h of one p4d.24xlarge" in text  # 4,000 / 21.96
    # A petabyte: 50 TB x $23 + 450 TB x $22 + 500 TB x $21 = 1,150 + 9,900 + 10,500 = $21,550. $500 / $23 = 21.7 TB.
    assert "1,000 TB, standard: $21,550 a month: $500 is NOT ENOUGH, 43.1 x too little; it keeps 21.7 TB" in text
    assert "deep-archive: $990 a month: $500 is NOT ENOUGH, 2.0 x too little" in text


def test_spot_pays_for_what_interruptions_take():
    prices = load_prices(PRICES, {"interruptions_a_day": 10.0, "replacement_s": 596.4})
    assert prices.useful_share() == pytest.approx(1 - 10 * 600 / 86_400)
    assert load_prices(PRICES, {"interruptions_a_day": 0.0}).useful_share() == 1


@given(st.floats(0, 5000))
def test_steps_of_storage_are_their_own_inverse(n_tb):
    storage = load_prices(PRICES, {}).storage["standard"]
    assert storage.tb_for(storage.usd_a_month(n_tb)) == pytest.approx(n_tb, abs=1e-6)


@given(st.floats(0, 2000), st.floats(0, 2000))
def test_more_bytes_never_cost_less(a, b):
    storage = load_prices(PRICES, {}).storage["standard"]
    assert (storage.usd_a_month(a) <= storage.usd_a_month(b)) or a > b


def test_steps_without_prices_are_refused():
    with pytest.raises(PriceError, match="one price more than steps"):
        Storage(steps_tb=(50,), usd_a_gb=(0.02,))
    with pytest.raises(PriceError, match="rising steps"):
        Storage(steps_tb=(50, 10), usd_a_gb=(0.02, 0.01, 0.01))


def test_an_old_table_is_named():
    prices = load_prices(PRICES, {})
    assert "days old" not in report(prices, hours=1, gpus=1, months=1, today=TODAY)[0]
    assert "365 days old" in report(prices, hours=1, gpus=1, months=1, today=date(2027, 11, 22))[0]


def test_sources_are_named_and_assumptions_are_called_so():
    text = "\n".join(lines_of())
    assert "aws.amazon.com" in text
    assert "MFU 0.2 is assumed: no GPU was measured" in text
    assert len(re.findall(r"\(measured\)", text)) == 3


@pytest.mark.parametrize(
    "args",
    [["--hours", "0"], ["--hours", "-1"], ["--hours", "nan"], ["--gpus", "0"], ["--mfu", "1.5"], ["--mfu", "0"],
     ["--spot-share", "2"], ["--epochs", "0"], ["--epochs", "inf"], ["--replacement-s", "-1"]],
)  # fmt: skip
def test_values_that_make_no_sense_are_refused(args, capsys):
    with pytest.raises(SystemExit) as ended:
        main(args)
    assert ended.value.code == 2
    assert capsys.readouterr().err.count("\n") == 1


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (lambda text: "nonsense", "cannot be read as TOML"),
        (lambda text: text.replace("mfu =", "mfv ="), "mfv"),
        (lambda text: text.replace('node = "p4d', 'node = "p9d'), "none of its machines"),
        (lambda text: text.replace("as_of", "of"), "as_of"),
    ],
)
def test_a_table_that_cannot_be_used_is_one_line(tmp_path, capsys, change, problem):
    (tmp_path / "prices.toml").write_text(change(PRICES.read_text(encoding="utf-8")))
    assert main(["--prices", str(tmp_path / "prices.toml")]) == 2
    err = capsys.readouterr().err
    assert problem in err
    assert err.count("\n") == 1


def test_interruptions_that_leave_no_time(capsys):
    assert main(["--interruptions-a-day", "300"]) == 2
    assert "nothing is ever trained" in capsys.readouterr().err
