"""Blending the output of a seed with the host's."""

from __future__ import annotations

import torch
from torch import Tensor

from weatherlight._wire.blend import Blend


def mix(blend: Blend, share: float, host: Tensor, out: Tensor) -> Tensor:
    """The blend of one shape, the batch in front; share is above 0 and at most 1.

    Whether a gradient reaches the host is a matter of whether host is detached; none
    flows through shares.
    """
    share = min(max(share, 0.0), 1.0)
    if blend.mode == "RESIDUAL":
        return host + out if share == 1 else host + share * out
    if blend.mode == "CHANNEL":
        weights = torch.tensor(blend.channels, dtype=out.dtype, device=out.device)
        shares = (share * weights).clamp(0, 1).reshape(-1, *[1] * (out.dim() - 2))
        return shares * out + (1 - shares) * host
    if blend.mode == "CONFIDENCE":
        shares = (share * _gate(blend, out.detach())).clamp(blend.low, blend.top)
        return shares * out + (1 - shares) * host
    return out if share == 1 else share * out + (1 - share) * host


def _gate(blend: Blend, scores: Tensor) -> Tensor:
    """The sigmoid of the margin between the two largest scores at each position."""
    best = scores.topk(2, dim=1).values
    margin = best.narrow(1, 0, 1) - best.narrow(1, 1, 1)
    return torch.sigmoid(blend.gate_k * (margin - blend.gate_tau))
