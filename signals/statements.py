"""Diagnostic statements of electrocardiograms: SNOMED CT and SCP-ECG codes, and the superclass that each means.

SNOMED codes and names are those of the PhysioNet/CinC Challenge 2021 (dx_mapping_scored.csv, dx_mapping_unscored.csv of
physionetchallenges/evaluation-2021); SCP codes and the superclasses NORM, MI, STTC, CD, HYP those of PTB-XL
(scp_statements.csv, Wagner et al. 2020, doi:10.1038/s41597-020-0495-6). ARR, any rhythm or beat that is not sinus at a
usual rate, is PTB-XL's group of rhythm statements with ectopic beats. A statement without a superclass describes form.
Sinus rhythm is NORM only where it is all that is stated: PTB-XL's sinus rhythm and its normal ECG share a code there.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache

SUPERCLASSES: tuple[str, ...] = ("NORM", "MI", "STTC", "CD", "HYP", "ARR")
"""Normal, infarction, ST and T changes, conduction disturbance, hypertrophy, arrhythmia."""
SINUS_RHYTHM = "426783006"
SEPARATOR = ";"
"""Between the statements of one recording in a label."""


@dataclass(frozen=True)
class Statement:
    """A row of the table."""

    code: str
    """SNOMED CT."""
    superclass: str
    """One of SUPERCLASSES; empty for a statement of form."""
    name: str
    scp: tuple[str, ...] = ()
    """SCP-ECG codes of PTB-XL that mean the same."""
    words: tuple[str, ...] = ()
    """Wording of the header's diagnoses in LUDB that mean the same, lower case; the first words of a line."""


_TABLE = """
426783006 NORM sinus rhythm | SR NORM | rhythm: sinus rhythm
426177001 ARR  sinus bradycardia | SBRAD | rhythm: sinus bradycardia
427084000 ARR  sinus tachycardia | STACH | rhythm: sinus tachycardia
427393009 ARR  sinus arrhythmia | SARRH | rhythm: sinus arrhythmia, rhythm: irregular sinus rhythm
426627000 ARR  bradycardia
164889003 ARR  atrial fibrillation | AFIB | rhythm: atrial fibrillation
282825002 ARR  paroxysmal atrial fibrillation
426749004 ARR  chronic atrial fibrillation
314208002 ARR  rapid atrial fibrillation
195080001 ARR  atrial fibrillation and flutter
164890007 ARR  atrial flutter | AFLT | rhythm: atrial flutter
713422000 ARR  atrial tachycardia
106068003 ARR  atrial rhythm
195101003 ARR  wandering atrial pacemaker | | wandering atrial pacemaker
233892002 ARR  accelerated atrial escape rhythm
251187003 ARR  atrial escape beat
284470004 ARR  premature atrial contraction | PAC | atrial extrasystole
63593006  ARR  supraventricular premature beats
251170000 ARR  blocked premature atrial contraction
251173003 ARR  atrial bigeminy
251168009 ARR  supraventricular bigeminy
426761007 ARR  supraventricular tachycardia | SVTAC SVARR
67198005  ARR  paroxysmal supraventricular tachycardia | PSVT
233897008 ARR  atrioventricular reentrant tachycardia
251166008 ARR  atrioventricular node reentrant tachycardia
29320008  ARR  atrioventricular junctional rhythm
426664006 ARR  accelerated junctional rhythm
426995002 ARR  junctional escape
251164006 ARR  junctional premature complex
426648003 ARR  junctional tachycardia
427172004 ARR  premature ventricular contractions | PVC | ventricular extrasystole
17338001  ARR  ventricular premature beats
164884008 ARR  ventricular ectopics
251182009 ARR  paired ventricular premature complexes
11157007  ARR  ventricular bigeminy | BIGU
251180001 ARR  ventricular trigeminy | TRIGU
164895002 ARR  ventricular tachycardia
425856008 ARR  paroxysmal ventricular tachycardia
164896001 ARR  ventricular fibrillation
111288001 ARR  ventricular flutter
61277005  ARR  accelerated idioventricular rhythm
49260003  ARR  idioventricular rhythm
75532003  ARR  ventricular escape beat
81898007  ARR  ventricular escape rhythm
13640000  ARR  fusion beats
698247007 ARR  cardiac dysrhythmia
74615001  ARR  brady tachy syndrome
60423000  ARR  sinus node dysfunction
65778007  ARR  sinoatrial block | | sinoatrial blockade
5609005   ARR  sinus arrest
17366009  ARR  sinus atrium to atrial wandering rhythm
10370003  ARR  pacing rhythm | PACE | unipolar ventricular pacing, bipolar ventricular pacing, unipolar atrial pacing, p-synchrony
251268003 ARR  atrial pacing pattern
251266004 ARR  ventricular pacing pattern
270492004 CD   1st degree av block | 1AVB | i degree av block
195042002 CD   2nd degree av block | 2AVB
54016002  CD   mobitz type i wenckebach atrioventricular block
426183003 CD   mobitz type II atrioventricular block
27885002  CD   complete heart block | 3AVB | iii degree av-block
204384007 CD   congenital incomplete atrioventricular heart block
233917008 CD   av block
50799005  CD   atrioventricular dissociation
6374002   CD   bundle branch block
59118001  CD   right bundle branch block
713427006 CD   complete right bundle branch block | CRBBB | complete right bundle branch block
713426002 CD   incomplete right bundle branch block | IRBBB | incomplete right bundle branch block
164909002 CD   left bundle branch block
733534002 CD   complete left bundle branch block | CLBBB | complete left bundle branch block
251120003 CD   incomplete left bundle branch block | ILBBB | incomplete left bundle branch block
445118002 CD   left anterior fascicular block | LAFB | left anterior hemiblock
445211001 CD   left posterior fascicular block | LPFB
698252002 CD   nonspecific intraventricular conduction disorder | IVCD | non-specific intravintricular conduction delay, aberrant conduction
82226007  CD   diffuse intraventricular block
74390002  CD   wolff parkinson white pattern | WPW
195060002 CD   ventricular pre excitation
164865005 MI   myocardial infarction | IMI ASMI ILMI AMI ALMI INJAS LMI INJAL IPLMI IPMI INJIN INJLA PMI INJIL | stemi
57054005  MI   acute myocardial infarction
54329005  MI   anterior myocardial infarction
164867002 MI   old myocardial infarction | | scar formation
428750005 STTC nonspecific st t abnormality | NST_ NDT DIG EL | non-specific repolarization abnormalities
55930002  STTC s t changes
164930006 STTC st interval abnormal
429622005 STTC st depression
164931005 STTC st elevation | ANEUR
704997005 STTC inferior ST segment depression
164934002 STTC t wave abnormal
59931005  STTC t wave inversion
111975006 STTC prolonged qt interval | LNGQT
164861001 STTC myocardial ischemia | ISC_ | ischemia, undefined ischemia/scar/supp.nstemi
413444003 STTC acute myocardial ischemia
413844008 STTC chronic myocardial ischemia
426434006 STTC anterior ischemia | ISCAN ISCAS ISCAL
425419005 STTC inferior ischaemia | ISCIN ISCIL
425623009 STTC lateral ischaemia | ISCLA
164873001 HYP  left ventricular hypertrophy | LVH | left ventricular hypertrophy, left ventricular overload
89792004  HYP  right ventricular hypertrophy | RVH | right ventricular hypertrophy
266249003 HYP  ventricular hypertrophy | SEHYP
370365005 HYP  left ventricular strain
67741000119109 HYP left atrial enlargement | LAO/LAE
446813000 HYP  left atrial hypertrophy | | left atrial hypertrophy, left atrial overload
253352002 HYP  left atrial abnormality
446358003 HYP  right atrial hypertrophy | RAO/RAE | right atrial hypertrophy, right atrial overload
253339007 HYP  right atrial abnormality
195126007 HYP  atrial hypertrophy
164951009 -    abnormal QRS | ABQRS
164917005 -    qwave abnormal | QWAVE
164947007 -    prolonged pr interval | LPR
49578007  -    shortened pr interval
77867006  -    decreased qt interval
251146004 -    low qrs voltages | LVOLT
55827005  -    left ventricular high voltage | HVOLT VCLVH
67751000119106 - right atrial high voltage
39732003  -    left axis deviation | | electric axis of the heart: left axis deviation
47665007  -    right axis deviation | | electric axis of the heart: right axis deviation
251200008 -    indeterminate cardiac axis
365413008 -    poor R wave Progression
164921003 -    r wave abnormal
164912004 -    p wave change
251205003 -    prolonged P wave
251223006 -    tall p wave
164937009 -    u wave abnormal
251259000 -    high t-voltage | HIT TAB_
164942001 -    fqrs wave
428417006 -    early repolarization | | early repolarization syndrome
418818005 -    brugada
251198002 -    clockwise rotation
251199005 -    countercolockwise rotation
61721007  -    clockwise or counterclockwise vectorcardiographic loop
251139008 -    suspect arm ecg leads reversed
"""  # noqa: E501  a row of the table is a line


