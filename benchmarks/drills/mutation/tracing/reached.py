"""A pytest plugin beside the tracer: says which test runs, which fixtures it uses and how long it took."""

import json
import os
import sys
from collections import defaultdict

import pytest
import sitecustomize

_seconds: dict[str, float] = defaultdict(float)
_failed: set[str] = set()
_fixtures: dict[str, list[str]] = {}


def pytest_collection_finish(session):
    """Note which fixtures each test uses."""
    for item in session.items:
        _fixtures[item.nodeid] = list(item.fixturenames)


def _clear_caches():
    """Forget what the project's functions remember: a test that takes a remembered value depends on its function."""
    for name, module in list(sys.modules.items()):
        path = getattr(module, "__file__", None) or ""
        if name != "sitecustomize" and path.startswith(os.environ["CEREBEAM_REACHED_ROOT"]):
            for value in list(vars(module).values()):
                if callable(getattr(value, "cache_clear", None)):
                    value.cache_clear()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item):
    """Note for this test."""
    _clear_caches()
    sitecustomize.begin(item.nodeid)
    try:
        return (yield)
    finally:
        sitecustomize.begin("")


@pytest.hookimpl(wrapper=True)
def pytest_fixture_setup(fixturedef):
    """Note for a fixture that several tests share."""
    if fixturedef.scope == "function":
        return (yield)
    before = sitecustomize.begin(f"fixture {fixturedef.argname} {fixturedef.baseid}")
    try:
        return (yield)
    finally:
        sitecustomize.begin(before)


def pytest_runtest_logreport(report):
    """Add up a test's seconds, and remember whether it failed."""
    _seconds[report.nodeid] += report.duration
    if report.failed:
        _failed.add(report.nodeid)


def pytest_sessionfinish():
    """Write what is known of each test."""
    with open(os.environ["CEREBEAM_REACHED"] + ".json", "w", encoding="utf-8") as file:
        json.dump({"seconds": _seconds, "failed": sorted(_failed), "fixtures": _fixtures}, file)
