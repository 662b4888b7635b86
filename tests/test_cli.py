"""The command line itself: what it refuses, and how it finds its commands."""

import io
import os
import subprocess
import sys

import pytest

from monai_medaug import cli, commands
from tests.scan_files import ct_files


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["/data/Mueller^Erika.nii"],
        ["augment", "/data/Mueller^Erika.nii", "--out", "x"],
        ["augment", "/data/ct.nii", "Erika/Mueller", "--modality", "ct", "--out", "x"],
        ["augment", "/data/ct.nii", "--modality", "/Mueller's CT", "--out", "x"],
        ["augment", "/data/ct.nii", "--modality", "ct", "--out", "x", "--seed", "Mueller"],
        ["augment", "/data/ct.nii", "--modality", "ct", "--out", "x", "--seed", "-1"],
        ["augment", "/data/ct.nii", "--modality", "ct", "--out", "x", "--count", "0"],
        ["augment", "/data/ct.nii", "--modality", "ct", "--out", "x", "--volume", "Mueller"],
        ["augment", "/data/ct.nii", "--modality", "ct", "--out", "x", "--nan-as", "Mueller"],
        ["augment", "/data/ct.nii", "--modality", "ct", "--out", "x", "--strength", "Mueller's 'x' one"],
    ],
)
def test_a_wrong_command_line_is_one_line_that_quotes_nothing(capsys, arguments):
    assert cli.main(arguments) == 2
    error = capsys.readouterr().err
    assert error.startswith("monai-medaug: error: ")
    assert error.count("\n") == 1
    assert "Mueller" not in error


def test_version_and_help(capsys):
    for option, text in (("--version", "monai-medaug 0"), ("--help", "augment")):
        with pytest.raises(SystemExit) as end:
            cli.main([option])
        assert end.value.code == 0
        assert text in capsys.readouterr().out


def test_a_new_command_is_a_file_and_nothing_else(tmp_path, monkeypatch, capsys):
    (tmp_path / "say_hello.py").write_text(
        "from monai_medaug.commands.command import Command\n"
        "COMMAND = Command('say it', lambda p: p.add_argument('name'), lambda a: print('hello', a.name))\n"
    )
    monkeypatch.setattr(commands, "__path__", [*commands.__path__, str(tmp_path)])
    assert cli.main(["say-hello", "you"]) == 0
    assert capsys.readouterr().out == "hello you\n"
    with pytest.raises(SystemExit):
        cli.main(["--help"])
    printed = capsys.readouterr().out
    names = ["demo", "augment", "restore", "gallery", "say-hello"]
    assert sorted(names, key=printed.index) == names
    assert "sample" not in printed, "a module of helpers is taken for a command"


def narrow_run(encoding, tmp_path, *arguments):
    command = [sys.executable, "-m", "monai_medaug", *arguments]
    environment = {**os.environ, "PYTHONIOENCODING": encoding, "PYTHONUTF8": "0"}
    environment["PYTHONPATH"] = os.pathsep.join(sys.path)
    return subprocess.run(
        [str(c) for c in command], capture_output=True, cwd=tmp_path, check=False, timeout=300, env=environment
    )


def test_a_narrow_console_loses_letters_and_no_sample(tmp_path):
    image = ct_files(tmp_path)["image"]
    out = tmp_path / "out"
    done = narrow_run("cp1251", tmp_path, "augment", image, "--modality", "ct", "--out", out, "--count", 3, "--seed", 0)
    assert done.returncode == 0, done.stderr
    assert len(list(out.glob("*.nii.gz"))) == len(list(out.glob("*.png"))) == len(list(out.glob("*.json"))) == 3
    assert b"3 sample(s) written" in done.stdout
    assert b"augmenting" in done.stderr
    "".join(p.read_text(encoding="utf-8") for p in out.glob("*.json")).encode("utf-8")


class Narrow(io.TextIOWrapper):
    def __init__(self, encoding):
        super().__init__(io.BytesIO(), encoding, write_through=True)


@pytest.mark.parametrize("encoding", ["ascii", "cp1251", "koi8-r"])
def test_streams_come_back_as_they_were_and_may_be_of_any_kind(tmp_path, monkeypatch, encoding):
    (tmp_path / "say_times.py").write_text(
        "import sys\n"
        "from tqdm import tqdm\n"
        "from monai_medaug.commands.command import Command\n"
        "def run(a):\n"
        "    for _ in tqdm([1]):\n"
        "        tqdm.write('0.9 \\u00d7 0.9', file=sys.stdout)\n"
        "    print('\\u00d7')\n"
        "    print('\\u00d7', file=sys.stderr)\n"
        "    raise ValueError('\\u00d7')\n"
        "COMMAND = Command('say it', lambda p: None, run)\n"
    )
    monkeypatch.setattr(commands, "__path__", [*commands.__path__, str(tmp_path)])
    out, err = Narrow(encoding), Narrow(encoding)
    monkeypatch.setattr("sys.stdout", out)
    monkeypatch.setattr("sys.stderr", err)
    assert cli.main(["say-times"]) == 2
    assert out.buffer.getvalue().split() == [b"0.9", b"?", b"0.9", b"?"]
    assert err.buffer.getvalue().endswith(b"?\nmonai-medaug: error: ?\n")
    assert (out.errors, err.errors) == ("strict", "strict")
    assert (sys.stdout, sys.stderr) == (out, err)
    for stream in (io.StringIO(), None):
        monkeypatch.setattr("sys.stdout", stream)
        monkeypatch.setattr("sys.stderr", stream)
        assert cli.main(["say-times"]) == 2
        assert sys.stdout is sys.stderr is stream
