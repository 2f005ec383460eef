"""The thread that owns a model: batches, bounds, deadlines, and what one bad request may harm."""

import threading
import time
from concurrent.futures import CancelledError
from dataclasses import replace

import pytest

from service.answering.house import House
from service.answering.owner import Owner
from service.refusals import Refusal
from service.registry.sources import sources
from service.settings import Models
from serving.model import open_model
from signals.bundles.bundle import BundleError


@pytest.fixture(scope="module")
def model(things):
    return open_model(things.bundle)


@pytest.fixture(scope="module")
def window(model, things):
    return model.window_of_array(things.array)


class Held:
    """A model that waits for a sign before each batch."""

    name = "held"

    def __init__(self, model):
        self.model, self.go, self.sizes = model, threading.Semaphore(0), []

    def answers(self, windows):
        self.sizes.append(len(windows))
        self.go.acquire()
        return self.model.answers(windows)


def held(model, **options):
    one = Held(model)
    return one, Owner(one, **options)


def settle(one, n_batches):
    until = time.monotonic() + 5
    while len(one.sizes) < n_batches and time.monotonic() < until:
        time.sleep(0.005)


def test_what_waits_is_answered_in_batches_and_in_order(model, window):
    one, owner = held(model, max_batch=4)
    first = owner.submit([window])
    settle(one, 1)
    other = replace(window, start_s=7.0)
    waiting = [owner.submit([replace(window, start_s=float(n)), other][: 1 + n % 2]) for n in range(4)]
    one.go.release(10)
    assert [answer.start_s for future in waiting for answer in future.result(5)] == [0.0, 1.0, 7.0, 2.0, 3.0, 7.0]
    assert first.result(5)[0].start_s == window.start_s
    assert one.sizes == [1, 4, 2]
    owner.close()


def test_a_full_queue_refuses_and_forgets_nobody(model, window):
    one, owner = held(model, max_waiting=3)
    first = owner.submit([window])
    settle(one, 1)
    waiting = [owner.submit([window]) for _ in range(3)]
    with pytest.raises(Refusal) as refused:
        owner.submit([window])
    assert refused.value.code == "busy"
    assert owner.n_waiting == 3
    one.go.release(10)
    assert len([future.result(5) for future in [first, *waiting]]) == 4
    owner.close()


def test_who_is_too_late_or_gone_is_not_computed(model, window):
    one, owner = held(model, max_batch=8)
    first = owner.submit([window])
    settle(one, 1)
    late = owner.submit([window], deadline=time.monotonic() - 1)
    gone = owner.submit([window])
    gone.cancel()
    kept = owner.submit([window], deadline=time.monotonic() + 60)
    one.go.release(10)
    with pytest.raises(Refusal) as refused:
        late.result(5)
    assert refused.value.code == "deadline_exceeded"
    with pytest.raises(CancelledError):
        gone.result(5)
    assert kept.result(5)
    assert first.result(5)
    assert one.sizes == [1, 1]
    owner.close()


def test_only_who_is_alone_gets_all_cores(model, window):
    one, wide = Held(model), Held(model)
    owner = Owner(one, wide=wide)
    futures = [owner.submit([window], is_alone=True)]
    settle(wide, 1)
    # Two that came while it was computed: neither is alone any more, whatever was known when they came.
    futures += [owner.submit([window], is_alone=True), owner.submit([window])]
    wide.go.release()
    settle(one, 1)
    one.go.release()
    futures[-1].result(5)
    futures.append(owner.submit([window]))
    settle(one, 2)
    one.go.release()
    answers = [future.result(5)[0] for future in futures]
    assert (wide.sizes, one.sizes) == ([1], [2, 1])
    assert all(answer.class_probabilities == pytest.approx(answers[0].class_probabilities) for answer in answers)
    owner.close()


def test_a_request_does_not_wait_for_company(model, window, monkeypatch):
    owner = Owner(model)
    owner.submit([window]).result(5)
    waits, wait = [], owner._changed.wait
    monkeypatch.setattr(owner._changed, "wait", lambda timeout=None: waits.append(timeout) or wait(timeout))
    for _ in range(3):
        owner.submit([window]).result(5)
    owner.close()
    assert set(waits) <= {None}


def test_a_bad_window_fails_alone(model, window):
    one, owner = held(model)
    first = owner.submit([window])
    settle(one, 1)
    bad, good = owner.submit([replace(window, data=window.data[:, :100])]), owner.submit([window])
    one.go.release(10)
    with pytest.raises(BundleError):
        bad.result(5)
    assert good.result(5)
    assert first.result(5)
    assert owner.submit([window]).result(5)
    owner.close()


def test_closing_answers_what_was_accepted_and_takes_no_more(model, window):
    one, owner = held(model)
    futures = [owner.submit([window]) for _ in range(5)]
    one.go.release(10)
    owner.close()
    assert all(future.done() and future.result() for future in futures)
    with pytest.raises(Refusal):
        owner.submit([window])


def test_no_request_is_dropped_while_a_model_is_exchanged(things, window):
    house, answered, stop = House(sources(Models(bundles=(things.bundle,)))), [], threading.Event()

    def request():
        while not stop.is_set():
            answered.append(house.submit(house.owner(), [window], deadline=None).result(10))

    threads = [threading.Thread(target=request) for _ in range(3)]
    for thread in threads:
        thread.start()
    for _ in range(4):
        house.reload("small")
    stop.set()
    for thread in threads:
        thread.join()
    house.close()
    assert len(answered) > 10
    assert all(len(answers) == 1 for answers in answered)


def test_a_shadow_answers_beside_and_its_differences_are_counted(things, window):
    house = House(sources(Models(bundles=(things.bundle,))), shadow=things.second)
    sent = [house.submit(house.owner(), [window], deadline=None).result(5)[0] for _ in range(5)]
    house.close()
    other = open_model(things.second).answers([window])[0]
    seen = house.comparison
    assert (seen.n_windows, seen.n_failed) == (5, 0)
    assert seen.n_other_class == 5 * (other.predicted_class != sent[0].predicted_class)
    names = other.class_probabilities
    largest = max(abs(other.class_probabilities[n] - sent[0].class_probabilities[n]) for n in names)
    assert seen.largest_difference == pytest.approx(largest, abs=1e-5)
    assert largest > 0.01


def test_a_shadow_that_fails_harms_nobody(things, window, monkeypatch):
    house = House(sources(Models(bundles=(things.bundle,))), shadow=things.second)
    monkeypatch.setattr(type(house._shadow.model), "answers", failing(type(house._shadow.model).answers), raising=True)
    assert house.submit(house.owner(), [window], deadline=None).result(5)
    house.close()
    assert house.comparison.n_failed == 1


def failing(real):
    def answers(self, windows):
        if self.name == "second":
            raise RuntimeError("shadow")
        return real(self, windows)

    return answers


def test_two_bundles_of_one_name_are_refused(things, tmp_path):
    with pytest.raises(ValueError, match="two bundles have the same name"):
        sources(Models(bundles=(things.bundle, tmp_path / "small")))
