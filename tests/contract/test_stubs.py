"""What static checkers see of the dictionary twins."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import monai_medaug
from monai_medaug import transforms

from . import stubs
from .cases import CASES

ROOT = Path(monai_medaug.__file__).parents[1]
CONFIG = """[mypy]
[mypy-torch.*,numpy.*,monai.*,scipy.*,nibabel.*,numba.*,pydicom.*,skimage.*,cv2.*,pywt.*,matplotlib.*,tqdm.*]
follow_imports = skip
ignore_missing_imports = True
"""


def test_the_stub_file_is_up_to_date(capsys):
    assert stubs.main(["--check"]) == 0, "run python -m tests.contract.stubs"


def test_an_outdated_stub_file_is_noticed(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(stubs, "TARGET", tmp_path / "__init__.pyi")
    assert stubs.main(["--check"]) == 1
    assert stubs.main([]) == 0
    assert stubs.main(["--check"]) == 0
    text = stubs.TARGET.read_text()
    stubs.TARGET.write_text(text.replace("allow_missing_keys", "allow_missing"))
    assert stubs.main(["--check"]) == 1
    assert "out of date" in capsys.readouterr().err


def test_every_public_name_is_in_the_stub_file():
    names: dict = {}
    exec(stubs.TARGET.read_text(), names)
    assert names["__all__"] == transforms.__all__
    assert set(transforms.__all__) <= set(names)


NETWORKS = {"network", "generator"}
"""Arguments that a twin can't do without."""


def snippet() -> tuple[str, set[int]]:
    """A module that uses every twin and alias, and the numbers of its lines that are wrong."""
    lines = ["from torch.nn import Conv2d", "from monai_medaug import transforms"]
    wrong = set()

    def add(line: str, is_wrong: bool) -> None:
        lines.append(line)
        if is_wrong:
            wrong.add(len(lines))

    for case in CASES:
        plain = (str, int, float, bool, tuple)
        given = {k: repr(v) if isinstance(v, plain) else "Conv2d(1, 1, 3)" for k, v in case.arguments.items()}
        literal = ", ".join(f"{k}={v}" for k, v in given.items() if v != "Conv2d(1, 1, 3)" or k in NETWORKS)
        first = f"{literal}, " if NETWORKS & given.keys() else ""
        for ending in ("d", "D", "Dict"):
            call = f"transforms.{case.cls.__name__}{ending}"
            add(f"{call}(['a', 'b'], {literal + ', ' * bool(literal)}allow_missing_keys=True)({{'a': 1}})['a']", False)
            add(f"{call}('a', {literal})", False)
            add(f"{call}('a', {first}no_such_argument=1)", True)
            add(f"{call}({literal})", True)
            add(f"{call}('a', {first}allow_missing_keys='maybe')", True)
            if case.random:
                add(f"{call}('a', {first}prob=0.5).set_random_state(0)({{'a': 1}})", False)
                add(f"{call}('a', {first}prob='often')", True)
            if case.geometric:
                several, one = (f", padding_mode={p}" if case.pads else "" for p in ("('zeros', -1000)", "0.5"))
                add(f"{call}(('a', 'b'), {first}mode=('bilinear', 'nearest'){several})", False)
                add(f"{call}('a', {first}mode='nearest', point_keys='p'{one})", False)
                add(f"{call}('a', {first}mode=(0, 1){one})", False)
                add(f"{call}('a', {first}mode=1.5)", True)
    return "\n".join(lines) + "\n", wrong


def test_mypy_knows_the_arguments_of_the_twins(tmp_path):
    """Right calls pass, wrong ones are errors, for every twin and alias."""
    pytest.importorskip("mypy")
    text, wrong = snippet()
    (tmp_path / "snippet.py").write_text(text)
    (tmp_path / "mypy.ini").write_text(CONFIG)
    command = [
        sys.executable,
        "-m",
        "mypy",
        "--config-file=mypy.ini",
        "--cache-dir=cache",
        "snippet.py",
    ]
    environment = {**os.environ, "MYPYPATH": str(ROOT)}
    run = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, env=environment, check=False)
    found = {int(line.split(":")[1]) for line in run.stdout.splitlines() if line.startswith("snippet.py:")}
    lines = text.splitlines()
    assert found == wrong, (
        f"accepted though wrong: {[lines[i - 1] for i in sorted(wrong - found)]}, "
        f"refused though right: {[lines[i - 1] for i in sorted(found - wrong)]}\n{run.stdout}{run.stderr}"
    )
