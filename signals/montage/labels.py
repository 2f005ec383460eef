"""The grammar of EEG channel labels: which electrode a channel measures, and against what.

A label is an optional prefix, an electrode, and then nothing, a reference, or a second electrode. The tables below
hold the words; `tests/signals/montage/test_labels.py` holds whole label sets of vendors and of public corpora.
"""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from signals.electrodes import canonical_electrode

EARS = (("A1", "A2"), ("M1", "M2"))
"""Left and right ear lobe, left and right mastoid: no scalp electrodes, but references."""
EAR_NAMES = frozenset(name for pair in EARS for name in pair)
MIN_FOR_REFERENCE = 3
"""Fewest channels against one scalp electrode that make it a reference; with fewer they are pairs."""

REFERENCE_WORDS: Mapping[str, str] = {
    "ref": "ref ref1 ref2 reference vref org g2 com common cms",
    "avg": "avg av ave ar aver avr average avgref averef avref car",
    "le": "le ler cle a12 a1a2 a2a1 a1a22 linkedears",
    "lm": "lm m12 m1m2 m2m1 m1m22 linkedmastoids",
    "re": "re",
    "nose": "nose",
    "spine": "cs2",
    "laplacian": "lap laplace laplacian hjorth sd csd sourcederivation",
}
"""Words that stand behind an electrode for what it was measured against, without case and punctuation. "ref" is the
amplifier's own reference, which a bare label leaves unnamed; "le" linked ears, also computed ones or through resistors
(CLE, LER), "lm" linked mastoids, "spine" the second vertebra. "laplacian" is each electrode against its neighbours,
which is no common reference."""
_REFERENCES = {word: name for name, words in REFERENCE_WORDS.items() for word in words.split()}

# "EEG Fp1", "EEG-Fp1", "EEG(Fp1)", "POL Fp1" of Nihon Kohden, "EEG1 C3-A2" of sleep systems; "EEGFp1" without a gap.
_PREFIX = re.compile(r"^(?:(?:eeg ?\d{0,2}|pol|seeg)[\s_:.(\-]+|eeg(?=[a-z]))", re.IGNORECASE)
_SEPARATORS = re.compile(r"[\s\-–—_/:()]+")
_GLUED_EAR = re.compile(r"^([a-z]+\d{0,2})([am][12])$", re.IGNORECASE)
_CONTACT = re.compile(r"^([a-z])'?\d{1,3}$", re.IGNORECASE)
_MIN_CONTACTS = 5


@dataclass(frozen=True)
class Derivation:
    """What a channel measures: an electrode against a reference, or against another electrode (a pair)."""

    anode: str
    cathode: str | None
    """The second electrode of a pair; None for a channel against a reference."""
    reference: str = ""
    """A key of `REFERENCE_WORDS`, an electrode that serves as reference, or nothing where the label names none."""

    @property
    def against(self) -> str:
        """The node that is subtracted: an electrode, or a reference in angle brackets."""
        if self.cathode is not None:
            return self.cathode
        if canonical_electrode(self.reference) == self.reference:
            return self.reference
        return f"<{self.reference or 'ref'}>"


def parse_label(label: str) -> Derivation | None:
    """Return what an EEG channel label names, or None for what is no electrode.

    An ear or mastoid behind an electrode is its reference; every other electrode there makes a pair. A number behind
    either ("T8-P8-0") only separates repeated labels.
    """
    text = re.sub(r"\s*\+\s*", "+", _PREFIX.sub("", label.strip()))
    tokens = [token for part in _SEPARATORS.split(text) if (token := part.strip(" .,"))]
    if len(tokens) == 1 and (glued := _GLUED_EAR.match(tokens[0])) and canonical_electrode(tokens[0]) is None:
        tokens = list(glued.groups())  # "C3A2" of CAP and of the Dublin sleep files
    if len(tokens) > 1 and tokens[-1].isdigit():
        tokens.pop()
    anode = canonical_electrode(tokens[0]) if tokens else None
    if anode is None:
        return None
    if len(tokens) == 1:
        return Derivation(anode, None)
    if name := _REFERENCES.get(spelled("".join(tokens[1:]))):
        return Derivation(anode, None, name)
    cathode = canonical_electrode(tokens[1]) if len(tokens) == 2 else None
    if cathode is None or cathode == anode:
        return None
    if cathode in EAR_NAMES and anode not in EAR_NAMES:
        return Derivation(anode, None, cathode)
    return Derivation(anode, cathode)


