"""Array transforms and their dictionary twins, for static checkers: written by tests/contract/stubs.py."""

from collections.abc import Sequence
from typing import Any

import torch
from monai.config import KeysCollection

from monai_medaug.core.batch import Batched as Batched
from monai_medaug.core.dictionary import DictionaryOperation, DrawingDictionaryOperation, RandomDictionaryOperation
from monai_medaug.core.replay import replay as replay
from monai_medaug.core.report import Report as Report
from monai_medaug.core.report import augmentation_report as augmentation_report
from monai_medaug.core.sample_seed import SampleSeeded as SampleSeeded
from monai_medaug.functional.adversarial.gradient import Loss
from monai_medaug.transforms.adversarial.ball import FGSMAttack as FGSMAttack
from monai_medaug.transforms.adversarial.ball import PGDAttack as PGDAttack
from monai_medaug.transforms.adversarial.base import Network
from monai_medaug.transforms.adversarial.field import AdversarialBiasField as AdversarialBiasField
from monai_medaug.transforms.ct.acquisition import RandCTBeamHardening as RandCTBeamHardening
from monai_medaug.transforms.ct.dose import RandCTDose as RandCTDose
from monai_medaug.transforms.ct.hu import HUFromWindow as HUFromWindow
from monai_medaug.transforms.ct.hu import HUWindow as HUWindow
from monai_medaug.transforms.ct.hu import RandHUContrast as RandHUContrast
from monai_medaug.transforms.ct.hu import RandHUWindow as RandHUWindow
from monai_medaug.transforms.ct.metal import RandCTMetal as RandCTMetal
from monai_medaug.transforms.ct.metal import inserted_metal as inserted_metal
from monai_medaug.transforms.ct.metal_reduction import CTMetalArtifactReduction as CTMetalArtifactReduction
from monai_medaug.transforms.ct.motion import RandCTMotion as RandCTMotion
from monai_medaug.transforms.ct.ring import RandCTRing as RandCTRing
from monai_medaug.transforms.denoise.collaborative import CollaborativeDenoise as CollaborativeDenoise
from monai_medaug.transforms.denoise.nlm import NonLocalMeansDenoise as NonLocalMeansDenoise
from monai_medaug.transforms.denoise.smoothing import BilateralDenoise as BilateralDenoise
from monai_medaug.transforms.denoise.smoothing import GaussianDenoise as GaussianDenoise
from monai_medaug.transforms.denoise.smoothing import LowPassDenoise as LowPassDenoise
from monai_medaug.transforms.denoise.smoothing import MedianDenoise as MedianDenoise
from monai_medaug.transforms.denoise.wavelet import WaveletDenoise as WaveletDenoise
from monai_medaug.transforms.intensity import RandBlur as RandBlur
from monai_medaug.transforms.intensity import RandIntensityCurve as RandIntensityCurve
from monai_medaug.transforms.mirror import RandMirror as RandMirror
from monai_medaug.transforms.mixing.items import MixedBatch as MixedBatch
from monai_medaug.transforms.mixing.mix import BatchCutMix as BatchCutMix
from monai_medaug.transforms.mixing.mix import BatchMix as BatchMix
from monai_medaug.transforms.mixing.mix import BatchMixUp as BatchMixUp
from monai_medaug.transforms.mixing.twin import MixingDictionary
from monai_medaug.transforms.mri.coil import RandMRIBiasField as RandMRIBiasField
from monai_medaug.transforms.mri.coil import RandMRINoise as RandMRINoise
from monai_medaug.transforms.mri.kspace import RandMRIGhosting as RandMRIGhosting
from monai_medaug.transforms.mri.kspace import RandMRISpike as RandMRISpike
from monai_medaug.transforms.mri.motion import RandMRIMotion as RandMRIMotion
from monai_medaug.transforms.mri.motion_correction import MRIMotionCorrection as MRIMotionCorrection
from monai_medaug.transforms.mri.undersampling import RandMRIGibbs as RandMRIGibbs
from monai_medaug.transforms.mri.undersampling import RandMRIUndersampling as RandMRIUndersampling
from monai_medaug.transforms.network_restore import NetworkRestore as NetworkRestore
from monai_medaug.transforms.presets.base import AugmentationPreset as AugmentationPreset
from monai_medaug.transforms.presets.ct import ct_augmentation as ct_augmentation
from monai_medaug.transforms.presets.mri import mri_augmentation as mri_augmentation
from monai_medaug.transforms.presets.xray import xray_augmentation as xray_augmentation
from monai_medaug.transforms.resolution import RandThickSlice as RandThickSlice
from monai_medaug.transforms.safety.preserving import PreservingCompose as PreservingCompose
from monai_medaug.transforms.spatial import RandAffineElastic as RandAffineElastic
from monai_medaug.transforms.superresolution import Upscale as Upscale
from monai_medaug.transforms.synthetic_sample import RandSyntheticSample as RandSyntheticSample
from monai_medaug.transforms.xray.collimation import RandXRayCollimation as RandXRayCollimation
from monai_medaug.transforms.xray.exposure import RandXRayExposure as RandXRayExposure
from monai_medaug.transforms.xray.scatter import RandXRayScatter as RandXRayScatter

