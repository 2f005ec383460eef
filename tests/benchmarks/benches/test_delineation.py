from benchmarks.benches.models.delineation import NEUROKIT, Budget, compare, delineation, false_p, halves
from model.delineation.waves import Found
from studies.delineating.examples import Lead, generated


def test_the_small_form_prints_every_figure_of_generated_hearts(capsys, monkeypatch):
    monkeypatch.delenv(NEUROKIT, raising=False)
    delineation(None, Budget(people=2, steps=1, test_people=3))
    printed = [line.split()[1] for line in capsys.readouterr().out.splitlines() if line.startswith("figure")]
    f1 = "ecg_delineation_f1_synthetic"
    assert {f1, f"{f1}_40ms", f"{f1}_cse", f"{f1}_qrs_onset_late_ms", "ecg_false_p_share_synthetic"} <= set(printed)


def test_whoever_gives_the_marks_has_every_wave_and_no_error(capsys):
    leads = list(generated(2, seed=0, conditions=("normal", "fibrillation"), leads=("II",)))
    compare(leads, {"": lambda lead: list(lead.waves)}, "")
    values = dict(line.split()[1:3] for line in capsys.readouterr().out.splitlines())
    assert values["ecg_delineation_f1"] == values["ecg_delineation_f1_cse"] == "1"
    assert values["ecg_delineation_f1_t_offset_late_ms"] == values["ecg_false_p_share"] == "0"


def test_false_p_waves_are_counted_per_beat():
    waves = (Found("QRS", 1.0, 1.1), Found("QRS", 2.0, 2.1))
    lead = Lead(person="a", name="II", condition="", x_mv=None, sfreq=250.0, waves=waves)
    assert false_p([lead], lambda _: [Found("P", 1.5, 1.6), Found("QRS", 1.0, 1.1)]) == 0.5
    assert false_p([lead], lambda _: [Found("P", 0.5, 0.6)]) == 0.0  # before the first mark: not judged


def test_nobody_is_in_both_halves():
    leads = [Lead(person=str(k // 2), name="II", condition="", x_mv=None, sfreq=250.0, waves=()) for k in range(20)]
    first, second = halves(leads)
    assert len(first) == len(second) == 10
    assert not {lead.person for lead in first} & {lead.person for lead in second}
