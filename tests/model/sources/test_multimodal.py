import numpy as np
import pytest
import torch

from model.sources.heads import ConfidenceHead, SeverityHead
from model.sources.multimodal import SOURCES, Diagnosis, MultimodalClassifier, create_multimodal_ecg_model
from signals.bundles.metadata import Category, Metadata, Number

N_TIMES = 256


@pytest.fixture(scope="module")
def model() -> MultimodalClassifier:
    torch.manual_seed(0)
    return create_multimodal_ecg_model(num_classes=6, dim=16, n_heads=2, signal_widths=(6, 8, 8)).eval()


def people(n: int) -> dict[str, torch.Tensor]:
    torch.manual_seed(1)
    rows = [
        {"age": 30.0 + i, "height_cm": 170.0, "weight_kg": 80.0, "sex": ("female", "male")[i % 2]} for i in range(n)
    ]
    numbers, levels = map(torch.from_numpy, Metadata().arrays(rows))
    return {
        "images": torch.rand(n, 3, 32, 48), "signals": torch.randn(n, 12, N_TIMES), "numerical_metadata": numbers,
        "categorical_metadata": levels,
    }  # fmt: skip


def diagnose(
    model: MultimodalClassifier, given: dict[str, torch.Tensor], there: torch.Tensor | None = None
) -> Diagnosis:
    with torch.no_grad():
        return model(**given, there=there)


