"""Grow a PyTorch network while it trains.

growth = weatherlight.grow(model, at="layer2", sample=x, loss=loss, optimizer=optimizer)
...
growth.step(batch)         # behind optimizer.step()
growth.report(evaluate)    # once an epoch
"""

from weatherlight._grow import grow
from weatherlight._growth import Growth, SeedView
from weatherlight._version import __version__
from weatherlight.errors import (
    BackgroundWarning,
    CheckpointError,
    ConfigError,
    WeatherlightError,
)

__all__ = [
    "BackgroundWarning",
    "CheckpointError",
    "ConfigError",
    "Growth",
    "SeedView",
    "WeatherlightError",
    "__version__",
    "grow",
]
