from pathlib import Path

import numpy as np
import pytest

from signals.patterns.bank import PATTERNS_FILE, SEGMENTS_FILE, Bank, HeldOut, read_arrays, write_arrays


def test_a_bank_comes_back_as_it_was_and_the_same_content_gives_the_same_bytes(
    toy_bank: Path, toy_patterns: Bank, tmp_path: Path
) -> None:
    digest = write_arrays(tmp_path / "again.npz", toy_patterns)
    assert (tmp_path / "again.npz").read_bytes() == (toy_bank / PATTERNS_FILE).read_bytes()
    again, other = read_arrays(tmp_path / "again.npz", Bank)
    assert digest == other
    np.testing.assert_array_equal(again.samples(3), toy_patterns.samples(3))
    assert isinstance(again.sfreq, float)


def test_what_is_no_bank_is_refused_with_a_reason(toy_bank: Path, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="make a bank with cerebeam bank"):
        read_arrays(tmp_path / PATTERNS_FILE, Bank)
    (tmp_path / "text.npz").write_text("no")
    with pytest.raises(ValueError, match="is no bank"):
        read_arrays(tmp_path / "text.npz", Bank)
    with pytest.raises(ValueError, match="holds no Bank"):
        read_arrays(toy_bank / SEGMENTS_FILE, Bank)
    with np.load(toy_bank / SEGMENTS_FILE) as file:
        arrays = {name: file[name] for name in file.files}
    np.savez(tmp_path / "changed.npz", **{**arrays, "votes_SK": arrays["votes_SK"] + 1})
    with pytest.raises(ValueError, match="changed since it was written"):
        read_arrays(tmp_path / "changed.npz", HeldOut)
    np.savez(tmp_path / "newer.npz", **{**arrays, "schema_version": np.asarray(99)})
    with pytest.raises(ValueError, match="no bank of schema 1"):
        read_arrays(tmp_path / "newer.npz", HeldOut)
