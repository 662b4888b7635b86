"""Handlers for MONAI's engines."""

from __future__ import annotations

from typing import Any


class SampleEpochHandler:
    """Tell transforms whose draws depend on the sample which epoch begins.

    An engine whose ``epoch_length`` is not that of its loader goes on with an iterator whose workers have prefetched
    under the old epoch: leave it unset.

    Args:
        transform: a `SampleSeeded`, a preset made with ``sample_key``, or anything else with ``set_epoch``.

    Raises:
        TypeError: it has no ``set_epoch``.

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
        """Pass on the engine's epoch, counted from 0."""
        self.transform.set_epoch(engine.state.epoch - 1)