@cache
def statements() -> dict[str, Statement]:
    """Return the table by SNOMED code."""
    rows = (line.split(None, 2) for line in _TABLE.strip().splitlines())
    return {code: _statement(code, superclass, rest) for code, superclass, rest in rows}


def _statement(code: str, superclass: str, rest: str) -> Statement:
    name, scp, words = (*(part.strip() for part in rest.split("|")), "", "")[:3]
    return Statement(
        code, superclass.strip("-"), name, tuple(scp.split()), tuple(w.strip() for w in words.split(",") if w.strip())
    )


@cache
def _codes() -> dict[str, str]:
    """Return the SNOMED code of every code of either kind, upper case."""
    table = statements().values()
    return {row.code: row.code for row in table} | {scp: row.code for row in table for scp in row.scp}


@cache
def _wordings() -> tuple[tuple[str, str], ...]:
    """Return (wording, code), longest first, so that the more exact one is met before its beginning."""
    pairs = [(words, row.code) for row in statements().values() for words in row.words]
    return tuple(sorted(pairs, key=lambda pair: -len(pair[0])))


def code_of(text: str) -> str | None:
    """Return the SNOMED code that a code, SNOMED or SCP, or a wording of the table means; None for anything else."""
    text = text.strip().strip(".").strip()
    if code := _codes().get(text.upper()):
        return code
    lowered = text.lower()
    return next((code for words, code in _wordings() if lowered.startswith(words)), None)


def label_of(texts: Iterable[str]) -> str:
    """Return a label from statements: their SNOMED codes, each once, in order; empty where none is of the table."""
    codes = [code_of(text) for text in texts]
    return SEPARATOR.join(dict.fromkeys(code for code in codes if code is not None))


def superclasses_of(codes: Iterable[str]) -> frozenset[str]:
    """Return the superclasses that statements mean together, by SNOMED codes; empty where all describe form."""
    named = {statements()[code].superclass for code in codes if code in statements()} - {""}
    return frozenset(named - {"NORM"} or named)
