"""The command line itself: what it refuses, and how it finds its commands."""

import pytest

from monai_medaug import cli, commands


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