def assert_same(a: Diagnosis, b: Diagnosis) -> None:
    for name in ("logits_BK", "severity_BS", "confidence_B", "embedding_BD"):
        torch.testing.assert_close(getattr(a, name), getattr(b, name), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("n", [1, 3])
def test_any_batch_gives_each_person_the_answer_that_it_gets_alone(model, n):
    whole = diagnose(model, people(n))
    assert (whole.logits_BK.shape, whole.severity_BS.shape, whole.confidence_B.shape) == ((n, 6), (n, 3), (n,))
    first = diagnose(model, {name: values[:1] for name, values in people(n).items()})
    torch.testing.assert_close(first.logits_BK, whole.logits_BK[:1], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", SOURCES)
def test_a_source_may_be_absent_in_three_ways_that_mean_the_same(model, name):
    given = people(2)
    left_out = diagnose(model, {other: values for other, values in given.items() if other != name})
    there = torch.tensor([[other != name for other in SOURCES]] * 2)
    assert_same(left_out, diagnose(model, given, there))
    absent = (
        -torch.ones_like(given[name]) if name == "categorical_metadata" else torch.full_like(given[name], torch.nan)
    )
    marked = diagnose(model, {**given, name: absent})
    assert_same(left_out, marked)
    assert torch.isfinite(marked.logits_BK).all()
    alone = diagnose(model, {name: given[name]})
    assert not torch.allclose(alone.logits_BK, left_out.logits_BK)


def test_a_source_missing_in_one_person_changes_nobody_else(model):
    given = people(3)
    before = diagnose(model, given)
    given["signals"][1, :, 5] = torch.nan  # every lead
    given["signals"][2, 4] = torch.nan  # one lead
    after = diagnose(model, given)
    assert torch.equal(before.logits_BK[0], after.logits_BK[0])
    assert not torch.equal(before.logits_BK[1], after.logits_BK[1])
    assert torch.isfinite(after.logits_BK).all()
    nobody = diagnose(model, given, torch.zeros(3, 4, dtype=torch.bool))
    assert torch.allclose(nobody.logits_BK[0], nobody.logits_BK[2])


@pytest.mark.parametrize("seconds", [1.0, 2.57, 10.0])
def test_signals_of_any_length(model, seconds):
    assert diagnose(model, {"signals": torch.randn(2, 12, round(100 * seconds))}).logits_BK.shape == (2, 6)


def test_wrong_shapes_are_named(model):
    given = people(2)
    with pytest.raises(ValueError, match="at least one of images, signals"):
        model()
    with pytest.raises(ValueError, match="differ in their batch"):
        model(signals=given["signals"], images=given["images"][:1])
    with pytest.raises(ValueError, match=r"not \(batch, 12, n_times\)"):
        model(signals=given["signals"][:, :3])
    with pytest.raises(ValueError, match="of 32 or more"):
        model(images=torch.rand(2, 3, 16, 48))
    with pytest.raises(ValueError, match=r"numerical_metadata has shape \(2, 2\)"):
        model(numerical_metadata=torch.zeros(2, 2))
    with pytest.raises(ValueError, match="between -1 and"):
        model(categorical_metadata=torch.full((2, 1), 2))
    with pytest.raises(ValueError, match=r"there has shape \(2, 3\)"):
        model(signals=given["signals"], there=torch.ones(2, 3, dtype=torch.bool))
    with pytest.raises(TypeError, match="colour"):
        create_multimodal_ecg_model(colour=1)


@pytest.mark.parametrize(
    "name", ["patient_id", "siteCode", "Nurse", "device", "recording date", "hospital", "validatedBy", "subject"]
)
def test_what_identifies_is_refused_as_an_input(name):
    with pytest.raises(ValueError, match="states who, where or with what device"):
        Metadata(numbers=(Number(name, 0.0, 1.0, -1.0, 1.0),))
    with pytest.raises(ValueError, match="states who, where or with what device"):
        Metadata(categories=(Category(name, ("a", "b")),))
    with pytest.raises(ValueError, match="states who, where or with what device"):
        Metadata().arrays([{"age": 50.0, name: 3.0}])


def test_metadata_are_read_in_their_units_and_what_cannot_be_is_absent():
    numbers, levels = Metadata().arrays([{"age": 41.0, "sex": "male"}, {"age": 300.0, "sex": None}])
    assert numbers[0, 0] == 41.0
    assert np.isnan(numbers[1]).all()  # the convention of 300 for over 89 is no age
    assert levels.tolist() == [[1], [-1]]
    with pytest.raises(ValueError, match="unknown field 'shoe'"):
        Metadata().arrays([{"shoe": 43.0}])
    with pytest.raises(ValueError, match="sex='x' is none of"):
        Metadata().arrays([{"sex": "x"}])
    with pytest.raises(ValueError, match="age='old' must be a number"):
        Metadata().arrays([{"age": "old"}])
    with pytest.raises(ValueError, match="13 levels"):
        Metadata(categories=(Category("area", tuple(map(str, range(13)))),))
    numbers, levels = Metadata().arrays([])
    assert (numbers.shape, levels.shape) == ((0, 3), (0, 1))


def test_severity_is_ordered_and_learns_only_where_a_label_is():
    torch.manual_seed(0)
    head = SeverityHead(4, 4)
    with torch.no_grad():
        head.apart_S.copy_(torch.tensor([-3.0, 2.0]))
    logits = head(torch.randn(5, 4))
    assert (logits.diff(dim=1) <= 0).all()
    prob = head.probabilities(logits)
    assert prob.shape == (5, 4)
    assert (prob >= 0).all()
    torch.testing.assert_close(prob.sum(1), torch.ones(5))
    level = torch.tensor([0, 3, -1, -1, 1])
    labelled = head.total(logits[[0, 1, 4]], level[[0, 1, 4]])
    torch.testing.assert_close(head.total(logits, level), labelled)
    # level 2 of 0-3 lies above 0 and 1 and not above 2
    single = head.total(torch.zeros(1, 3), torch.tensor([2]))
    assert single.item() == pytest.approx(3 * torch.log(torch.tensor(2.0)).item())


def test_confidence_learns_mistakes_and_leaves_the_diagnosis_alone(model):
    answer = model(**people(4))
    target = (answer.logits_BK.detach() > 0).float()
    target[0, 0] = 1 - target[0, 0]  # one mistake makes a person wrong
    total = ConfidenceHead.total(answer.confidence_B, answer.logits_BK, target)
    wanted = torch.nn.functional.binary_cross_entropy_with_logits(
        answer.confidence_B, torch.tensor([0.0, 1.0, 1.0, 1.0]), reduction="sum"
    )
    torch.testing.assert_close(total, wanted)
    total.backward()
    assert model.confidence.hidden[0].weight.grad.abs().sum() > 0
    assert all(p.grad is None for name, p in model.named_parameters() if not name.startswith("confidence"))
    model.zero_grad(set_to_none=True)


def test_every_source_has_a_gate_that_learns(model):
    answer = model(**people(2))
    answer.logits_BK.square().sum().backward()
    for name in SOURCES:
        assert model.hears[name].gate.grad.abs().sum() > 0
        assert 0 < model.gates()[name] <= 1
    model.zero_grad(set_to_none=True)
    with torch.no_grad():
        kept = model.hears["signals"].gate.clone()
        model.hears["signals"].gate.zero_()
        shut = diagnose(model, people(2))
        model.hears["signals"].gate.copy_(kept)
    given = people(2)
    del given["signals"]
    assert_same(shut, diagnose(model, given))
