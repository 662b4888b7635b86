"""Every bundle: its layout, its metadata, and that it trains, infers and evaluates as it is."""

import json
import shutil
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch
from monai import bundle

from monai_medaug import bundles
from monai_medaug.bundles import PRETRAINED, load_pretrained
from monai_medaug.bundles.pretrained import GENERATORS
from monai_medaug.transforms import NetworkRestore

FOLDER = Path(bundles.__file__).parent
SCHEMA = Path(__file__).parents[1] / "data" / "meta_schema_20240725.json"
CONFIGS = ("metadata", "train", "inference", "evaluate", "multi_gpu_train")
AFFINE = np.array([[0.8, 0, 0, -20], [0, 0.8, 0, 10], [0, 0, 3, 5], [0, 0, 0, 1]])
each = pytest.mark.parametrize("name", PRETRAINED)
each_that_restores = pytest.mark.parametrize("name", sorted(set(PRETRAINED) - set(GENERATORS)))


def config(name: str, file: str) -> Path:
    return FOLDER / name / "configs" / f"{file}.json"


def scans(name: str, folder: Path) -> Path:
    """Scans of discs for training and tests, in a dataset's folders."""
    rows, columns = np.mgrid[:60, :56]
    values = np.where((rows - 30) ** 2 + (columns - 28) ** 2 < 500, 60.0, -1000.0 if name.startswith("ct") else 0.0)
    volume = np.repeat((values + 20 * np.sin(rows / 3))[..., None], 2, 2).astype(np.float32)
    for part in ("train", "test"):
        (folder / part).mkdir(parents=True, exist_ok=True)
        nib.save(nib.Nifti1Image(volume, AFFINE), folder / part / "disc.nii.gz")
    return folder


def run(name: str, file: str, folder: Path, **changes) -> None:
    bundle.run(
        config_file=str(config(name, file)),
        meta_file=str(config(name, "metadata")),
        bundle_root=str(FOLDER / name),
        output_dir=str(folder / "output"),
        device="cpu",
        **changes,
    )


def test_the_names_are_those_promised():
    assert set(PRETRAINED) >= {"ct_denoise_dncnn", "mri_denoise_dncnn", "ct_sr", "mri_sr", "mri_sr_srcnn", "xray_dcgan"}
    with pytest.raises(ValueError, match=r"name must be one of 'ct_denoise_dncnn', .*got 'unet'"):
        load_pretrained("unet")
    with pytest.raises(ValueError, match="name must be one of"):
        load_pretrained("../networks")


@each
def test_the_layout_is_that_of_the_model_zoo(name):
    folder = FOLDER / name
    for file in ("LICENSE", "docs/README.md", "docs/data_license.txt", "models/model.safetensors"):
        assert (folder / file).is_file(), file
    own = {"multi_gpu_train", "train_diffusion"} if name in GENERATORS else set()  # train_gan is of one process
    assert {f.stem for f in (folder / "configs").iterdir()} == set(CONFIGS) ^ own
    for file in ("train", "inference", "evaluate"):
        keys = json.loads(config(name, file).read_text())
        assert {"bundle_root", "device", "dataset_dir", "network_def", "output_dir"} <= keys.keys(), file
        assert file == "train" or name in GENERATORS or "inferer" in keys


def test_all_weights_are_small():
    assert sum(f.stat().st_size for f in FOLDER.rglob("*.safetensors")) < 15e6


@each
def test_metadata_fits_the_schema(name, tmp_path):
    metadata = json.loads(config(name, "metadata").read_text())
    schema = tmp_path / metadata["schema"].rsplit("/", 1)[1]
    shutil.copy(SCHEMA, schema)  # a file that exists is not downloaded
    bundle.verify_metadata(meta_file=str(config(name, "metadata")), filepath=str(schema))
    assert metadata["version"] in metadata["changelog"]


@each_that_restores
def test_the_network_fits_its_metadata(name):
    bundle.verify_net_in_out(
        net_id="network_def",
        meta_file=str(config(name, "metadata")),
        config_file=str(config(name, "inference")),
        any=17,
    )


@each_that_restores
def test_it_is_exported_with_its_weights(name, tmp_path):
    network = load_pretrained(name)
    torch.save(network.state_dict(), tmp_path / "model.pt")
    bundle.ckpt_export(
        net_id="network_def",
        filepath=str(tmp_path / "model.ts"),
        ckpt_file=str(tmp_path / "model.pt"),
        meta_file=str(config(name, "metadata")),
        config_file=str(config(name, "inference")),
        key_in_ckpt="",
    )
    image = torch.rand(1, 1, 19, 24)
    assert torch.allclose(torch.jit.load(tmp_path / "model.ts").eval()(image), network(image), atol=1e-5)


@each_that_restores
def test_it_trains_evaluates_and_infers(name, tmp_path, capsys):
    data = scans(name, tmp_path / "data")
    run(name, "train", tmp_path, dataset_dir=str(data), max_epochs=1, patches=2)
    assert (tmp_path / "output" / "weights.safetensors").is_file()
    run(name, "evaluate", tmp_path, dataset_dir=str(data), checkpoint=str(tmp_path / "output" / "weights.safetensors"))
    assert "dB of 1 scans" in capsys.readouterr().out
    run(name, "inference", tmp_path, dataset_dir=str(data / "test"))
    restored = nib.load(tmp_path / "output" / "disc_restored.nii.gz")
    scale = 2 if "sr" in name.split("_") else 1
    assert restored.shape == (60 * scale, 56 * scale, 2)
    corner = np.array([-0.5, -0.5, -0.5, 1])
    assert np.allclose(restored.affine @ corner, AFFINE @ corner, atol=1e-4)


@each_that_restores
def test_a_pretrained_network_knows_its_units(name):
    state = torch.random.get_rng_state()
    network = load_pretrained(name)
    assert torch.equal(torch.random.get_rng_state(), state)
    assert not network.training
    assert next(network.parameters()).dtype == torch.float32
    assert network.value_range == ([-1024.0, 1500.0] if name.startswith("ct") else "percentile")
    assert NetworkRestore(network).value_range == network.value_range