def spelled(reference: str) -> str:
    """Return a reference without case and punctuation: "A1+A2" -> "a1a2"."""
    return re.sub(r"[^a-z0-9]", "", reference.lower())


@dataclass(frozen=True)
class Electrodes:
    """The EEG channels of a recording that name electrodes."""

    picks: tuple[int, ...]
    """Indices of the channels, in file order."""
    derivations: tuple[Derivation, ...]
    """What each of them measures."""

    @property
    def is_bipolar(self) -> bool:
        """Whether most channels are pairs of electrodes."""
        scalp = [d for d in self.derivations if d.anode not in EAR_NAMES]
        return sum(d.cathode is not None for d in scalp) > len(scalp) / 2


def find_electrodes(ch_names: Sequence[str], sensor_types: Sequence[str]) -> Electrodes:
    """Return the EEG channels that name electrodes; of repeated derivations the first is kept.

    A pair is the same as its reverse. Three or more channels against one scalp electrode that is in no other channel
    ("F3-Cz", "C3-Cz", "P3-Cz") are measured against a reference. Ears and mastoids are kept, for they can serve as
    reference, but never alone; one ear against the other only where channels hang on both. Contacts of a numbered
    grid (BioSemi's A1 to D32, depth electrodes) are no 10-20 electrodes.
    """
    contacts = _grid_contacts(ch_names)
    named = [
        (pick, derivation)
        for pick, (name, sensor_type) in enumerate(zip(ch_names, sensor_types, strict=True))
        if sensor_type == "eeg" and name not in contacts and (derivation := parse_label(name)) is not None
    ]
    kept: dict[frozenset[str], tuple[int, Derivation]] = {}
    for pick, derivation in named:
        kept.setdefault(frozenset((derivation.anode, derivation.against)), (pick, derivation))
    hung_on = {derivation.reference for _, derivation in kept.values()}
    chosen = [(pick, d) for pick, d in kept.values() if d.cathode not in EAR_NAMES or {d.anode, d.cathode} <= hung_on]
    if all(d.anode in EAR_NAMES for _, d in chosen):
        return Electrodes((), ())
    picks, derivations = zip(*chosen, strict=True)
    return Electrodes(picks, _with_common_cathode(derivations))


def recorded_references(derivations: Sequence[Derivation]) -> frozenset[str]:
    """Return the references that the labels of scalp channels name, in lower case; often none."""
    return frozenset(d.reference.lower() for d in derivations if d.reference and d.anode not in EAR_NAMES)


def reference_groups(derivations: Sequence[Derivation]) -> list[list[int]]:
    """Return the numbers of the channels against each reference, every electrode once; pairs are in none."""
    groups: dict[str, list[int]] = {}
    first = {d.anode: row for row, d in reversed(list(enumerate(derivations))) if d.cathode is None}
    for row in sorted(first.values()):
        groups.setdefault(derivations[row].against, []).append(row)
    return list(groups.values())


def _with_common_cathode(derivations: Sequence[Derivation]) -> tuple[Derivation, ...]:
    """Return the derivations with a scalp electrode that others are measured against as their reference."""
    anodes = Counter(d.anode for d in derivations)
    cathodes = Counter(d.cathode for d in derivations if d.cathode is not None)
    common = {
        cathode
        for cathode, n in cathodes.items()
        if n >= MIN_FOR_REFERENCE
        and not anodes[cathode]
        and all(anodes[d.anode] == 1 and not cathodes[d.anode] for d in derivations if d.cathode == cathode)
    }
    return tuple(replace(d, cathode=None, reference=d.cathode) if d.cathode in common else d for d in derivations)


def _grid_contacts(ch_names: Sequence[str]) -> frozenset[str]:
    """Return the labels that number contacts of a grid: of a letter with five numbers or more that no electrode has,
    and, where two letters do so, of every letter."""
    contacts: dict[str, list[str]] = {}
    unknown: Counter[str] = Counter()
    for label in ch_names:
        first = next((token for token in _SEPARATORS.split(_PREFIX.sub("", label.strip())) if token), "")
        if match := _CONTACT.match(first):
            letter = match[1].lower()
            contacts.setdefault(letter, []).append(label)
            unknown[letter] += canonical_electrode(first) is None
    grids = {letter for letter, n in unknown.items() if n >= _MIN_CONTACTS}
    letters = set(contacts) if len(grids) > 1 else grids
    return frozenset(label for letter in letters for label in contacts[letter])
