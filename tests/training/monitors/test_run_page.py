import json
from pathlib import Path

from model.heads import HEADS
from training.monitors.run_page import run_page, write_run_page


def lines(n: int) -> list[dict[str, float]]:
    return [
        {"step": k, "loss": 1.0 / k, "grad_norm": 2.0, "valid_error": 0.5 if k % 10 == 0 else float("nan")}
        for k in range(1, n + 1)
    ]


def test_page_shows_what_was_logged_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines(1000)))
    write_run_page(tmp_path / "metrics.jsonl")
    page = (tmp_path / "curves.html").read_text()
    assert "1000 steps, the last is number 1000" in page
    assert "Gradient norm" in page
    assert "Error at hidden samples" in page
    assert "Model FLOPs utilisation" not in page
    assert "http" not in page.replace("http-equiv", "")
    # 200 points of 5 steps each: the first is the median of 1, 1/2, 1/3, 1/4, 1/5 at step 5
    assert "loss: 0.333 at step 5" in page


def test_every_head_has_a_curve_of_its_own() -> None:
    page = run_page([{"step": 1, "loss": 1.0, **dict.fromkeys(HEADS, 0.25)}, {"step": 2, "loss": 0.5}])
    assert {"spectral", "sleep"} < set(HEADS)
    assert all(f"{name}: 0.25 at step 1" in page for name in HEADS)


def test_a_run_without_steps_has_no_page(tmp_path: Path) -> None:
    write_run_page(tmp_path / "metrics.jsonl")
    assert list(tmp_path.iterdir()) == []
    assert "1 steps" in run_page(lines(1))


def test_a_curve_that_stays_at_zero_is_drawn() -> None:
    assert "valid_balanced_accuracy: 0 at step 1" in run_page([{"step": 1, "valid_balanced_accuracy": 0.0}])
