"""Every spelling of a unit that files use, and what becomes of samples in none or another one."""

import pytest

from signals.readers.channels.units import Scaling, channel_notes, is_unstated, scaling_of

SPELLINGS = {
    1e6: ("V", "v", "Volt", "volts"),
    1e3: ("mV", "MV", "millivolt", "milliVolts", "mvolt"),
    1.0: ("uV", "µV", "\u03bcV", " uv ", "microvolt", "Microvolts", "uVolt", "\u00b5volts"),
    1e-3: ("nV", "nanovolt", "nVolts"),
}
UNSAID = (
    "",
    " ",
    "n/a",
    "NA",
    "none",
    "-",
    "?",
    "unknown",
    "\u00e2\u00b5V",
    "\u00ce\u00bcV",
    "\u00e6V",
    "?V",
    "\ufffdV",
)


@pytest.mark.parametrize(("factor", "unit"), [(f, unit) for f, units in SPELLINGS.items() for unit in units])
def test_spellings_of_volts(factor, unit):
    assert scaling_of("Fp1", unit) == Scaling("eeg", factor)
    assert scaling_of("HEOG", unit, sensor_type="eog") == Scaling("eog", factor)
    # The heart stays in mV, a thousandth of the number of µV; a trigger is a code whatever unit stands beside it.
    assert scaling_of("ECG", unit) == Scaling("ecg", pytest.approx(factor * 1e-3))
    assert scaling_of("STI", unit, sensor_type="stim") == Scaling("stim", 1.0)
    assert not is_unstated(unit)


@pytest.mark.parametrize("unit", UNSAID)
def test_without_a_unit_electrodes_are_taken_as_microvolts(unit):
    assert is_unstated(unit)
    assert scaling_of("Fp1", unit) == Scaling("eeg", 1.0, "unit_guessed")
    assert scaling_of("EMG chin", unit, sensor_type="emg") == Scaling("emg", 1.0, "unit_guessed")
    assert scaling_of("ECG", unit) == Scaling("ecg", 1e-3, "unit_guessed")
    assert scaling_of("SpO2", unit, sensor_type="resp") == Scaling("resp", 1.0)


@pytest.mark.parametrize("unit", ["°C", "µS", "%", "kg", "V/s", "uVs2"])
def test_an_electrode_in_another_unit_is_none(unit):
    assert not is_unstated(unit)
    assert scaling_of("Fp1", unit) == Scaling("misc", 1.0, "unit_not_electric")
    assert scaling_of("Airflow", unit, sensor_type="resp") == Scaling("resp", 1.0)


def test_the_type_overrides_the_label():
    assert scaling_of("Fp1", "uV", sensor_type="ecg") == Scaling("ecg", 1e-3)
    assert scaling_of("ECG", "mV", sensor_type="eeg") == Scaling("eeg", 1e3)


def test_notes_stand_once_in_fixed_order():
    guessed, other, plain = (
        Scaling("eeg", 1.0, "unit_guessed"),
        Scaling("misc", 1.0, "unit_not_electric"),
        Scaling("eeg", 1.0),
    )
    assert channel_notes(("a", "b", "a", "c"), (other, guessed, plain, guessed)) == (
        "unit_guessed", "unit_not_electric", "duplicate_labels",
    )  # fmt: skip
    assert channel_notes(("a", "b"), (plain, plain)) == ()