__all__ = [
    "AdversarialBiasField",
    "AdversarialBiasFieldD",
    "AdversarialBiasFieldDict",
    "AdversarialBiasFieldd",
    "AugmentationPreset",
    "BatchCutMix",
    "BatchCutMixD",
    "BatchCutMixDict",
    "BatchCutMixd",
    "BatchMix",
    "BatchMixD",
    "BatchMixDict",
    "BatchMixUp",
    "BatchMixUpD",
    "BatchMixUpDict",
    "BatchMixUpd",
    "BatchMixd",
    "Batched",
    "BilateralDenoise",
    "BilateralDenoiseD",
    "BilateralDenoiseDict",
    "BilateralDenoised",
    "CTMetalArtifactReduction",
    "CTMetalArtifactReductionD",
    "CTMetalArtifactReductionDict",
    "CTMetalArtifactReductiond",
    "CollaborativeDenoise",
    "CollaborativeDenoiseD",
    "CollaborativeDenoiseDict",
    "CollaborativeDenoised",
    "FGSMAttack",
    "FGSMAttackD",
    "FGSMAttackDict",
    "FGSMAttackd",
    "GaussianDenoise",
    "GaussianDenoiseD",
    "GaussianDenoiseDict",
    "GaussianDenoised",
    "HUFromWindow",
    "HUFromWindowD",
    "HUFromWindowDict",
    "HUFromWindowd",
    "HUWindow",
    "HUWindowD",
    "HUWindowDict",
    "HUWindowd",
    "LowPassDenoise",
    "LowPassDenoiseD",
    "LowPassDenoiseDict",
    "LowPassDenoised",
    "MRIMotionCorrection",
    "MRIMotionCorrectionD",
    "MRIMotionCorrectionDict",
    "MRIMotionCorrectiond",
    "MedianDenoise",
    "MedianDenoiseD",
    "MedianDenoiseDict",
    "MedianDenoised",
    "MixedBatch",
    "NetworkRestore",
    "NetworkRestoreD",
    "NetworkRestoreDict",
    "NetworkRestored",
    "NonLocalMeansDenoise",
    "NonLocalMeansDenoiseD",
    "NonLocalMeansDenoiseDict",
    "NonLocalMeansDenoised",
    "PGDAttack",
    "PGDAttackD",
    "PGDAttackDict",
    "PGDAttackd",
    "PreservingCompose",
    "RandAffineElastic",
    "RandAffineElasticD",
    "RandAffineElasticDict",
    "RandAffineElasticd",
    "RandBlur",
    "RandBlurD",
    "RandBlurDict",
    "RandBlurd",
    "RandCTBeamHardening",
    "RandCTBeamHardeningD",
    "RandCTBeamHardeningDict",
    "RandCTBeamHardeningd",
    "RandCTDose",
    "RandCTDoseD",
    "RandCTDoseDict",
    "RandCTDosed",
    "RandCTMetal",
    "RandCTMetalD",
    "RandCTMetalDict",
    "RandCTMetald",
    "RandCTMotion",
    "RandCTMotionD",
    "RandCTMotionDict",
    "RandCTMotiond",
    "RandCTRing",
    "RandCTRingD",
    "RandCTRingDict",
    "RandCTRingd",
    "RandHUContrast",
    "RandHUContrastD",
    "RandHUContrastDict",
    "RandHUContrastd",
    "RandHUWindow",
    "RandHUWindowD",
    "RandHUWindowDict",
    "RandHUWindowd",
    "RandIntensityCurve",
    "RandIntensityCurveD",
    "RandIntensityCurveDict",
    "RandIntensityCurved",
    "RandMRIBiasField",
    "RandMRIBiasFieldD",
    "RandMRIBiasFieldDict",
    "RandMRIBiasFieldd",
    "RandMRIGhosting",
    "RandMRIGhostingD",
    "RandMRIGhostingDict",
    "RandMRIGhostingd",
    "RandMRIGibbs",
    "RandMRIGibbsD",
    "RandMRIGibbsDict",
    "RandMRIGibbsd",
    "RandMRIMotion",
    "RandMRIMotionD",
    "RandMRIMotionDict",
    "RandMRIMotiond",
    "RandMRINoise",
    "RandMRINoiseD",
    "RandMRINoiseDict",
    "RandMRINoised",
    "RandMRISpike",
    "RandMRISpikeD",
    "RandMRISpikeDict",
    "RandMRISpiked",
    "RandMRIUndersampling",
    "RandMRIUndersamplingD",
    "RandMRIUndersamplingDict",
    "RandMRIUndersamplingd",
    "RandMirror",
    "RandMirrorD",
    "RandMirrorDict",
    "RandMirrord",
    "RandSyntheticSample",
    "RandSyntheticSampleD",
    "RandSyntheticSampleDict",
    "RandSyntheticSampled",
    "RandThickSlice",
    "RandThickSliceD",
    "RandThickSliceDict",
    "RandThickSliced",
    "RandXRayCollimation",
    "RandXRayCollimationD",
    "RandXRayCollimationDict",
    "RandXRayCollimationd",
    "RandXRayExposure",
    "RandXRayExposureD",
    "RandXRayExposureDict",
    "RandXRayExposured",
    "RandXRayScatter",
    "RandXRayScatterD",
    "RandXRayScatterDict",
    "RandXRayScatterd",
    "Report",
    "SampleSeeded",
    "Upscale",
    "UpscaleD",
    "UpscaleDict",
    "Upscaled",
    "WaveletDenoise",
    "WaveletDenoiseD",
    "WaveletDenoiseDict",
    "WaveletDenoised",
    "augmentation_report",
    "ct_augmentation",
    "inserted_metal",
    "mri_augmentation",
    "replay",
    "xray_augmentation",
]

