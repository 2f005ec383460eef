import json

import pytest

from serving.bench import Measured, main, table


def test_forms_are_measured_side_by_side(served, tmp_path, capsys):
    args = ["--rounds", "2", "--repeats", "2", "--batch-size", "3", "--output", str(tmp_path / "f.json")]
    torch_side = ["--model", str(served.model), "--torch-forms", "eager", "int8"]
    assert main([str(served.bundle), *torch_side, "--segment", str(served.edf), *args, "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert "ONNX Runtime" in printed["hardware"]
    assert printed == json.loads((tmp_path / "f.json").read_text())
    forms = {one["form"]: one for one in printed["forms"]}
    assert list(forms) == ["bundle", "torch eager", "torch int8"]
    for one in forms.values():
        assert len(one["latency_ms"]) == 4
        assert len(one["segment_ms"]) == 2
        assert min(one["segment_ms"]) > min(one["latency_ms"]) > 0  # preparation is a part of it
        assert one["first_answer_s"] > 0
    assert forms["bundle"]["peak_mb"] < forms["torch eager"]["peak_mb"]
    assert forms["torch int8"]["n_bytes"] < forms["torch eager"]["n_bytes"]


def test_figures_come_from_the_repeats():
    one = Measured(form="f", n_bytes=1, first_answer_s=1.0, peak_mb=1.0, latency_ms=tuple(range(1, 102)),
                   segment_ms=(5.0, 7.0, 9.0), batch_s=(0.5, 1.0, 2.0), batch_size=16)  # fmt: skip
    assert (one.latency(50), one.latency(95)) == (51.0, 96.0)
    assert one.segment_p50_ms == 7.0
    assert one.throughput == 16.0
    # p50, p95, p99 (the 100th of 101 values), segment, throughput, first answer, memory, size.
    assert table([one]).splitlines()[1].split() == ["f", "51.0", "96.0", "100.0", "7.0", "16.0", "1.00", "1", "0.00"]


@pytest.mark.parametrize(("args", "says"), [(["--rounds", "0"], "at least 1"), ([], "is no bundle")])
def test_bad_input_is_one_line(tmp_path, capsys, args, says):
    try:
        code = main([str(tmp_path), "--segment", "segment.edf", *args])
    except SystemExit as ended:
        code = ended.code
    err = capsys.readouterr().err
    assert (code, err.count("\n")) == (2, 1)
    assert says in err
