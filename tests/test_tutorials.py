"""The notebooks run from their first cell to their last, print what they show, and name nobody's machine.

Where the library's figures have changed for good, run a notebook again (``tutorials`` extra):
``jupyter nbconvert --to notebook --execute --inplace tutorials/denoising.ipynb``, and look at its pictures.
"""

import contextlib
import getpass
import io
import json
import os
import re
from pathlib import Path

import matplotlib
import numpy as np
import pytest

matplotlib.use("Agg")
NOTEBOOKS = sorted((Path(__file__).parents[1] / "tutorials").glob("*.ipynb"))
PATH = re.compile(r"""(?<![\w.:/<])(?:/(?:[\w.+-]+/)+[\w.+-]*|~/\w)|\b[A-Za-z]:\\|\bfile://""")
NUMBER = re.compile(r"(?<![\w.])[+-]?\d+(?:\.\d+)?")
NOBODY = {"root", "user", "runner", "test"}
OUTPUTS = {
    "stream": {"name", "text"},
    "display_data": {"data", "metadata"},
    "execute_result": {"data", "metadata", "execution_count"},
}
MEGABYTE = 1_000_000

LONG = {"generation"}  # a minute and more of one core
each_notebook = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
each_that_runs = pytest.mark.parametrize(
    "path", [pytest.param(p, id=p.stem, marks=[pytest.mark.slow] * (p.stem in LONG)) for p in NOTEBOOKS]
)


def read(path):
    return json.loads(path.read_text(encoding="utf-8"))


def code_cells(notebook):
    return [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]


def joined(text):
    return text if isinstance(text, str) else "".join(text)


def printed(cell):
    return "".join(joined(out["text"]) for out in cell["outputs"] if out["output_type"] == "stream")


def run(notebook, name="notebook"):
    """Execute the code cells in order; what each of them printed."""
    from matplotlib import pyplot

    scope, texts = {"__name__": "__main__"}, []
    try:
        with matplotlib.rc_context():
            for number, cell in enumerate(code_cells(notebook), 1):
                with contextlib.redirect_stdout(io.StringIO()) as text:
                    exec(compile(joined(cell["source"]), f"{name}, code cell {number}", "exec"), scope)
                texts.append(text.getvalue())
    finally:
        pyplot.close("all")
    return texts


def require_nbformat_4(notebook):
    assert notebook.keys() == {"cells", "metadata", "nbformat", "nbformat_minor"}
    assert notebook["nbformat"] == 4
    assert notebook["nbformat_minor"] >= 5
    assert isinstance(notebook["metadata"], dict)
    names = [cell["id"] for cell in notebook["cells"]]
    assert len(set(names)) == len(names)
    for cell in notebook["cells"]:
        assert re.fullmatch(r"[\w-]{1,64}", cell["id"], re.ASCII)
        more = {"code": {"execution_count", "outputs"}, "markdown": set()}[cell["cell_type"]]
        assert cell.keys() == {"cell_type", "id", "metadata", "source"} | more
        assert isinstance(cell["metadata"], dict)
        source = cell["source"]
        assert isinstance(source, str) or all(isinstance(line, str) for line in source)
        for out in cell.get("outputs", []):
            assert out["output_type"] in OUTPUTS, out["output_type"]
            assert out.keys() == {"output_type"} | OUTPUTS[out["output_type"]]


def require_discretion(notebook, user):
    """No path, no name, no warnings (which quote paths), no errors; pictures are not searched."""
    for cell in notebook["cells"]:
        texts = [joined(cell["source"])]
        for out in cell.get("outputs", []):
            assert out["output_type"] != "error", f"{cell['id']} has failed"
            assert out.get("name") != "stderr", f"{cell['id']} holds warnings"
            texts.append(joined(out.get("text", "")))
            texts += [joined(value) for kind, value in out.get("data", {}).items() if not kind.startswith("image/")]
        for text in texts:
            assert not PATH.search(text), f"{cell['id']} names a path: {PATH.search(text)[0]}"
            assert user in NOBODY or not re.search(rf"\b{re.escape(user)}\b", text), f"{cell['id']} names a user"
    meta = json.dumps([notebook["metadata"], [cell["metadata"] for cell in notebook["cells"]]])
    assert notebook["metadata"].keys() <= {"kernelspec", "language_info"}
    assert not PATH.search(meta)