class AdversarialBiasFieldd(DrawingDictionaryOperation):
    """Dictionary version of `AdversarialBiasField`."""

    def __init__(
        self,
        keys: KeysCollection,
        network: Network,
        target_key: Any = None,
        peak_to_peak: float = 0.4,
        step_size: float | None = None,
        num_steps: int = 5,
        loss: Loss | None = None,
        allow_missing_keys: bool = False,
    ) -> None: ...

class BatchCutMixd(MixingDictionary):
    """Dictionary version of `BatchCutMix`."""

    def __init__(
        self,
        keys: KeysCollection,
        label_keys: KeysCollection = (),
        mask_keys: KeysCollection = (),
        alpha: float = 1.0,
        prob: float = 1.0,
        per_sample: bool = True,
        target_form: str = "soft",
        num_classes: int | Sequence[int | None] | None = None,
        lesions: str = "ignore",
        lesion_labels: int | Sequence[int] = (),
        tries: int = 20,
        lesion_key: Any = None,
        allow_missing_keys: bool = False,
    ) -> None: ...

class BatchMixUpd(MixingDictionary):
    """Dictionary version of `BatchMixUp`."""

    def __init__(
        self,
        keys: KeysCollection,
        label_keys: KeysCollection = (),
        mask_keys: KeysCollection = (),
        alpha: float = 1.0,
        prob: float = 1.0,
        per_sample: bool = True,
        target_form: str = "soft",
        num_classes: int | Sequence[int | None] | None = None,
        num_mask_classes: int | Sequence[int | None] | None = None,
        allow_missing_keys: bool = False,
    ) -> None: ...

class BatchMixd(MixingDictionary):
    """Dictionary version of `BatchMix`."""

    def __init__(
        self,
        keys: KeysCollection,
        label_keys: KeysCollection = (),
        mask_keys: KeysCollection = (),
        alpha: float = 1.0,
        cutmix_prob: float = 0.5,
        prob: float = 1.0,
        per_sample: bool = True,
        target_form: str = "soft",
        num_classes: int | Sequence[int | None] | None = None,
        num_mask_classes: int | Sequence[int | None] | None = None,
        lesions: str = "ignore",
        lesion_labels: int | Sequence[int] = (),
        tries: int = 20,
        lesion_key: Any = None,
        allow_missing_keys: bool = False,
    ) -> None: ...

