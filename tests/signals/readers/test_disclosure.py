"""Identities are planted wherever a format has room for them; none may come out but for the text to be hashed."""

import dataclasses
import logging
import pickle
from datetime import date

import mne
import numpy as np
import pyedflib
import pytest

from signals.readers.disclosure import event_counts, hide_names, known_reference
from signals.readers.registry import open_recording, source_files
from signals.recording.recording import UnreadableError

PLANTED = ("Mustermann", "Erika", "MRN4711", "Dr. Quincy", "SN-998877", "1961", "0049-30-1234", "tech.Nora")


def everything(recording):
    """All that a recording discloses, but for the file's own path and the text that is kept for hashing."""
    fields = {
        field.name: getattr(recording, field.name)
        for field in dataclasses.fields(recording)
        if field.name not in {"uri", "patient", "read_samples"}
    }
    return repr(fields) + repr(recording)


def assert_nothing_planted(text):
    assert [word for word in PLANTED if word.lower() in text.lower()] == []


@pytest.fixture
def edf(tmp_path):
    path = tmp_path / "x.edf"
    with pyedflib.EdfWriter(str(path), 1, file_type=pyedflib.FILETYPE_EDFPLUS) as writer:
        writer.setSignalHeader(
            0,
            {
                "label": "EEG Fp1",
                "dimension": "uV",
                "sample_frequency": 100,
                "physical_min": -500.0,
                "physical_max": 500.0,
                "digital_min": -32768,
                "digital_max": 32767,
                "transducer": "electrode of Mustermann",
                "prefilter": "SN-998877",
            },
        )
        writer.setPatientName("Erika_Mustermann")
        writer.setPatientCode("MRN4711")
        writer.setBirthdate(date(1961, 3, 12))
        writer.setTechnician("tech.Nora")
        writer.setEquipment("SN-998877")
        writer.setAdmincode("0049-30-1234")
        writer.writeSamples([np.sin(np.arange(500.0))])
        writer.writeAnnotation(1.0, 0.5, "Seizure onset")
        writer.writeAnnotation(2.0, 0, "Erika Mustermann, 12.03.1961, seen by Dr. Quincy")
        writer.writeAnnotation(3.0, 0, "eyes closed")
    return path


def test_edf_lets_only_event_words_out(edf):
    recording = open_recording(str(edf))
    assert [a.description for a in recording.annotations] == ["seizure", "other", "eyes closed"]
    assert event_counts(recording) == {"eyes closed": 1, "other": 1, "seizure": 1}
    assert_nothing_planted(everything(recording))
    assert recording.patient == "MRN4711"  # the code, for the hash; not in the recording's repr, as above


def test_brainvision_lets_only_event_words_out(tmp_path):
    (tmp_path / "x.vhdr").write_text(
        "Brain Vision Data Exchange Header File Version 1.0\n; Erika Mustermann, born 1961\n[Common Infos]\n"
        "DataFile=x.eeg\nMarkerFile=x.vmrk\nDataFormat=BINARY\nNumberOfChannels=1\nSamplingInterval=4000\n"
        "[Binary Infos]\nBinaryFormat=INT_16\n[Channel Infos]\nCh1=Fp1,electrode of Mustermann,0.1,µV\n"
        "[Comment]\nAmplifier SN-998877, tech.Nora\n",
        encoding="utf-8",
    )
    (tmp_path / "x.vmrk").write_text(
        "Brain Vision Data Exchange Marker File, Version 1.0\n[Marker Infos]\n"
        "Mk1=New Segment,,1,1,0,19610312100000000000\n"
        "Mk2=Comment,Erika Mustermann coughs,10,1,0\nMk3=Stimulus,S  7,20,1,0\nMk4=Comment,eyes open,30,1,0\n"
    )
    (tmp_path / "x.eeg").write_bytes(bytes(2000))
    recording = open_recording(str(tmp_path / "x.vhdr"))
    assert [a.description for a in recording.annotations] == ["other", "S7", "eyes open"]
    assert recording.reference == "other"
    assert_nothing_planted(everything(recording))


