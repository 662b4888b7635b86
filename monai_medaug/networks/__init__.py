"""Networks that restore and that generate, in MONAI's form, and their weights."""

from monai_medaug.networks.dcgan import DCGANDiscriminator, DCGANGenerator, load_generator
from monai_medaug.networks.diffusion import DiffusionGenerator
from monai_medaug.networks.dncnn import DnCNN
from monai_medaug.networks.edsr import EDSR
from monai_medaug.networks.image_features import ImageFeatureNet
from monai_medaug.networks.multi_scale import MultiScaleSR
from monai_medaug.networks.srcnn import SRCNN
from monai_medaug.networks.weights import inflate_weights, load_weights, save_weights

__all__ = [
    "EDSR",
    "SRCNN",
    "DCGANDiscriminator",
    "DCGANGenerator",
    "DiffusionGenerator",
    "DnCNN",
    "ImageFeatureNet",
    "MultiScaleSR",
    "inflate_weights",
    "load_generator",
    "load_weights",
    "save_weights",
]
