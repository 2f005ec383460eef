import pytest

from signals.readers.channels.sensor_types import sensor_type_of
from signals.recording.recording import SENSOR_TYPES

# Labels of real files: Siena, SeizeIT1, CHB-MIT, Sleep-EDF, BioSemi, PhysioNet, MNE, Emotiv; and of polysomnography as
# MESA, SHHS, MrOS, CFS, ISRUC, CAP, DREAMS and PhysioNet 2018 name it. E1 alone may be an electrode of a dense net.
LABELS = {
    "eeg": "Fp1|EEG Fp1-REF|FP1-F7|Fc5.|EEG A2-A1|T8-P8|EEG Fpz-Cz|Cz|POz|A1|M2|"
    "EEG F4-Ref|CZ-A2|AF3|E1|E2|E128|E1-REF|F3-M2|C4-A1|CPz|P9",
    "ecg": "ECG|EKG|ECG ECG|EKG1|EKG 2|ecg+|ECG1-ECG2|ECG L|ECG-II",
    "eog": "EOG|HEOG|VEOGo|EOG horizontal|EOG1|LOC|ROC-A1|EOG_left|EOG-L|EOG(R)|E1-M2|E2:A1|"
    "E1-Fpz|EOG E2-M2|LOC-A2|ROC-LOC|EOG dx|HEOL|VEOU|HEO|LO1|IO2|L Eye|REye",
    "emg": "Chin EMG|EMG submental|EMG1|Chin 1-Chin 2|Left leg|L Chin|cchin|Chin1-Chin2|"
    "EMG1-EMG2|LAT|RAT|LLEG1|PLMr|TIB sin|Leg/R|EMG+|Mentalis",
    "resp": "Resp oro-nasal|Resp|Airflow|THORAX|Thoracic effort|Abdomen|Nasal pressure|Chest|Thor|ABD",
    "stim": "Status|STI 014|STI101|DIG DTRIG|Trigger|Event marker|MK|Photic",
    "misc": "SpO2|SAO2|PLETH|HR|Temp rectal|Acc X|ACC_Y|GyroX|EXG1|DC01|CQ_AF3|Snore",
}


@pytest.mark.parametrize(("sensor_type", "labels"), LABELS.items())
def test_labels_of_real_files(sensor_type, labels):
    assert sensor_type in SENSOR_TYPES
    assert {label: sensor_type_of(label) for label in labels.split("|")} == dict.fromkeys(
        labels.split("|"), sensor_type
    )
