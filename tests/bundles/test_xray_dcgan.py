"""The bundle that generates radiographs: its images, its classes, and that it trains and evaluates as it is."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from monai import bundle
from PIL import Image
from torch.nn import functional as F

from monai_medaug import bundles
from monai_medaug.bundles import load_pretrained
from monai_medaug.engines import generate_samples
from monai_medaug.networks import load_generator
from monai_medaug.transforms import RandSyntheticSampled
from tests.engines.radiographs import radiographs

FOLDER = Path(bundles.__file__).parent / "xray_dcgan"


def run(files: str, folder: Path, **changes) -> None:
    """Run the bundle by one config, or by several of which the later ones replace entries."""
    bundle.run(
        config_file=[str(FOLDER / "configs" / f"{file}.json") for file in files.split()],
        meta_file=str(FOLDER / "configs" / "metadata.json"),
        bundle_root=str(FOLDER),
        output_dir=str(folder / "output"),
        device="cpu",
        **changes,
    )


def test_it_makes_radiographs_of_eight_bits():
    state = torch.random.get_rng_state()
    generator = load_pretrained("xray_dcgan")
    assert torch.equal(torch.random.get_rng_state(), state)
    assert not generator.training
    assert generator.value_range == [0.0, 255.0]
    images = generate_samples(generator, 16, seed=5)
    assert images.shape == (16, 1, 32, 32)
    assert 0 <= float(images.min()) < 60
    assert 180 < float(images.max()) <= 255
    assert torch.equal(generate_samples(load_generator(FOLDER / "models" / "model.safetensors"), 16, 5), images)
    swap = RandSyntheticSampled("image", generator, share=1.0, label_key="label")
    assert swap({"image": torch.zeros(1, 32, 32), "label": 1})["image"].shape == (1, 32, 32)


def test_its_images_look_like_real_ones_of_their_class():
    """The mean image of each class is that of real radiographs of the class, more than of the other."""
    real = radiographs(1000)
    of_class = {k: torch.stack([d["image"] for d in real if int(d["label"]) == k]) for k in (0, 1)}
    means = {k: F.interpolate(x, size=(32, 32), mode="bicubic", antialias=True).mean(0) for k, x in of_class.items()}
    for k in (0, 1):
        made = generate_samples(load_pretrained("xray_dcgan"), 200, 1, labels=k) / 255
        near, far = ((made.mean(0) - means[j]).abs().mean() for j in (k, 1 - k))
        assert float(near) < 0.5 * float(far)
        assert np.corrcoef(made.mean(0).flatten(), means[k].flatten())[0, 1] > 0.95


def radiograph_files(folder: Path, count: int = 24) -> Path:
    """Blurred noise, as PNG files of two classes for training and test."""
    random = np.random.default_rng(0)
    for part in ("train", "test"):
        for place in range(count if part == "train" else 4 * count):
            own = folder / part / str(place % 2)
            own.mkdir(parents=True, exist_ok=True)
            coarse = random.integers(0, 256, (7, 7), np.uint8)
            Image.fromarray(coarse).resize((28, 28), Image.Resampling.BICUBIC).save(own / f"{place:03d}.png")
    return folder


def test_it_generates_as_it_is(tmp_path):
    run("inference", tmp_path, count=5, labels=[0, 1, 1, 1, 0])
    listed = json.loads((tmp_path / "output" / "datalist.json").read_text())["training"]
    assert [item["label"] for item in listed] == [0, 1, 1, 1, 0]
    assert all(Image.open(tmp_path / "output" / item["image"]).size == (32, 32) for item in listed)
    assert len({(tmp_path / "output" / item["image"]).read_bytes() for item in listed}) == 5


def test_it_trains_as_it_is(tmp_path):
    data = radiograph_files(tmp_path / "data")
    small = {"network_def#features": 16, "discriminator_def#features": 16}
    run("train", tmp_path, dataset_dir=str(data), max_epochs=1, batch_size=8, **small)
    generator = load_generator(tmp_path / "output" / "weights.safetensors")
    assert generator.value_range == [0.0, 255.0]
    assert generator.num_classes == 2


def test_a_diffusion_model_trains_and_generates_as_it_is(tmp_path):
    data = radiograph_files(tmp_path / "data", 8)
    small = {"network_def#channels": [8, 16], "network_def#steps": 2, "max_epochs": 1, "batch_size": 8}
    run("train train_diffusion", tmp_path, dataset_dir=str(data), **small)
    assert len(list((tmp_path / "output" / "samples").glob("image_*.png"))) == 16
    network = {"_target_": "DiffusionGenerator", "channels": [8, 16], "num_classes": 2, "steps": 2}
    weights = str(tmp_path / "output" / "generator.safetensors")
    run("inference", tmp_path / "again", network_def=network, checkpoint=weights, count=16)
    first, again = (tmp_path / place / "image_09.png" for place in ("output/samples", "again/output"))
    assert np.array_equal(np.asarray(Image.open(first)), np.asarray(Image.open(again)))


@pytest.mark.slow
def test_it_is_evaluated_as_it_is(tmp_path, capsys):
    data = radiograph_files(tmp_path / "data", 96)
    run("evaluate", tmp_path, dataset_dir=str(data), count=60)
    assert "copies of training images: not found" in capsys.readouterr().out
    assert (tmp_path / "output" / "generation_report.png").is_file()
