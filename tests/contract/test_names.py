"""Names: public ones and their aliases, signatures and docstrings, and none that MONAI's locator could confuse."""

import importlib
import inspect
import json
import pkgutil
import re
import subprocess
import sys
import warnings

import monai
import pytest

import monai_medaug
from monai_medaug import transforms
from monai_medaug.core.contract import REGISTRY
from monai_medaug.core.dictionary import DictionaryOperation
from monai_medaug.core.operation import Operation

from .cases import EVERY_CASE, Case, contract, public

PACKAGE = "monai_medaug."


def module_names(package) -> list[str]:
    """All modules of a package, without those that run when imported."""
    found = pkgutil.walk_packages(package.__path__, f"{package.__name__}.", onerror=lambda name: None)
    return [m.name for m in found if not m.name.endswith("__main__")]


def check_aliases(case: Case) -> None:
    """``…d``, ``…D`` and ``…Dict`` are one class, public, in the module of the array class."""
    name = case.cls.__name__
    module = sys.modules[case.cls.__module__]
    for ending in ("d", "D", "Dict"):
        assert f"{name}{ending}" in transforms.__all__, f"{name}{ending} is not in __all__"
        assert getattr(transforms, f"{name}{ending}") is case.twin_class
        assert getattr(module, f"{name}{ending}") is case.twin_class
    assert name in transforms.__all__
    assert case.twin_class.__name__ == case.twin_class.__qualname__ == f"{name}d"
    assert case.twin_class.__module__ == case.cls.__module__
    assert REGISTRY[name] is REGISTRY[f"{name}d"] is case.cls
    if case.random:
        assert name.startswith(("Rand", "Batch")), "a random transform's name starts with Rand"
    else:
        assert not name.startswith("Rand")


def check_signature(case: Case) -> None:
    """A twin takes keys, then what the array class takes, with the same defaults, then its own."""
    own = inspect.signature(case.cls).parameters
    twin = inspect.signature(case.twin_class).parameters
    names = list(twin)
    assert names[0] == "keys"
    assert names[-1] == "allow_missing_keys"
    assert twin["allow_missing_keys"].default is False
    added = {a.name for a in case.twin_class.key_arguments(case.cls)}
    assert [n for n in names[1:-1] if n not in added] == list(own)
    expected = {n: case.twin_class.per_key.get(n, p.annotation) for n, p in own.items()}
    assert all(twin[n].default == p.default and twin[n].annotation == expected[n] for n, p in own.items())
    for parameter in own.values():
        assert parameter.kind is parameter.POSITIONAL_OR_KEYWORD, f"{parameter} has no name of its own in configs"
        assert parameter.annotation is not parameter.empty, f"{parameter} has no annotation"
        assert parameter.name in ("prob", "network") or parameter.default is not parameter.empty or case.arguments


def check_docstrings(case: Case) -> None:
    """Both say what each argument is; the array class shows an example, and doctest runs it."""
    for cls in (case.cls, case.twin_class):
        doc = inspect.getdoc(cls)
        assert doc, f"{cls.__name__} has no docstring"
        documented = doc.partition("Args:")[2]
        for name in inspect.signature(cls).parameters:
            assert re.search(rf"^\s*([\w, ]+, )?{name}(, [\w, ]+)?:", documented, re.M), f"{name} is not documented"
    assert ">>>" in inspect.getdoc(case.cls)
    assert case.cls.__name__ in inspect.getdoc(case.twin_class)


@contract([check_aliases, check_signature, check_docstrings], EVERY_CASE)
def test_names(check, case):
    check(case)


def test_everything_public_exists_and_is_documented():
    assert len(set(transforms.__all__)) == len(transforms.__all__)
    for name in transforms.__all__:
        obj = getattr(transforms, name)
        assert inspect.getdoc(obj), f"{name} has no docstring"
        assert obj.__module__.startswith(PACKAGE)


def test_every_registered_operation_is_public():
    """Nothing is left out of `__all__`: neither an array class nor a twin."""
    known = {getattr(transforms, name) for name in transforms.__all__}
    for cls in set(REGISTRY.values()):
        abstract = "apply" not in {n for c in cls.__mro__ if c is not Operation for n in vars(c)}
        if cls.__module__.startswith(PACKAGE) and not abstract and not cls.__name__.startswith("_"):
            assert cls in known, f"{cls.__name__} is not public"
    twins = {case.twin_class for case in EVERY_CASE}
    assert set(public(DictionaryOperation)) == twins, "a twin without its array class, or one that is not public"


@pytest.fixture(scope="module")
def own_modules():
    return [importlib.import_module(name) for name in module_names(monai_medaug)]


def defined_in(modules) -> dict[str, list[str]]:
    """Names of classes and functions at the top level of their own module: what MONAI's locator would find."""
    table: dict[str, list[str]] = {}
    for module in modules:
        for name, obj in vars(module).items():
            if (inspect.isclass(obj) or inspect.isfunction(obj)) and obj.__module__ == module.__name__:
                table.setdefault(name, []).append(module.__name__)
    return table


def test_no_name_is_taken_twice(own_modules):
    """Bundles find classes by short name, private helpers included: each name stands in one module."""
    twice = {name: places for name, places in defined_in(own_modules).items() if len(places) > 1}
    assert not twice, f"names in several modules of ours: {twice}"


def test_no_name_is_monais(own_modules):
    """No class or function of ours, private helpers included, is named as one of MONAI's."""
    modules = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name in module_names(monai):
            try:
                modules.append(importlib.import_module(name))
            except Exception:  # an optional dependency is missing
                continue
    theirs = defined_in(modules)
    assert len(theirs) > 1500, "MONAI's modules were not found"
    ours = defined_in(own_modules)
    clashes = {name: (places, theirs[name]) for name, places in ours.items() if name in theirs}
    assert not clashes, f"names of MONAI's: {clashes}"


def test_import_finds_every_public_module_and_leaves_numba_alone():
    """`import monai_medaug` imports all public modules, so that bundles see them; numba waits for its first use."""
    code = "import json, sys, monai_medaug; print(json.dumps(sorted(sys.modules)))"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = json.loads(run.stdout.splitlines()[-1])
    wanted = [n for n in module_names(monai_medaug) if not any(part.startswith("_") for part in n.split("."))]
    missing = [name for name in wanted if name not in loaded]
    assert not missing, f"import monai_medaug does not import {missing}"
    assert "numba" not in loaded