def test_fif_lets_only_event_words_out(tmp_path):
    info = mne.create_info(["Fp1"], 100.0, "eeg")
    raw = mne.io.RawArray(np.zeros((1, 1000)), info, verbose="ERROR")
    raw.set_meas_date(0)
    info = raw.info
    info["subject_info"] = {
        "his_id": "MRN4711",
        "last_name": "Mustermann",
        "first_name": "Erika",
        "birthday": date(1961, 3, 12),
    }
    info["experimenter"] = "tech.Nora"
    info["description"] = "for Dr. Quincy"
    info["device_info"] = {"type": "EEG", "model": "x", "serial": "SN-998877", "site": "0049-30-1234"}
    raw.set_annotations(
        mne.Annotations([1.0, 2.0], [0.0, 0.0], ["Erika M. 1961", "spike"], orig_time=raw.info["meas_date"])
    )
    raw.save(tmp_path / "x_raw.fif", verbose="ERROR")
    recording = open_recording(str(tmp_path / "x_raw.fif"))
    assert [a.description for a in recording.annotations] == ["other", "spike"]
    assert_nothing_planted(everything(recording))
    assert "Mustermann" in recording.patient


@pytest.mark.parametrize(
    ("name", "octets"),
    [
        ("Erika_Mustermann_1961.fif", b"\x00\x00\x00\x64\x00\x00\x00\x1f" + b"\x07" * 500),
        ("Erika_Mustermann_1961.mat", b"MATLAB 5.0 MAT-file".ljust(500, b"\x07")),
        ("Erika_Mustermann_1961.csv", b"Erika,Mustermann,1961\n1,2,3\n"),
        ("Erika_Mustermann_1961.edf", b"0       " + b"Erika Mustermann 1961".ljust(2000)),
        ("Erika_Mustermann_1961.parquet", b"PAR1 Mustermann PAR1"),
        ("Erika_Mustermann_1961.vhdr", b"Brain Vision Data Exchange Header File\n[Common Infos]\n"
         b"DataFile=Mustermann.eeg\nNumberOfChannels=1\nSamplingInterval=4000\n"
         b"[Binary Infos]\nBinaryFormat=INT_16\n[Channel Infos]\nCh1=a\n"),
    ],
)  # fmt: skip
def test_refusals_and_logs_name_nobody(tmp_path, caplog, name, octets):
    path = tmp_path / name
    path.write_bytes(octets)
    caplog.set_level(logging.INFO)
    with pytest.raises(UnreadableError) as caught:
        open_recording(str(path))
    assert_nothing_planted(str(caught.value) + repr(caught.value.__cause__) + caplog.text)
    assert caught.value.__suppress_context__


def test_a_missing_file_is_not_named(tmp_path):
    with pytest.raises(UnreadableError) as caught:
        source_files(tmp_path / "Mustermann.edf")
    assert caught.value.detail == "(the file) does not exist"


def test_names_are_hidden_as_whole_words_only():
    error = UnreadableError("reader_crashed", "run: no /data/run.mat; the run ended in a runtime error")
    hidden = hide_names(error, "/data/run.mat")
    assert hidden.detail == "(the file): no (the file); the (the file) ended in a runtime error"
    assert hide_names(pickle.loads(pickle.dumps(error)), "/x/other.mat").detail == error.detail


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("Cz", "Cz"),
        ("A1+A2", "A1+A2"),
        ("average", "average"),
        ("linked ears", "linked ears"),
        ("", ""),
        ("Mustermann's left ear", "other"),
        ("TP9, TP10", "TP9, TP10"),
    ],
)
def test_references_are_known_ones(text, kept):
    assert known_reference(text) == kept


def test_every_usual_reference_is_kept_as_written():
    usual = ("common", "Average", "AVEREF", "avg", "CAR", "REST", "linked", "Linked_Ears", "linked-mastoids",
             "mastoids", "earlobes", "nose", "REF", "CMS", "CMS/DRL", "LE", "lm",
             " A1 / A2 ", "M1 and M2", "Fz-Cz")  # fmt: skip
    assert [known_reference(text) for text in usual] == [text.strip() for text in usual]
    for text in ("Average of Erika", "Cz of Erika", "linked ears 1961", "A1 or A2"):
        assert known_reference(text) == "other"


def test_names_of_three_letters_are_hidden_and_shorter_ones_are_not():
    error = UnreadableError("reader_crashed", "in eva: no Eva, eva_2 or x")
    assert hide_names(error, "/data/eva.edf").detail == "in (the file): no Eva, eva_2 or x"
    assert hide_names(error, "/data/x.edf") is error
    assert hide_names(error, "/data/eva.edf").reason == "reader_crashed"


def test_a_path_is_hidden_with_its_folders_however_it_was_spelled():
    error = UnreadableError("reader_crashed", "cannot open lab/eva/eva.edf")
    assert hide_names(error, "./lab//eva/eva.edf").detail == "cannot open (the file)"
