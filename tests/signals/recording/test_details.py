import datetime
import json

import mne
import numpy as np
import pytest

from signals.readers.registry import open_recording, reopen_recording
from signals.recording.details import DEVICES, KEEPABLE, Details, age_group, known_device
from synthetic.recordings.files import write_edf


def edf(path, *, patient="PAT-7 F 02-MAY-1951 Erika_Mustermann", recording="Startdate 14-OCT-2008 X X BrainAmp_SN12345",
        date="14.10.08", time="20.48.12"):  # fmt: skip
    x = (20 * np.random.default_rng(0).standard_normal((2, 512))).astype(np.float32)
    write_edf(path, [x], file_format="edf", ch_names=["C3", "C4"], sfreq=256, patient="p", record_onsets_s=[0, 1])
    octets = bytearray(path.read_bytes())
    for at, text, width in ((8, patient, 80), (88, recording, 80), (168, date, 8), (176, time, 8)):
        octets[at : at + width] = text.encode().ljust(width)
    path.write_bytes(octets)
    return path


def test_nothing_is_kept_unless_requested(tmp_path):
    path = edf(tmp_path / "a.edf")
    assert open_recording(str(path)).details == Details()
    # 57 years and five months at a quarter to nine in the evening.
    whole = open_recording(str(path), keep=KEEPABLE)
    assert whole.details == Details(device="Brain Products", start_hour=20, age_group="40-64")
    assert open_recording(str(path), keep=["start-hour"]).details == Details(start_hour=20)
    assert open_recording(str(path), keep=["device"]).details == Details(device="Brain Products")
    assert open_recording(str(path), keep=["age-group"]).details == Details(age_group="40-64")
    assert reopen_recording(str(path), whole.header).details == Details()
    with pytest.raises(ValueError, match=r"keep=\['name'\] are none of device, start-hour, age-group"):
        open_recording(str(path), keep=["device", "name"])


def test_no_name_number_or_date_is_among_what_is_kept(tmp_path):
    details = open_recording(str(edf(tmp_path / "a.edf")), keep=KEEPABLE).details
    text = repr(details).lower()
    for word in ("erika", "mustermann", "pat-7", "12345", "1951", "2008", "oct", "may", "48"):
        assert word not in text
    assert known_device("Dr. Smith's lab, property of Mercy Hospital") == ""


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"time": "00.00.00"}, Details("Brain Products", None, "40-64")),
        ({"time": "25.00.00"}, Details("Brain Products", None, "40-64")),
        ({"patient": "X X X X"}, Details("Brain Products", 20, "")),
        ({"patient": "X F 01-JAN-0000 X"}, Details("Brain Products", 20, "")),
        ({"patient": "X F 02-MAY-2030 X"}, Details("Brain Products", 20, "")),  # born after it was recorded
        ({"patient": "X F 15-OCT-1990 X"}, Details("Brain Products", 20, "13-17")),  # a day short of 18
        ({"recording": "", "patient": "X F 13-OCT-1918 X"}, Details("", 20, "90+")),
        ({"recording": "Startdate X X X X", "date": "01.01.85"}, Details("", 20, "18-39")),
    ],
)  # fmt: skip
def test_edf_headers(tmp_path, changes, expected):
    assert open_recording(str(edf(tmp_path / "a.edf", **changes)), keep=KEEPABLE).details == expected


def test_brainvision_and_bids(tmp_path):
    folder = tmp_path / "set" / "sub-01" / "eeg"
    folder.mkdir(parents=True)
    stem = "sub-01_task-rest_eeg"
    (folder / f"{stem}.vhdr").write_text(
        "Brain Vision Data Exchange Header File Version 1.0\n[Common Infos]\n"
        f"DataFile={stem}.eeg\nMarkerFile={stem}.vmrk\n"
        "DataFormat=BINARY\nNumberOfChannels=1\nSamplingInterval=5000\n[Binary Infos]\nBinaryFormat=INT_16\n"
        "[Channel Infos]\nCh1=Cz,,0.1,µV\n"
    )
    (folder / f"{stem}.eeg").write_bytes(np.zeros(400, "<i2").tobytes())
    (folder / f"{stem}.vmrk").write_text(
        "Brain Vision Data Exchange Marker File Version 1.0\n[Marker Infos]\n"
        "Mk1=New Segment,,1,1,0,20190301093015000000\n"
    )
    uri = str(folder / f"{stem}.vhdr")
    assert open_recording(uri, keep=KEEPABLE).details == Details(start_hour=9)
    (folder / f"{stem.removesuffix('_eeg')}_eeg.json").write_text(
        json.dumps({"Manufacturer": "ANT Neuro", "ManufacturersModelName": "eego", "DeviceSerialNumber": "S-99"})
    )
    (tmp_path / "set" / "participants.tsv").write_text("participant_id\tage\tname\nsub-01\t89+\tErika\n")
    assert open_recording(uri, keep=KEEPABLE).details == Details("ANT Neuro", 9, "65-89", age=89)
    assert open_recording(uri).details == Details()


def test_fif(tmp_path):
    info = mne.create_info(["C3", "C4"], 256.0, "eeg")
    info["device_info"] = {"type": "BioSemi", "model": "ActiveTwo", "serial": "S-99"}
    info["subject_info"] = {"last_name": "Mustermann", "birthday": datetime.date(2001, 5, 2)}
    raw = mne.io.RawArray(2e-5 * np.random.default_rng(0).standard_normal((2, 512)), info, verbose="error")
    raw.set_meas_date(datetime.datetime(2019, 3, 1, 9, 30, tzinfo=datetime.UTC))
    raw.save(tmp_path / "a_raw.fif", verbose="error")
    path = str(tmp_path / "a_raw.fif")
    assert open_recording(path, keep=KEEPABLE).details == Details("BioSemi", None, "13-17")
    assert open_recording(path).details == Details()


@pytest.mark.parametrize(
    ("years", "group"),
    [
        (None, ""), (-0.1, ""), (0, "0"), (0.9, "0"), (1, "1-4"), (4.9, "1-4"), (5, "5-12"), (12.9, "5-12"),
        (13, "13-17"), (18, "18-39"), (39.9, "18-39"), (40, "40-64"), (65, "65-89"), (89.9, "65-89"), (90, "90+"),
        (129, "90+"), (130, ""),
    ],
)  # fmt: skip
def test_age_groups(years, group):
    assert age_group(years) == group


def test_devices_are_known_by_their_own_words():
    for maker, names in DEVICES.items():
        assert known_device(maker) == maker
        for name in names:
            assert known_device(f"Rec: {name.upper()} #77") == maker