class BilateralDenoised(DictionaryOperation):
    """Dictionary version of `BilateralDenoise`."""

    def __init__(
        self,
        keys: KeysCollection,
        range_sigma: float | None = None,
        space_sigma: float = 1.5,
        diameter: int = 7,
        range_factor: float = 3,
        preset: str | None = None,
        noise: str = "gaussian",
        sigma: float | None = None,
        strength: float | None = None,
        allow_missing_keys: bool = False,
    ) -> None: ...

class CTMetalArtifactReductiond(DictionaryOperation):
    """Dictionary version of `CTMetalArtifactReduction`."""

    def __init__(
        self,
        keys: KeysCollection,
        threshold_hu: float = 2000,
        method: str = "nmar",
        frequency_split: bool = False,
        body_mm: float = 280.0,
        metal_mask_key: Any = None,
        allow_missing_keys: bool = False,
    ) -> None: ...

class CollaborativeDenoised(DictionaryOperation):
    """Dictionary version of `CollaborativeDenoise`."""

    def __init__(
        self,
        keys: KeysCollection,
        sigma: float | None = None,
        noise: str = "gaussian",
        strength: float | None = None,
        allow_missing_keys: bool = False,
    ) -> None: ...

class FGSMAttackd(DictionaryOperation):
    """Dictionary version of `FGSMAttack`."""

    def __init__(
        self,
        keys: KeysCollection,
        network: Network,
        target_key: Any,
        epsilon: float = 0.01,
        loss: Loss | None = None,
        value_range: Sequence[float] | None = None,
        norm: str = "linf",
        mask_key: Any = None,
        allow_missing_keys: bool = False,
    ) -> None: ...

class GaussianDenoised(DictionaryOperation):
    """Dictionary version of `GaussianDenoise`."""

    def __init__(
        self,
        keys: KeysCollection,
        width: float = 0.8,
        unit: str = "voxel",
        preset: str | None = None,
        noise: str = "gaussian",
        sigma: float | None = None,
        strength: float | None = None,
        allow_missing_keys: bool = False,
    ) -> None: ...

class HUFromWindowd(DictionaryOperation):
    """Dictionary version of `HUFromWindow`."""

    def __init__(
        self,
        keys: KeysCollection,
        window: Sequence[float],
        allow_missing_keys: bool = False,
    ) -> None: ...

class HUWindowd(DictionaryOperation):
    """Dictionary version of `HUWindow`."""

    def __init__(
        self,
        keys: KeysCollection,
        center: float | None = None,
        width: float | None = None,
        preset: str | None = None,
        out_range: Sequence[float] = (0, 1),
        clip: bool = True,
        allow_missing_keys: bool = False,
    ) -> None: ...

class LowPassDenoised(DictionaryOperation):
    """Dictionary version of `LowPassDenoise`."""

    def __init__(
        self,
        keys: KeysCollection,
        kept: float = 0.6,
        noise: str = "gaussian",
        sigma: float | None = None,
        strength: float | None = None,
        allow_missing_keys: bool = False,
    ) -> None: ...

class MRIMotionCorrectiond(DictionaryOperation):
    """Dictionary version of `MRIMotionCorrection`."""

    def __init__(
        self,
        keys: KeysCollection,
        segments: int | Sequence[Sequence[int]],
        phase_axis: int = 0,
        translate_mm: float = 10.0,
        rotate_degrees: float = 5.0,
        order: str = "sequential",
        kspace: bool = False,
        maps_key: Any = None,
        allow_missing_keys: bool = False,
    ) -> None: ...

class MedianDenoised(DictionaryOperation):
    """Dictionary version of `MedianDenoise`."""

    def __init__(
        self,
        keys: KeysCollection,
        size: int = 3,
        preset: str | None = None,
        noise: str = "gaussian",
        sigma: float | None = None,
        strength: float | None = None,
        allow_missing_keys: bool = False,
    ) -> None: ...

class NetworkRestored(DictionaryOperation):
    """Dictionary version of `NetworkRestore`."""

    def __init__(
        self,
        keys: KeysCollection,
        network: torch.nn.Module,
        value_range: Sequence[float] | str | None = None,
        scale: float | None = None,
        strength: float = 1.0,
        sigma: float | None = None,
        window: int | None = None,
        self_ensemble: bool = False,
        amp: bool = False,
        mode: str | Sequence[str | int] = "bilinear",
        point_keys: KeysCollection = (),
        box_keys: KeysCollection = (),
        point_space: str = "world",
        allow_missing_keys: bool = False,
    ) -> None: ...

