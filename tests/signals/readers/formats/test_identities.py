"""Identities are planted wherever a format has room for them; only the text to be hashed may hold them."""

import dataclasses
from importlib.util import find_spec

import numpy as np
import pytest

from signals.readers.registry import open_recording
from signals.recording.recording import UnreadableError
from synthetic.recordings import clinical_files as clinical
from synthetic.recordings import laboratory_files as laboratory

PLANTED = ("mustermann", "erika", "4711", "quincy")
NAMES = ("Fp1", "Fp2", "F3", "F4")
TEXT = "Erika M., Dr. Quincy"
X = np.random.default_rng(0).normal(0, 30, (4, 800))


def nihon_kohden(folder):
    clinical.write_nihon_kohden(folder / "x.EEG", [X], ch_names=NAMES, sfreq=200, events=[(1, TEXT), (2, "spike")])
    octets = bytearray(0x700)
    octets[:16], octets[0x40:0x4E] = b"EEG-1100C V01.00", b"19610312101112"
    octets[0x604:0x608], octets[0x62E:0x63E] = b"4711", b"Erika Mustermann"
    (folder / "x.PNT").write_bytes(octets)
    return folder / "x.EEG"


def persyst(folder):
    comments = [(1.0, 0.0, TEXT), (2.0, 0.0, "spike")]
    clinical.write_persyst(folder / "x.lay", X, ch_names=NAMES, sfreq=200, comments=comments, patient="Mustermann")
    return folder / "x.lay"


def neuroscan(folder):
    clinical.write_neuroscan(folder / "x.cnt", X, ch_names=NAMES, sfreq=200, n_times=None)
    octets = bytearray((folder / "x.cnt").read_bytes())
    octets[21:25], octets[121:137], octets[141:147] = b"4711", b"Mustermann Erika", b"Quincy"
    (folder / "x.cnt").write_bytes(octets)
    return folder / "x.cnt"


def gdf(folder):
    clinical.write_gdf(folder / "x.gdf", X, ch_names=NAMES, sfreq=200, patient="4711 Mustermann")
    return folder / "x.gdf"


def micromed(folder):
    clinical.write_micromed(folder / "x.TRC", [X], ch_names=NAMES, sfreq=200, patient=("Mustermann", "Erika"),
                            notes=[(100, TEXT), (200, "spike")])  # fmt: skip
    return folder / "x.TRC"


def xdf(folder):
    laboratory.write_xdf(folder / "x.xdf", X, ch_names=NAMES, sfreq=200, markers=[(1.0, TEXT), (2.0, "spike")])
    return folder / "x.xdf"


def eeglab(folder):
    events = [(TEXT, 100.0, 0.0), ("spike", 200.0, 0.0)]
    laboratory.write_eeglab(
        folder / "x.set", X, ch_names=NAMES, sfreq=200, hdf5=True, subject="Mustermann", events=events
    )
    return folder / "x.set"


def wfdb(folder):
    laboratory.write_wfdb(folder / "x.hea", X, ch_names=NAMES, sfreq=200)
    with (folder / "x.hea").open("a") as file:
        file.write("# Erika Mustermann, mrn 4711\n")
    return folder / "x.hea"


WRITERS = {"nihon": (nihon_kohden, "mne"), "persyst": (persyst, "mne"), "neuroscan": (neuroscan, "mne"),
           "gdf": (gdf, "mne"), "micromed": (micromed, "neo"), "xdf": (xdf, "pyxdf"), "eeglab": (eeglab, "h5py"),
           "wfdb": (wfdb, "wfdb")}  # fmt: skip


@pytest.fixture(params=WRITERS)
def path(request, tmp_path):
    write, library = WRITERS[request.param]
    if find_spec(library) is None:
        pytest.skip(f"{library} is not installed")
    return write(tmp_path)


def planted_in(text):
    return [word for word in PLANTED if word in text.lower()]


def test_only_event_words_and_the_text_to_hash_come_out(path):
    recording = open_recording(str(path))
    shown = {
        field.name: getattr(recording, field.name)
        for field in dataclasses.fields(recording)
        if field.name not in {"uri", "patient", "read_samples"}
    }
    assert planted_in(repr(shown) + repr(recording)) == []
    assert {a.description for a in recording.annotations} <= {"other", "spike"}
    if path.suffix in (".EEG", ".lay", ".cnt", ".gdf", ".TRC", ".set"):
        assert planted_in(recording.patient)


@pytest.mark.parametrize("seed", range(4))
def test_refusals_of_damaged_files_quote_nothing(path, seed):
    rng = np.random.default_rng(seed)
    octets = bytearray(path.read_bytes())
    for at in rng.integers(0, min(len(octets), 1500), 40):
        octets[at] = rng.integers(256)
    path.write_bytes(octets[: len(octets) // (seed + 1)])
    message = ""
    try:
        open_recording(str(path)).read([0])
    except UnreadableError as error:
        message = str(error) + repr(error.__cause__)
    assert planted_in(message) == []
