"""Handlers for MONAI's engines."""

from __future__ import annotations

from typing import Any


class SampleEpochHandler:
    """Set the epoch of transforms whose draws depend on the sample.

    Leave the engine's ``epoch_length`` unset: with a length other than the loader's, its workers have prefetched under
    the old epoch.

    Args:
        transform: a `SampleSeeded`, a preset made with ``sample_key``, or another object with ``set_epoch``.

    Raises:
        TypeError: it lacks ``set_epoch``.

    Example:
        >>> from monai.transforms import RandFlipd
        >>> from monai_medaug.transforms import SampleSeeded
        >>> stable = SampleSeeded(RandFlipd("image"), sample_key="id")
        >>> handler = SampleEpochHandler(stable)  # then handler.attach(trainer), or a bundle's "train_handlers"
    """

    def __init__(self, transform: Any) -> None:
        if not callable(getattr(transform, "set_epoch", None)):
            raise TypeError(f"transform must have set_epoch, got {type(transform).__name__}")
        self.transform = transform

    def attach(self, engine: Any) -> None:
        """Register with an Ignite engine."""
        from ignite.engine import Events

        engine.add_event_handler(Events.EPOCH_STARTED, self)

    def __call__(self, engine: Any) -> None:
        """Set the engine's epoch, counted from 0."""
        self.transform.set_epoch(engine.state.epoch - 1)