class NonLocalMeansDenoised(DictionaryOperation):
    """Dictionary version of `NonLocalMeansDenoise`."""

    def __init__(
        self,
        keys: KeysCollection,
        sigma: float | None = None,
        noise: str = "gaussian",
        patch: int | None = None,
        distance: int | None = None,
        smoothing: float | None = None,
        passes: int | None = None,
        preset: str | None = None,
        strength: float | None = None,
        guide_key: Any = None,
        allow_missing_keys: bool = False,
    ) -> None: ...

class PGDAttackd(DrawingDictionaryOperation):
    """Dictionary version of `PGDAttack`."""

    def __init__(
        self,
        keys: KeysCollection,
        network: Network,
        target_key: Any,
        epsilon: float = 0.01,
        step_size: float = 0.003,
        num_steps: int = 5,
        norm: str = "linf",
        loss: Loss | None = None,
        value_range: Sequence[float] | None = None,
        random_start: bool = True,
        mask_key: Any = None,
        allow_missing_keys: bool = False,
    ) -> None: ...

class RandAffineElasticd(RandomDictionaryOperation):
    """Dictionary version of `RandAffineElastic`."""

    def __init__(
        self,
        keys: KeysCollection,
        prob: float = 0.8,
        rotate_degrees: float | Sequence[float] = 5,
        translate_fraction: float | Sequence[float] = 0.05,
        scale_fraction: float | Sequence[float] = 0.1,
        elastic_alpha: float | Sequence[float] = 1000,
        elastic_sigma: float = 8,
        min_jacobian: float = 0.2,
        mode: str | int | Sequence[str | int] = "bilinear",
        padding_mode: str | float | Sequence[str | float] = "border",
        elastic_unit: str = "voxel",
        elastic_mm: float | Sequence[float] | None = None,
        rotate_axis: str | None = None,
        shear_degrees: float | Sequence[float] = 0,
        point_keys: KeysCollection = (),
        box_keys: KeysCollection = (),
        point_space: str = "world",
        allow_missing_keys: bool = False,
    ) -> None: ...

class RandBlurd(RandomDictionaryOperation):
    """Dictionary version of `RandBlur`."""

    def __init__(
        self,
        keys: KeysCollection,
        fwhm_mm: float | Sequence[float] = (0.5, 3),
        prob: float = 0.3,
        allow_missing_keys: bool = False,
    ) -> None: ...

class RandCTBeamHardeningd(RandomDictionaryOperation):
    """Dictionary version of `RandCTBeamHardening`."""

    def __init__(
        self,
        keys: KeysCollection,
        amount: float | Sequence[float] = (0.2, 1),
        prob: float = 0.3,
        body_mm: float = 280.0,
        allow_missing_keys: bool = False,
    ) -> None: ...

class RandCTDosed(RandomDictionaryOperation):
    """Dictionary version of `RandCTDose`."""

    def __init__(
        self,
        keys: KeysCollection,
        noise_hu: float | Sequence[float] = (1, 10),
        kernel: str = "standard",
        slice_correlation: float | None = None,
        prob: float = 0.8,
        domain: str = "image",
        dose_fraction: float | Sequence[float] = (0.1, 1),
        photons: float = 500000.0,
        electronic_noise: float = 5,
        body_mm: float = 280.0,
        thickness_mm: float | None = None,
        allow_missing_keys: bool = False,
    ) -> None: ...

class RandCTMetald(RandomDictionaryOperation):
    """Dictionary version of `RandCTMetal`."""

    def __init__(
        self,
        keys: KeysCollection,
        material: str | None = None,
        radius_mm: float | Sequence[float] = (2.5, 4),
        rods: int | None = None,
        photons: float = 1000000.0,
        scatter: float = 2e-05,
        prob: float = 0.2,
        length_mm: float | Sequence[float] = (30, 60),
        implant: str | None = None,
        body_mm: float = 280.0,
        allow_missing_keys: bool = False,
    ) -> None: ...

class RandCTMotiond(RandomDictionaryOperation):
    """Dictionary version of `RandCTMotion`."""

    def __init__(
        self,
        keys: KeysCollection,
        shift_mm: float | Sequence[float] = (0, 3),
        rotate_degrees: float | Sequence[float] = (0, 2),
        trajectory: str | None = None,
        prob: float = 0.3,
        body_mm: float = 280.0,
        breath_seconds: float | Sequence[float] = (3, 5),
        turn_seconds: float | Sequence[float] = (0.3, 0.5),
        feed_mm: float | Sequence[float] = (20, 50),
        allow_missing_keys: bool = False,
    ) -> None: ...

