"""A whole recording's answers: by window at a hop, per second, as events; of files, arrays, Raws and short segments."""

import json
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import mne
import numpy as np
import pytest
from scipy.io import savemat

from serving.bundle import load_bundle
from serving.predict import events_table, main
from serving.prediction import Event, Prediction, at_hop, predict_recording, spoken_of, usual_hop_s
from serving.runtime import Answer, run, windows_of_file
from signals.bundles.bundle import BundleError
from signals.modality import EEG_1020
from signals.readers.memory import recording_of_array, to_raw
from signals.readers.registry import open_recording
from signals.sites.card import CardError
from signals.tasks import SIX_CLASS as TASK
from signals.windows.profiles import PRETRAIN, SIX_CLASS, SLEEP
from synthetic.recordings.files import write_edf

NAMES = EEG_1020.ch_names


def eeg(seconds, *, seed=0, sfreq=200):
    x = np.random.default_rng(seed).normal(size=(19, seconds * sfreq)).cumsum(axis=1)
    return 20 * (x - x.mean(axis=1, keepdims=True)) / x.std()


def edf(path, x):
    write_edf(path, [x], file_format="edf", ch_names=NAMES, sfreq=200, patient="X",
              record_onsets_s=range(x.shape[1] // 200))  # fmt: skip
    return str(path)


@pytest.fixture(scope="module")
def bundle(served):
    return load_bundle(served.bundle)


def test_answers_follow_each_other_at_the_length_of_what_they_speak_of(bundle, tmp_path):
    path = edf(tmp_path / "a.edf", eeg(85))
    prediction = bundle.predict(open_recording(path), mains_hz=60)
    # Windows begin at 0, 10, 20, 30; 40 + 50 lies beyond 85 s.
    assert list(prediction.spans_s) == [(20.0, 30.0), (30.0, 40.0), (40.0, 50.0), (50.0, 60.0)]
    assert [(answer.start_s, answer.stop_s) for answer in prediction.answers][-1] == (30.0, 80.0)
    assert (prediction.hop_s, prediction.span_s, prediction.window_s) == (10.0, (20.0, 30.0), 50.0)
    (first,) = run(bundle, windows_of_file(bundle, path, mains_hz=60))
    # A hop changes which windows there are, not what a window gets; float32 sums depend on the size of a batch.
    assert prediction.answers[0].class_probabilities == pytest.approx(first.class_probabilities, abs=1e-5)
    rarer = bundle.predict(open_recording(path), mains_hz=60, hop_s=30)
    assert rarer.spans_s == prediction.spans_s[::3]
    for a, b in zip(rarer.answers, prediction.answers[::3], strict=True):
        assert a.class_probabilities == pytest.approx(b.class_probabilities, abs=1e-5)


def test_seconds_are_the_mean_of_the_windows_that_speak_of_them(bundle):
    recording = recording_of_array(eeg(75), ch_names=NAMES, sfreq=200.0)
    prediction = bundle.predict(recording, hop_s=5, mains_hz=60)
    assert len(prediction.answers) == 6  # windows at 0, 5, ..., 25
    seconds = prediction.seconds
    assert seconds.onsets_s.tolist() == list(range(20, 55))
    probs = np.array([list(answer.class_probabilities.values()) for answer in prediction.answers])
    np.testing.assert_allclose(seconds.probabilities[0], probs[0])  # 20 s: the first window alone
    np.testing.assert_allclose(seconds.probabilities[7], probs[:2].mean(axis=0))  # 27 s: the first two
    np.testing.assert_allclose(seconds.probabilities.sum(axis=1), 1.0)


def answered(spans):
    """Return a prediction of made-up answers: (first second of ten, class, probability)."""
    answers = []
    for first, label, probability in spans:
        rest = (1 - probability) / 5
        probs = {name: probability if name == label else rest for name in TASK.classes}
        answers.append(
            Answer(
                start_s=first - 20.0, stop_s=first + 30.0, predicted_class=label,
                class_probabilities=probs, confidence=probability, uncertainty={}, prediction_set=None,
                clinical_recommendation="",
            )
        )  # fmt: skip
    return Prediction(
        classes=TASK.classes, findings=TASK.findings, window_s=50.0, span_s=(20.0, 30.0), hop_s=10.0,
        answers=tuple(answers),
    )  # fmt: skip


def test_neighbouring_seconds_of_one_finding_are_one_event():
    prediction = answered([
        (20, "LPD", 0.6), (30, "LPD", 0.8), (40, "Other", 0.9), (50, "Seizure", 0.7),
        (70, "Seizure", 0.5),  # after a gap
        (80, "GPD", 0.9), (85, "Seizure", 0.5),
    ])  # fmt: skip
    found = [(event.label, event.onset_s, event.duration_s, round(event.probability, 3)) for event in prediction.events]
    # 85-90 s: the mean of GPD .9 and Seizure .5 is GPD's, (.9 + .1) / 2 against (.02 + .5) / 2.
    assert found == [
        ("LPD", 20.0, 20.0, 0.8), ("Seizure", 50.0, 10.0, 0.7), ("Seizure", 70.0, 10.0, 0.5),
        ("GPD", 80.0, 10.0, 0.9), ("Seizure", 90.0, 5.0, 0.5),
    ]  # fmt: skip
    assert answered([]).events == ()
    assert answered([]).seconds.probabilities.shape == (0, 6)
    assert [event.onset_s for event in answered([(-1, "LPD", 0.9)]).events] == [-1.0]


def test_any_form_of_a_recording_gives_the_same(bundle, tmp_path):
    x = eeg(60)
    opened = open_recording(edf(tmp_path / "a.edf", x))
    stored = opened.read(range(19))
    of_file = bundle.predict(opened, mains_hz=60)
    of_array = bundle.predict(stored, ch_names=NAMES, sfreq=200.0, mains_hz=60)
    of_volts = bundle.predict(stored * 1e-6, ch_names=NAMES, sfreq=200.0, unit="V", mains_hz=60)
    of_raw = bundle.predict(to_raw(opened), mains_hz=60)
    for other in (of_array, of_volts, of_raw):
        assert len(other.answers) == len(of_file.answers) == 2
        np.testing.assert_allclose(other.seconds.probabilities, of_file.seconds.probabilities, atol=1e-4)
    with pytest.raises(TypeError, match="an array needs ch_names and sfreq"):
        bundle.predict(stored)
    with pytest.raises(TypeError, match="list is no path, mne.io.Raw, array or Recording"):
        bundle.predict([1, 2])


def test_a_segment_of_ten_seconds_is_answered(served, bundle, tmp_path, capsys):
    x = np.r_[eeg(10), np.zeros((1, 2000))]
    savemat(tmp_path / "a.mat", {"seg_10sec": x})  # rows in HMS order, EKG last
    prediction = bundle.predict(open_recording(str(tmp_path / "a.mat")))
    (answer,) = prediction.answers
    assert prediction.spans_s == ((0.0, 10.0),)
    assert main([str(served.bundle), str(tmp_path / "a.mat"), "--json"]) == 0
    (row,) = map(json.loads, capsys.readouterr().out.splitlines())
    assert (row["span_s"], row["start_s"], row["hop_s"]) == ([0.0, 10.0], -20.0, 10.0)
    assert row["class_probabilities"] == pytest.approx(answer.class_probabilities)


@pytest.mark.parametrize(("n_events", "head"), [(0, "0 events ("), (1, "1 event ("), (2, "2 events (")])
def test_events_are_counted_in_words(n_events, head):
    events = [Event(label="LPD", onset_s=20.0 * n, duration_s=10.0, probability=0.75) for n in range(n_events)]
    lines = events_table(events).splitlines()
    assert lines[0].startswith(head)
    wanted = [f"{20 * n} {20 * n + 10} LPD, up to 0.750" for n in range(n_events)]
    assert [" ".join(line.split()) for line in lines[1:]] == wanted


def test_the_command_prints_span_hop_and_events(served, tmp_path, capsys):
    path = edf(tmp_path / "a.edf", eeg(80))
    assert main([str(served.bundle), path]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "each answer is about the window's seconds 20 to 30 of 50 s, every 10 s"
    assert [line.split()[:2] for line in lines[2:6]] == [[f"{k}.00", f"{k + 10}.00"] for k in (20, 30, 40, 50)]
    [head] = [number for number, line in enumerate(lines) if "(neighbouring seconds of one finding):" in line]
    n_events = len([line for line in lines[head + 1 :] if ", up to " in line])
    assert n_events >= 1
    assert lines[head].startswith("1 event (" if n_events == 1 else f"{n_events} events (")
    assert main([str(served.bundle), path, "--hop", "5", "--per-second", "--json"]) == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [row["onset_s"] for row in rows] == list(range(20, 60))
    assert main([str(served.bundle), path, "--per-second"]) == 0
    assert len(capsys.readouterr().out.splitlines()) > 40 + 2


@pytest.mark.parametrize("hop", ["0", "-5", "0.001", "nan", "inf"])
def test_a_hop_that_cannot_be_is_one_line(served, capsys, hop):
    assert main([str(served.bundle), str(served.edf), f"--hop={hop}"]) == 2
    printed = capsys.readouterr()
    assert (printed.out, printed.err.count("\n")) == ("", 1)
    assert "hop_s=" in printed.err


def test_hops_of_other_tasks():
    assert (usual_hop_s(SIX_CLASS), usual_hop_s(SLEEP), usual_hop_s(PRETRAIN)) == (10.0, 30, 10)
    assert at_hop(SIX_CLASS, 2.5) == replace(SIX_CLASS, windows="tile", hop_s=2.5)
    with pytest.raises(BundleError, match="hop_s=0"):
        at_hop(SIX_CLASS, 0)
    whole = replace(answered([]), span_s=(0.0, 50.0))
    assert spoken_of(whole) == "each answer is about the whole window of 50 s, every 10 s"


def test_a_site_card_is_obeyed(served, tmp_path, capsys):
    np.save(tmp_path / "a.npy", eeg(50))
    card = tmp_path / "cards" / "lab.yaml"
    card.parent.mkdir()
    text = f"name: lab\nfiles: '*.npy'\nlayout: {{formats: npy, rate: 200, unit: µV, channels: {list(NAMES)}}}\n"
    card.write_text(text, encoding="utf-8")
    assert main([str(served.bundle), str(tmp_path / "a.npy")]) == 2
    assert "unsupported_format" in capsys.readouterr().err
    assert main([str(served.bundle), str(tmp_path / "a.npy"), "--site-card", str(card), "--json"]) == 0
    given = capsys.readouterr().out
    (tmp_path / "site-card.yaml").write_text(text, encoding="utf-8")
    assert main([str(served.bundle), str(tmp_path / "a.npy"), "--json"]) == 0
    assert capsys.readouterr().out == given
    assert main([str(served.bundle), str(served.edf), "--site-card", str(card)]) == 2
    assert "speaks of files *.npy, not of this one" in capsys.readouterr().err


def test_memory_is_answered_without_torch_or_beam(served):
    code = (
        "import sys\n"
        "import numpy as np\n"
        "from serving.bundle import load_bundle\n"
        f"bundle = load_bundle({str(served.bundle)!r})\n"
        "x = np.random.default_rng(0).normal(size=(19, 10000)).cumsum(axis=1)\n"
        f"print(len(bundle.predict(x / x.std() * 20, ch_names={NAMES!r}, sfreq=200.0).answers))\n"
        "print(sorted({'torch', 'apache_beam', 'pandas', 'sklearn'} & set(sys.modules)))\n"
    )
    root = Path(__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=root, timeout=120)
    assert done.stdout.split("\n")[:2] == ["1", "[]"], done.stderr


def test_an_encoder_has_no_answers(bundle):
    encoder = replace(bundle, task=None)
    with pytest.raises(BundleError, match="holds an encoder"):
        predict_recording(encoder, recording_of_array(eeg(50), ch_names=NAMES, sfreq=200.0))


def test_the_snippet_of_the_readme_runs(served, bundle, tmp_path, monkeypatch):
    text = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
    (snippet,) = re.findall(r"^```python\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    (tmp_path / "BUNDLE").symlink_to(served.bundle)
    path = edf(tmp_path / "night.edf", eeg(60))
    monkeypatch.chdir(tmp_path)
    names = {}
    exec(snippet, names)
    assert names["prediction"] == bundle.predict(path)
    assert list(names["prediction"].spans_s) == [(20.0, 30.0), (30.0, 40.0)]
    assert names["windows"].data.shape == (1, 19, 50 * 256)  # of 60 s, at the hop of 50 s of the profile


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_the_blocks_of_the_page_on_python_run(served, tmp_path, monkeypatch):
    text = (Path(__file__).parents[2] / "docs" / "python.md").read_text(encoding="utf-8")
    blocks = re.findall(r"^```python\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    (tmp_path / "BUNDLE").symlink_to(served.bundle)
    (tmp_path / "SHARDS").symlink_to(served.shards)
    edf(tmp_path / "night.edf", eeg(60))
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    names = {"mne": mne, "x": rng.normal(size=(16, 2, 512)), "y": [0, 1] * 8, "subjects": np.repeat(range(8), 2)}
    for block in blocks:
        exec(block, names)
    assert len(blocks) == 4
    assert names["epochs"].get_data().shape[1] == 19
    assert {"signal", "votes"} < set(names["batch"])


def test_a_path_is_answered_as_its_recording_and_the_answer_becomes_a_frame_and_annotations(bundle, tmp_path):
    path = edf(tmp_path / "a.edf", eeg(85))
    prediction = bundle.predict(path, mains_hz=60)
    assert prediction == bundle.predict(open_recording(path), mains_hz=60)
    frame = prediction.to_frame()
    assert frame[["start_s", "stop_s"]].to_records(index=False).tolist() == list(prediction.spans_s)
    assert list(frame.columns[3:]) == list(TASK.classes)
    np.testing.assert_allclose(frame[list(TASK.classes)].sum(axis=1), 1.0)
    assert frame["predicted_class"].tolist() == [answer.predicted_class for answer in prediction.answers]
    empty = replace(prediction, answers=())
    assert list(empty.to_frame().columns) == list(frame.columns)
    assert len(empty.to_annotations()) == 0


def test_events_lie_where_they_belong_in_a_raw_that_was_cut(bundle):
    raw = to_raw(recording_of_array(eeg(60), ch_names=NAMES, sfreq=200.0)).crop(7.0)
    found = answered([(0, "Other", 0.9), (10, "LPD", 0.8), (20, "LPD", 0.7)])
    marks = found.to_annotations()
    # Onsets count from the first sample, which in a cut Raw is not sample 0.
    raw.set_annotations(marks)
    assert [(mark["onset"] - raw.first_time, mark["duration"], mark["description"]) for mark in raw.annotations] == [
        (pytest.approx(event.onset_s), event.duration_s, event.label) for event in found.events
    ]
    assert len(found.events) == 1


def test_a_card_beside_a_file_speaks_for_it_and_one_that_does_not_is_refused(bundle, tmp_path):
    path = edf(tmp_path / "a.edf", eeg(60))
    (tmp_path / "card.yaml").write_text("name: here\nfiles: '*.edf'\nmains: 60\n")
    with_card = bundle.predict(path, site_card=str(tmp_path / "card.yaml"))
    assert with_card == bundle.predict(path, mains_hz=60)
    (tmp_path / "other.yaml").write_text("name: here\nfiles: '*.bdf'\n")
    with pytest.raises(CardError, match="not of this one"):
        bundle.predict(path, site_card=str(tmp_path / "other.yaml"))


@pytest.mark.parametrize("mains", ["-5", "0", "nan", "inf", "fifty"])
def test_a_mains_frequency_that_cannot_be_is_refused_before_the_file_is_opened(mains, capsys):
    with pytest.raises(SystemExit) as ended:
        main(["BUNDLE", "night.edf", f"--mains-hz={mains}"])
    assert ended.value.code == 2
    assert capsys.readouterr().err == (
        f"cerebeam predict: argument --mains-hz: {mains} must be a number above 0; see --help\n"
    )
