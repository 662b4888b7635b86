"""Generated images in the place of real ones: their share, class, units, size, and training with them."""

import pickle

import numpy as np
import pytest
import torch
from monai.data import DataLoader, Dataset
from torch import nn

from monai_medaug.networks import DCGANGenerator
from monai_medaug.transforms import Batched, RandSyntheticSample, RandSyntheticSampled, augmentation_report


class OfClass(nn.Module):
    """A generator whose images tell the class and the first latent number."""

    latent_dim, num_classes = 4, 3

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(1))

    def forward(self, latents: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        values = 0.4 * labels - 0.4 + 0.01 * latents[:, 0].clamp(-3, 3)
        return (self.weight * values)[:, None, None, None].expand(-1, 1, 8, 8).clone()


def of_class(image: torch.Tensor) -> int:
    return round((float(torch.as_tensor(image).mean()) + 0.4) / 0.4)


def test_the_share_is_kept_and_each_image_is_of_its_samples_class():
    swap = RandSyntheticSampled("image", OfClass(), share=0.3, label_key="label").set_random_state(0)
    real = torch.full((1, 8, 8), 9.0)
    swapped = 0
    for step in range(400):
        data = {"image": real.clone(), "label": step % 3}
        out = swap(data)
        assert out["label"] == step % 3
        if not torch.equal(out["image"], real):
            swapped += 1
            assert of_class(out["image"]) == step % 3
    assert 0.24 < swapped / 400 < 0.36
    assert all(RandSyntheticSample(OfClass(), share=0.0)(real, label=1)[0, 0, 0] == 9 for _ in range(9))


def test_a_batch_gets_an_image_of_each_samples_class():
    swap = Batched(RandSyntheticSampled("image", OfClass(), share=1.0, label_key="label")).set_random_state(0)
    labels = torch.tensor([2, 0, 1, 1, 2])
    out = swap({"image": torch.zeros(5, 1, 8, 8), "label": labels})["image"]
    assert [of_class(x) for x in out] == labels.tolist()
    assert len(set(out[:, 0, 0, 0].tolist())) == 5


def test_it_feeds_a_training_by_workers_that_draw_apart():
    swap = RandSyntheticSampled("image", OfClass(), share=0.5, label_key="label").set_random_state(1)
    data = [{"image": np.full((1, 8, 8), 9, np.float32), "label": i % 3} for i in range(24)]
    batches = list(DataLoader(Dataset(data, swap), batch_size=6, num_workers=2, multiprocessing_context="spawn"))
    images, labels = torch.cat([b["image"] for b in batches]), torch.cat([b["label"] for b in batches])
    made = images[:, 0, 0, 0] < 8
    assert 4 < int(made.sum()) < 20
    assert [of_class(x) for x in images[made]] == labels[made].tolist()
    assert len(set(images[made][:, 0, 0, 0].tolist())) == int(made.sum())


def test_units_are_the_generators_or_those_given():
    generator = DCGANGenerator(8, 32, features=16)
    generator.value_range = [0.0, 255.0]
    image = torch.zeros(1, 32, 32)
    plain = RandSyntheticSample(generator, share=1.0).set_random_state(0)(image)
    scaled = RandSyntheticSample(generator, share=1.0, value_range=(0, 1)).set_random_state(0)(image)
    assert torch.allclose(plain / 255, scaled, atol=1e-6)
    assert 0 <= float(scaled.min()) < float(scaled.max()) <= 1
    colour = RandSyntheticSample(generator, share=1.0).set_random_state(0)(torch.zeros(3, 32, 32))
    assert torch.equal(colour, plain.expand(3, -1, -1))


def test_another_size_is_made_to_fit_and_said():
    swap = RandSyntheticSample(DCGANGenerator(8, 32, features=16), share=1.0)
    with pytest.warns(UserWarning, match="generated images have another size than those they replace"):
        assert swap(torch.zeros(1, 20, 48)).shape == (1, 20, 48)


def test_it_leaves_the_generator_and_torchs_seed_as_they_were():
    generator = DCGANGenerator(8, 32, features=16).train()
    before = {k: v.clone() for k, v in generator.state_dict().items()}
    swap, state = RandSyntheticSample(generator, share=1.0), torch.random.get_rng_state()
    swap(torch.zeros(1, 32, 32))
    assert torch.equal(torch.random.get_rng_state(), state)
    assert generator.training
    assert all(torch.equal(v, before[k]) for k, v in generator.state_dict().items())
    twin = pickle.loads(pickle.dumps(swap))
    assert torch.equal(twin(torch.zeros(1, 32, 32)), swap(torch.zeros(1, 32, 32)))


def test_the_report_says_that_the_image_was_generated():
    from monai.data import MetaTensor

    swap = RandSyntheticSampled("image", DCGANGenerator(8, 32, features=16), share=1.0)
    report = augmentation_report(swap({"image": MetaTensor(torch.zeros(1, 32, 32))}))
    assert "RandSyntheticSampled" in str(report)
    assert report["anatomy_preserved"] != "yes"


def test_what_does_not_fit_is_refused_in_words():
    image = torch.zeros(1, 8, 8)
    with pytest.raises(TypeError, match="generator must be a module with latent_dim or latent_shape, got Linear"):
        RandSyntheticSample(nn.Linear(2, 2), share=0.5)
    for call, message in (
        (lambda: RandSyntheticSample(OfClass(), share=1.5), "share must be finite and within"),
        (
            lambda: RandSyntheticSample(OfClass(), share=1.0)(image),
            "label must be given for a generator with 3 classes",
        ),
        (lambda: RandSyntheticSample(OfClass(), share=1.0)(image, label=3), "labels must be classes of 0 to 2, got"),
        (
            lambda: RandSyntheticSample(DCGANGenerator(8, 32, 3, 16), share=1.0)(torch.zeros(1, 32, 32)),
            "img must have the generator's 3 channels, got 1",
        ),
    ):
        with pytest.raises(ValueError, match=message):
            call()