class RandCTRingd(RandomDictionaryOperation):
    """Dictionary version of `RandCTRing`."""

    def __init__(
        self,
        keys: KeysCollection,
        gain: float | Sequence[float] = (0.002, 0.01),
        elements: float = 0.1,
        drift: float = 0.2,
        prob: float = 0.2,
        isocentre_mm: Sequence[float] | None = None,
        allow_missing_keys: bool = False,
    ) -> None: ...

class RandHUContrastd(RandomDictionaryOperation):
    """Dictionary version of `RandHUContrast`."""

    def __init__(
        self,
        keys: KeysCollection,
        factor: float | Sequence[float] = (0.85, 1.15),
        pivot_hu: float = 0,
        prob: float = 0.8,
        allow_missing_keys: bool = False,
    ) -> None: ...

class RandHUWindowd(RandomDictionaryOperation):
    """Dictionary version of `RandHUWindow`."""

    def __init__(
        self,
        keys: KeysCollection,
        center: float | Sequence[float] = (-100, 100),
        width: float | Sequence[float] = (200, 400),
        out_range: Sequence[float] = (0, 1),
        prob: float = 1.0,
        allow_missing_keys: bool = False,
    ) -> None: ...

class RandIntensityCurved(RandomDictionaryOperation):
    """Dictionary version of `RandIntensityCurve`."""

    def __init__(
        self,
        keys: KeysCollection,
        gamma: float | Sequence[float] = (0.7, 1.5),
        contrast: float | Sequence[float] = (0.75, 1.25),
        brightness: float | Sequence[float] = 0.1,
        prob: float = 0.3,
        allow_missing_keys: bool = False,
    ) -> None: ...

class RandMRIBiasFieldd(RandomDictionaryOperation):
    """Dictionary version of `RandMRIBiasField`."""

    def __init__(
        self,
        keys: KeysCollection,
        peak_to_peak: float | Sequence[float] = (0.1, 0.4),
        prob: float = 0.8,
        allow_missing_keys: bool = False,
    ) -> None: ...

class RandMRIGhostingd(RandomDictionaryOperation):
    """Dictionary version of `RandMRIGhosting`."""

    def __init__(
        self,
        keys: KeysCollection,
        ghosts: int | Sequence[int] = (2, 5),
        intensity: float | Sequence[float] = (0.2, 0.5),
        centre_fraction: float = 0.02,
        phase_axis: int | None = None,
        prob: float = 0.3,
        keep_zeros: bool | None = None,
        allow_missing_keys: bool = False,
    ) -> None: ...

class RandMRIGibbsd(RandomDictionaryOperation):
    """Dictionary version of `RandMRIGibbs`."""

    def __init__(
        self,
        keys: KeysCollection,
        kept: float | Sequence[float] = (0.6, 0.9),
        phase_axis: int | None = None,
        prob: float = 0.3,
        keep_zeros: bool | None = None,
        allow_missing_keys: bool = False,
    ) -> None: ...

class RandMRIMotiond(RandomDictionaryOperation):
    """Dictionary version of `RandMRIMotion`."""

    def __init__(
        self,
        keys: KeysCollection,
        translate_mm: float | Sequence[float] = (0, 5),
        rotate_degrees: float | Sequence[float] = (0, 5),
        prob: float = 0.3,
        movements: int = 2,
        trajectory: str = "step",
        phase_axis: int | None = None,
        keep_zeros: bool | None = None,
        allow_missing_keys: bool = False,
    ) -> None: ...

class RandMRINoised(RandomDictionaryOperation):
    """Dictionary version of `RandMRINoise`."""

    def __init__(
        self,
        keys: KeysCollection,
        snr: float | Sequence[float] = (5, 40),
        coils: int = 1,
        prob: float = 0.8,
        signal: str = "foreground",
        keep_zeros: bool | None = None,
        band_limited: bool = True,
        allow_missing_keys: bool = False,
    ) -> None: ...

class RandMRISpiked(RandomDictionaryOperation):
    """Dictionary version of `RandMRISpike`."""

    def __init__(
        self,
        keys: KeysCollection,
        amplitude: float | Sequence[float] = (0.02, 0.1),
        spikes: int | Sequence[int] = (1, 3),
        prob: float = 0.2,
        keep_zeros: bool | None = None,
        allow_missing_keys: bool = False,
    ) -> None: ...