def require_alike(text, shown, what):
    """The same words, and figures to a tenth or 0.2: another platform's rounding, but no other behaviour."""
    text, shown = (re.sub(r"\b(monai_medaug) \d\S*", r"\1", t) for t in (text, shown))  # whatever the version
    assert NUMBER.sub("#", text).split() == NUMBER.sub("#", shown).split(), what
    new, old = (np.array([float(n) for n in NUMBER.findall(t)]) for t in (text, shown))
    np.testing.assert_allclose(new, old, rtol=0.1, atol=0.2, err_msg=f"{what}: run the notebook again")


def test_there_are_notebooks():
    assert NOTEBOOKS


@each_that_runs
def test_it_runs_and_prints_what_it_shows(path, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    notebook = read(path)
    texts = run(notebook, path.name)
    if "MONAI_MEDAUG_DATA" in path.read_text(encoding="utf-8") and not os.environ.get("MONAI_MEDAUG_DATA"):
        assert "no folder of scans" in texts[0]  # it runs on other images, with other figures
        return
    for cell, text in zip(code_cells(notebook), texts, strict=True):
        require_alike(text, printed(cell), f"{path.name}, {cell['id']}")
    assert not list(tmp_path.iterdir())


@each_notebook
def test_it_is_a_notebook_that_was_run_in_order(path):
    notebook = read(path)
    require_nbformat_4(notebook)
    counts = [cell["execution_count"] for cell in code_cells(notebook)]
    assert counts == [*range(1, len(counts) + 1)]
    assert path.stat().st_size < MEGABYTE


@each_notebook
def test_it_names_no_path_and_no_user_and_holds_no_error(path):
    require_discretion(read(path), getpass.getuser())


# ---- and what is wrong is seen ---------------------------------------------------------------------------------


def notebook_of(*sources, outputs=()):
    cells = [
        {
            "cell_type": "code",
            "id": f"c{n}",
            "metadata": {},
            "source": source,
            "execution_count": 1,
            "outputs": [*outputs],
        }
        for n, source in enumerate(sources)
    ]
    return {"cells": cells, "metadata": {}, "nbformat": 4, "nbformat_minor": 5}


def test_cells_share_a_scope_and_one_that_raises_is_red():
    assert run(notebook_of("a = 2", ["b = a + 1\n", "print(b)"])) == ["", "3\n"]
    with pytest.raises(ZeroDivisionError):
        run(notebook_of("a = 0", "1 / a"))


@pytest.mark.parametrize(
    "text",
    ["/home/jane/scan.nii", "see '/tmp/x'", r"C:\scans\a", "~/scans", "file://x", "by jane", "(/data/ct/1.dcm)"],
)
def test_a_path_or_a_name_is_seen(text):
    with pytest.raises(AssertionError, match="names a"):
        require_discretion(notebook_of(text), "jane")
    with pytest.raises(AssertionError, match="names a"):
        require_discretion(
            notebook_of("a = 1", outputs=[{"output_type": "stream", "name": "stdout", "text": text}]), "jane"
        )


@pytest.mark.parametrize("text", ["https://monai.io/a/b", "1 / 2", "before/after", "a dB/mm", "T1/T2/PD", "root mean"])
def test_what_is_no_path_passes(text):
    require_discretion(notebook_of(text), "root")


@pytest.mark.parametrize(
    "out",
    [
        {"output_type": "error", "ename": "ValueError", "evalue": "", "traceback": []},
        {"output_type": "stream", "name": "stderr", "text": "UserWarning"},
    ],
)
def test_an_error_or_a_warning_is_seen(out):
    with pytest.raises(AssertionError, match="c0"):
        require_discretion(notebook_of("a = 1", outputs=[out]), "jane")


@pytest.mark.parametrize(
    "change", [{"nbformat": 3}, {"worksheets": []}, {"nbformat_minor": 4}, {"cells": [{"id": "a"}]}]
)
def test_what_is_no_notebook_is_seen(change):
    require_nbformat_4(notebook_of("a = 1"))
    with pytest.raises((AssertionError, KeyError)):
        require_nbformat_4(notebook_of("a = 1") | change)


def test_figures_that_have_changed_are_seen():
    require_alike("level 40.1\n", "level  39.9\n", "x")
    for text in ("level 50", "deviation 40", "level 40 40"):
        with pytest.raises(AssertionError):
            require_alike(text, "level 40", "x")
