"""Every activity that is written is one that the worker can run."""

import importlib
import inspect
import pkgutil

import activities
from incident.rules import RulesAnalyst
from tests.fakes import FakeChat, FakePager, FakeService, FakeServices, InMemoryStore
from worker.bootstrap import Ports, build_actions, build_activities, build_checks

DEFINITION = "__temporal_activity_definition"


def defined() -> list[str]:
    """The name of every activity in activities/."""
    modules = [importlib.import_module(f"activities.{each.name}") for each in pkgutil.iter_modules(activities.__path__)]
    owners = [
        owner
        for module in modules
        for owner in (module, *(each for _, each in inspect.getmembers(module, inspect.isclass)))
        if owner is module or owner.__module__ == module.__name__
    ]
    return sorted(
        getattr(each, DEFINITION).name for owner in owners for each in vars(owner).values() if hasattr(each, DEFINITION)
    )


def registered() -> list[str]:
    store = InMemoryStore()
    world = Ports(
        services=FakeServices(FakeService()),
        analyst=RulesAnalyst(),
        rules=RulesAnalyst(),
        chat=FakeChat(),
        pager=FakePager(),
        store=store,
        ledger=store,
    )
    built = (*build_activities(world), *build_actions(world), *build_checks(world, 1))
    return sorted(getattr(each, DEFINITION).name for each in built)


def test_every_activity_is_registered_once() -> None:
    assert len(defined()) >= 10
    assert registered() == defined()


def test_an_activity_is_named_for_its_stage_and_its_verb() -> None:
    assert [name for name in defined() if len(name.split(".")) != 2] == []


def test_a_name_that_histories_hold_is_never_changed() -> None:
    assert defined() == [
        "analyze.decide",
        "analyze.judge",
        "detect.collect",
        "detect.live",
        "notify.change",
        "notify.chat",
        "notify.page",
        "notify.resolve",
        "record.save",
        "remediate.cancel",
        "remediate.follow",
        "remediate.rollback",
        "remediate.undo",
        "verify.look",
        "watch.stretch",
    ]