class RandMRIUndersamplingd(RandomDictionaryOperation):
    """Dictionary version of `RandMRIUndersampling`."""

    def __init__(
        self,
        keys: KeysCollection,
        acceleration: float | Sequence[float] = (2, 4),
        centre_fraction: float = 0.08,
        pattern: str = "variable_density",
        phase_axis: int | None = None,
        prob: float = 0.3,
        keep_zeros: bool | None = None,
        allow_missing_keys: bool = False,
    ) -> None: ...

class RandMirrord(RandomDictionaryOperation):
    """Dictionary version of `RandMirror`."""

    def __init__(
        self,
        keys: KeysCollection,
        prob: float = 0.5,
        axes: int | Sequence[int] | None = None,
        mode: str | int | Sequence[str | int] = "bilinear",
        point_keys: KeysCollection = (),
        box_keys: KeysCollection = (),
        point_space: str = "world",
        allow_missing_keys: bool = False,
    ) -> None: ...

class RandSyntheticSampled(RandomDictionaryOperation):
    """Dictionary version of `RandSyntheticSample`."""

    def __init__(
        self,
        keys: KeysCollection,
        generator: torch.nn.Module,
        share: float = 0.5,
        value_range: Sequence[float] | None = None,
        prob: float = 1.0,
        label_key: Any = None,
        allow_missing_keys: bool = False,
    ) -> None: ...

class RandThickSliced(RandomDictionaryOperation):
    """Dictionary version of `RandThickSlice`."""

    def __init__(
        self,
        keys: KeysCollection,
        thickness_mm: float | Sequence[float] = (3, 8),
        axis: str | int | None = "through",
        profile: str = "gaussian",
        noise: float | Sequence[float] = 0,
        prob: float = 0.3,
        keep_zeros: bool | None = False,
        allow_missing_keys: bool = False,
    ) -> None: ...

class RandXRayCollimationd(RandomDictionaryOperation):
    """Dictionary version of `RandXRayCollimation`."""

    def __init__(
        self,
        keys: KeysCollection,
        share: float | Sequence[float] = (0.02, 0.2),
        rotate_degrees: float | Sequence[float] = 3,
        edge_mm: float | Sequence[float] = (0.5, 3),
        leakage: float | Sequence[float] = (0.01, 0.05),
        max_attenuation: float = 4,
        inverted: bool = False,
        value_range: Sequence[float] | None = None,
        linear: bool = False,
        shutter: bool = True,
        prob: float = 0.3,
        organ_key: Any = None,
        allow_missing_keys: bool = False,
    ) -> None: ...

class RandXRayExposured(RandomDictionaryOperation):
    """Dictionary version of `RandXRayExposure`."""

    def __init__(
        self,
        keys: KeysCollection,
        factor: float | Sequence[float] = (0.7, 1.3),
        photons: float | Sequence[float] = (20000.0, 2000000.0),
        read_noise: float = 2,
        compensate: bool = True,
        max_attenuation: float = 4,
        inverted: bool = False,
        value_range: Sequence[float] | None = None,
        linear: bool = False,
        mtf50: float = 1.3,
        prob: float = 0.5,
        allow_missing_keys: bool = False,
    ) -> None: ...

class RandXRayScatterd(RandomDictionaryOperation):
    """Dictionary version of `RandXRayScatter`."""

    def __init__(
        self,
        keys: KeysCollection,
        scatter_to_primary: float | Sequence[float] = (0.2, 2),
        fwhm_mm: float | Sequence[float] = (20, 100),
        photons: float | Sequence[float] = (20000.0, 2000000.0),
        compensate: bool = True,
        max_attenuation: float = 4,
        inverted: bool = False,
        value_range: Sequence[float] | None = None,
        linear: bool = False,
        mtf50: float = 1.3,
        prob: float = 0.3,
        allow_missing_keys: bool = False,
    ) -> None: ...

class Upscaled(DictionaryOperation):
    """Dictionary version of `Upscale`."""

    def __init__(
        self,
        keys: KeysCollection,
        scale: float | Sequence[float] = 2,
        method: str = "bicubic",
        blur: str = "cubic",
        mode: str | Sequence[str | int] = "bilinear",
        point_keys: KeysCollection = (),
        box_keys: KeysCollection = (),
        point_space: str = "world",
        allow_missing_keys: bool = False,
    ) -> None: ...

class WaveletDenoised(DictionaryOperation):
    """Dictionary version of `WaveletDenoise`."""

    def __init__(
        self,
        keys: KeysCollection,
        method: str = "translation_invariant",
        wavelet: str | None = None,
        levels: int = 3,
        sigma: float | None = None,
        noise: str = "gaussian",
        strength: float | None = None,
        allow_missing_keys: bool = False,
    ) -> None: ...

