"""Writes ``monai_medaug/transforms/__init__.pyi``, in which static checkers see the dictionary twins.

A twin is made at run time, so that type checkers and editors would know nothing of its arguments. Run this after a
transform's signature changed; a test compares the file with what it would write.

    python -m tests.contract.stubs           # write
    python -m tests.contract.stubs --check   # exit code 1 if the file is out of date
"""

from __future__ import annotations

import ast
import builtins
import inspect
import sys
import types
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from monai_medaug import transforms
from monai_medaug.core.dictionary import DictionaryOperation

TARGET = Path(transforms.__file__).with_suffix(".pyi")
HEADER = '"""Array transforms and their dictionary twins, for static checkers: written by tests/contract/stubs.py."""\n'
PER_KEY = {"mode": "Sequence[str | int]", "padding_mode": "Sequence[str | float]"}
"""What an argument that may be given per key takes in the twin besides."""
TWINS_OWN = {
    "keys": "KeysCollection",
}
KNOWN = {
    "KeysCollection": "monai.config",
    "Sequence": "collections.abc",
    "Loss": "monai_medaug.functional.adversarial.gradient",
    "Network": "monai_medaug.transforms.adversarial.base",
}
"""Where names come from that do not know it themselves."""


def is_twin(obj: Any) -> bool:
    """Whether it was made by `dictionary_twin`; a twin written by hand needs no help."""
    return inspect.isclass(obj) and issubclass(obj, DictionaryOperation) and "__signature__" in vars(obj.__init__)


def stub_text() -> str:
    """The whole file."""
    imports: set[tuple[str, str, str]] = set()  # module, name, alias
    classes, aliases = [], []
    for name in transforms.__all__:
        obj = getattr(transforms, name)
        if not is_twin(obj):
            imports.add((obj.__module__, obj.__name__, name))
        elif name == obj.__name__:
            base = obj.__bases__[0]
            imports.add((base.__module__, base.__name__, ""))
            classes.append(_class(obj, base.__name__, imports))
        else:
            aliases.append(f"{name} = {obj.__name__}\n")
    names = "".join(f'    "{name}",\n' for name in transforms.__all__)
    body = "\n".join([*classes, "".join(aliases)])
    return f"{HEADER}\n{_imports(imports)}\n__all__ = [\n{names}]\n\n{body}"


def _class(cls: Any, base: str, imports: set[tuple[str, str, str]]) -> str:
    """One twin: its summary and its constructor."""
    lines = [f"class {cls.__name__}({base}):", f'    """Dictionary version of `{cls.operation_class.__name__}`."""', ""]
    lines += ["    def __init__(", "        self,"]
    scope = vars(sys.modules[cls.__module__])
    for parameter in inspect.signature(cls).parameters.values():
        annotation = TWINS_OWN.get(parameter.name) or _written(parameter.annotation)
        if cls.operation_class.geometric and parameter.name in PER_KEY:
            annotation = f"{annotation} | {PER_KEY[parameter.name]}"
        imports |= {_origin(n, scope) for n in _names(annotation)}
        default = "" if parameter.default is parameter.empty else f" = {_default(parameter.default)}"
        lines.append(f"        {parameter.name}: {annotation}{default},")
    return "\n".join([*lines, "    ) -> None: ...", ""])


def _written(annotation: Any) -> str:
    if annotation is inspect.Parameter.empty:
        return "Any"
    return annotation if isinstance(annotation, str) else inspect.formatannotation(annotation)


def _default(value: Any) -> str:
    """The value where it is a literal, as formatters write it; dots for objects."""
    simple = (str, int, float, bool, type(None))
    if isinstance(value, simple) or (isinstance(value, tuple) and all(isinstance(v, simple) for v in value)):
        return repr(value).replace("'", '"')
    return "..."


def _names(annotation: str) -> set[str]:
    """The names in an annotation that need an import."""
    found = {n.id for n in ast.walk(ast.parse(annotation, mode="eval")) if isinstance(n, ast.Name)}
    return {n for n in found if not hasattr(builtins, n)}


def _origin(name: str, scope: dict[str, Any]) -> tuple[str, str, str]:
    """Where to import a name from, as the module that used it did."""
    if name in KNOWN:
        return KNOWN[name], name, ""
    obj = scope.get(name, getattr(__import__("typing"), name, None))
    if obj is None:
        raise NameError(f"an annotation uses {name!r}, which its module does not hold at run time")
    if isinstance(obj, types.ModuleType):
        return obj.__name__, "", name
    return obj.__module__, getattr(obj, "__name__", name), ""


def _imports(imports: Iterable[tuple[str, str, str]]) -> str:
    """Import lines in three groups, as ruff sorts them; an alias equal to the name exports it."""

    def group(module: str) -> int:
        top = module.split(".")[0]
        return 2 if top == "monai_medaug" else 0 if top in sys.stdlib_module_names else 1

    def order(entry: tuple[str, str, str]) -> tuple:
        module, name, alias = entry
        kind = 0 if name.isupper() else 1 if name[:1].isupper() else 2
        return group(module), bool(name), module, kind, name.lower(), alias

    lines: list[str] = []
    before, open_module = None, None
    for module, name, alias in sorted(imports, key=order):
        if before is not None and group(module) != before:
            lines.append("")
        before = group(module)
        if name and not alias and module == open_module:
            lines[-1] += f", {name}"
            continue
        what = f"from {module} import {name}" if name else f"import {module}"
        lines.append(f"{what} as {alias}" if alias and alias != module else what)
        open_module = module if name and not alias else None
    return "\n".join(lines) + "\n"


def main(arguments: list[str]) -> int:
    """Write the file, or only compare."""
    text = stub_text()
    if arguments == ["--check"]:
        current = TARGET.read_text(encoding="utf-8") if TARGET.exists() else ""
        if current != text:
            print(f"{TARGET.name} is out of date: run python -m tests.contract.stubs", file=sys.stderr)
        return int(current != text)
    if arguments:
        print(__doc__, file=sys.stderr)
        return 2
    TARGET.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
