"""What a command is, and how the command line finds them all."""

from __future__ import annotations

import argparse
import importlib
import pkgutil
from collections.abc import Callable
from dataclasses import dataclass

_FIRST = ("demo", "augment", "restore", "evaluate", "gallery")
"""The order of the help; further commands follow in alphabetical order."""


@dataclass(frozen=True)
class Command:
    """A command: a module of this package with a ``COMMAND`` is one, named after the module.

    Attributes:
        summary: its line in the help.
        add_arguments: declares its arguments on a parser.
        run: does the work; a ValueError is the user's to correct.
    """

    summary: str
    add_arguments: Callable[[argparse.ArgumentParser], None]
    run: Callable[[argparse.Namespace], None]


def found_commands() -> dict[str, Command]:
    """All commands by name, in the order of the help.

    Example:
        >>> list(found_commands())[:5]
        ['demo', 'augment', 'restore', 'evaluate', 'gallery']
    """
    from monai_medaug import commands

    found = {}
    for info in pkgutil.iter_modules(commands.__path__):
        module = importlib.import_module(f"{commands.__name__}.{info.name}")
        if isinstance(command := getattr(module, "COMMAND", None), Command):
            found[info.name.replace("_", "-")] = command
    names = [*(n for n in _FIRST if n in found), *sorted(found.keys() - set(_FIRST))]
    return {name: found[name] for name in names}