AdversarialBiasFieldD = AdversarialBiasFieldd
AdversarialBiasFieldDict = AdversarialBiasFieldd
BatchCutMixD = BatchCutMixd
BatchCutMixDict = BatchCutMixd
BatchMixD = BatchMixd
BatchMixDict = BatchMixd
BatchMixUpD = BatchMixUpd
BatchMixUpDict = BatchMixUpd
BilateralDenoiseD = BilateralDenoised
BilateralDenoiseDict = BilateralDenoised
CTMetalArtifactReductionD = CTMetalArtifactReductiond
CTMetalArtifactReductionDict = CTMetalArtifactReductiond
CollaborativeDenoiseD = CollaborativeDenoised
CollaborativeDenoiseDict = CollaborativeDenoised
FGSMAttackD = FGSMAttackd
FGSMAttackDict = FGSMAttackd
GaussianDenoiseD = GaussianDenoised
GaussianDenoiseDict = GaussianDenoised
HUFromWindowD = HUFromWindowd
HUFromWindowDict = HUFromWindowd
HUWindowD = HUWindowd
HUWindowDict = HUWindowd
LowPassDenoiseD = LowPassDenoised
LowPassDenoiseDict = LowPassDenoised
MRIMotionCorrectionD = MRIMotionCorrectiond
MRIMotionCorrectionDict = MRIMotionCorrectiond
MedianDenoiseD = MedianDenoised
MedianDenoiseDict = MedianDenoised
NetworkRestoreD = NetworkRestored
NetworkRestoreDict = NetworkRestored
NonLocalMeansDenoiseD = NonLocalMeansDenoised
NonLocalMeansDenoiseDict = NonLocalMeansDenoised
PGDAttackD = PGDAttackd
PGDAttackDict = PGDAttackd
RandAffineElasticD = RandAffineElasticd
RandAffineElasticDict = RandAffineElasticd
RandBlurD = RandBlurd
RandBlurDict = RandBlurd
RandCTBeamHardeningD = RandCTBeamHardeningd
RandCTBeamHardeningDict = RandCTBeamHardeningd
RandCTDoseD = RandCTDosed
RandCTDoseDict = RandCTDosed
RandCTMetalD = RandCTMetald
RandCTMetalDict = RandCTMetald
RandCTMotionD = RandCTMotiond
RandCTMotionDict = RandCTMotiond
RandCTRingD = RandCTRingd
RandCTRingDict = RandCTRingd
RandHUContrastD = RandHUContrastd
RandHUContrastDict = RandHUContrastd
RandHUWindowD = RandHUWindowd
RandHUWindowDict = RandHUWindowd
RandIntensityCurveD = RandIntensityCurved
RandIntensityCurveDict = RandIntensityCurved
RandMRIBiasFieldD = RandMRIBiasFieldd
RandMRIBiasFieldDict = RandMRIBiasFieldd
RandMRIGhostingD = RandMRIGhostingd
RandMRIGhostingDict = RandMRIGhostingd
RandMRIGibbsD = RandMRIGibbsd
RandMRIGibbsDict = RandMRIGibbsd
RandMRIMotionD = RandMRIMotiond
RandMRIMotionDict = RandMRIMotiond
RandMRINoiseD = RandMRINoised
RandMRINoiseDict = RandMRINoised
RandMRISpikeD = RandMRISpiked
RandMRISpikeDict = RandMRISpiked
RandMRIUndersamplingD = RandMRIUndersamplingd
RandMRIUndersamplingDict = RandMRIUndersamplingd
RandMirrorD = RandMirrord
RandMirrorDict = RandMirrord
RandSyntheticSampleD = RandSyntheticSampled
RandSyntheticSampleDict = RandSyntheticSampled
RandThickSliceD = RandThickSliced
RandThickSliceDict = RandThickSliced
RandXRayCollimationD = RandXRayCollimationd
RandXRayCollimationDict = RandXRayCollimationd
RandXRayExposureD = RandXRayExposured
RandXRayExposureDict = RandXRayExposured
RandXRayScatterD = RandXRayScatterd
RandXRayScatterDict = RandXRayScatterd
UpscaleD = Upscaled
UpscaleDict = Upscaled
WaveletDenoiseD = WaveletDenoised
WaveletDenoiseDict = WaveletDenoised
