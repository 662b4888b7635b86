"""The command line, ``monai-medaug``: it parses, and hands over to a command of ``monai_medaug.commands``.

Errors are one line and exit code 2; no line, log or file that leaves here names a patient or an input path. (Results of
many scans are named after these: by their paths within the data set.)
"""

from __future__ import annotations

import argparse
import contextlib
import os
import re
import sys
import warnings
from collections.abc import Iterator, Sequence
from typing import NoReturn

from monai_medaug.commands.command import found_commands
from monai_medaug.version import __version__


@contextlib.contextmanager
def _printable_streams() -> Iterator[None]:
    """Let every character be printed: as "?" where the console lacks it, and to nowhere where there is no stream."""
    with contextlib.ExitStack() as stack:
        for name in ("stdout", "stderr"):
            stream = getattr(sys, name)
            if stream is None:  # a windowed program of Windows
                nowhere = stack.enter_context(open(os.devnull, "w"))
                stack.callback(setattr, sys, name, None)
                setattr(sys, name, nowhere)
            elif hasattr(stream, "reconfigure"):
                stack.callback(stream.reconfigure, errors=stream.errors)
                stream.reconfigure(errors="replace")
        yield


@_printable_streams()
def main(argv: Sequence[str] | None = None) -> int:
    """Run a command.

    Args:
        argv: arguments after the program's name; None for those of the process.

    Returns:
        The exit code: 0, 2 after an error, 130 after Ctrl-C.

    Example:
        >>> main(["augment", "missing.nii.gz", "--modality", "ct", "--out", "results"])
        2
    """
    from monai_medaug.core.tensors import Notice

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # libraries quote values and paths in theirs
            warnings.simplefilter("always", Notice)
            warnings.showwarning = lambda message, *_: print(f"monai-medaug: note: {message}", file=sys.stderr)
            arguments = _parsed(argv)
            arguments.run(arguments)
        return 0
    except KeyboardInterrupt:
        print("\nmonai-medaug: interrupted", file=sys.stderr)
        return 130
    except ValueError as error:
        message = " ".join(str(error).split())
    except OSError as error:  # of writing: reading raises ScanError
        message = f"cannot write the results: {error.strerror or type(error).__name__}"
    print(f"monai-medaug: error: {message}", file=sys.stderr)
    return 2


class _Arguments(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        # the offending value is not quoted: it may be a path
        raise ValueError(re.sub(r""": (['"]).*?\1(?= |$)""", "", message) + f"; see {self.prog} --help")


def _parsed(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = _Arguments(prog="monai-medaug", description="Augment medical images, with proof of what was done.")
    parser.add_argument("--version", action="version", version=f"monai-medaug {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for name, command in found_commands().items():
        own = commands.add_parser(name, help=command.summary)
        command.add_arguments(own)
        own.set_defaults(run=command.run)
    arguments, unknown = parser.parse_known_args(argv)
    if unknown:  # not quoted either: often the pieces of a path with spaces
        parser.error(f"{len(unknown)} argument(s) too many: put quotes around a path with spaces")
    return arguments
