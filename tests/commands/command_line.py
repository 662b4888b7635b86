"""The command line called from tests."""

from monai_medaug import cli


def run(*arguments):
    return cli.main([str(a) for a in arguments])


def augment(path, out, *more):
    return run("augment", path, "--modality", "ct", "--out", out, *more)


def files(folder):
    return sorted(p.name for p in folder.iterdir())
