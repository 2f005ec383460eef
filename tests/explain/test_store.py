import numpy as np
import pytest

from explain.explanation import Explanation
from explain.store import Explained, read_explanations, write_explanations

NAMES = ("F3", "F4")


def explained(values, **fields):
    given = {"method": "m", "target": 1, "score": 2.0, "base": 0.5} | fields
    return Explained(
        explanation=Explanation(values=np.asarray(values, float), **given), window="w", facts={"label": "x"}
    )


def test_what_was_written_is_read(tmp_path):
    rng = np.random.default_rng(0)
    rows = [
        explained(rng.normal(size=(2, 8, 2)), bands=((0.5, 4.0), (4.0, 8.0))),
        explained(rng.normal(size=(2, 8, 1)), has_channels=False, sums=False, method="é"),
    ]
    write_explanations(tmp_path / "e.npz", rows, ch_names=NAMES)
    names, again = read_explanations(tmp_path / "e.npz")
    assert names == NAMES
    for row, back in zip(rows, again, strict=True):
        np.testing.assert_allclose(back.explanation.values, row.explanation.values, atol=1e-6)
        assert (back.window, back.facts) == (row.window, row.facts)
        for name in ("method", "target", "score", "base", "bands", "has_channels", "sums"):
            assert getattr(back.explanation, name) == getattr(row.explanation, name)


@pytest.mark.parametrize("values", [np.full((2, 8, 1), np.nan), np.zeros((3, 8, 1)), np.zeros((2, 8))])
def test_what_is_not_finite_or_of_other_channels_is_not_written(tmp_path, values):
    with pytest.raises(ValueError, match="2 channels are named"):
        write_explanations(tmp_path / "e.npz", [explained(values)], ch_names=NAMES)
    assert list(tmp_path.iterdir()) == []


def test_damage_is_one_line(tmp_path):
    write_explanations(tmp_path / "e.npz", [explained(np.zeros((2, 8, 1)))], ch_names=NAMES)
    raw = (tmp_path / "e.npz").read_bytes()
    for damaged in (b"", b"x" * 50, raw[: len(raw) // 2], raw[:-30]):
        (tmp_path / "d.npz").write_bytes(damaged)
        with pytest.raises(ValueError, match="holds no explanations"):
            read_explanations(tmp_path / "d.npz")
    np.savez(tmp_path / "p.npz", facts=np.array({"a": 1}, dtype=object))  # a pickle
    with pytest.raises(ValueError, match="holds no explanations"):
        read_explanations(tmp_path / "p.npz")
    with pytest.raises(ValueError, match="holds no explanations"):
        read_explanations(tmp_path / "missing.npz")
