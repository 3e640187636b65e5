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
        return torch.add(host, out, alpha=share)
    if blend.mode == "CHANNEL":
        weights = torch.tensor(blend.channels, dtype=out.dtype, device=out.device)
        shares = torch.mul(weights, share).clamp(0, 1)
        return _between(host, out, shares.reshape(-1, *[1] * (out.dim() - 2)))
    if blend.mode == "CONFIDENCE":
        shares = torch.mul(_gate(blend, out.detach()), share).clamp(blend.low, blend.top)
        return _between(host, out, shares)
    return out if share == 1 else torch.add(torch.mul(out, share), host, alpha=1 - share)


def _between(host: Tensor, out: Tensor, shares: Tensor) -> Tensor:
    return torch.add(torch.mul(out, shares), torch.mul(host, torch.rsub(shares, 1)))


def _gate(blend: Blend, scores: Tensor) -> Tensor:
    """The sigmoid of the margin between the two largest scores at each position."""
    best = scores.topk(2, dim=1).values
    margin = best.narrow(1, 0, 1) - best.narrow(1, 1, 1)
    return torch.sigmoid((margin - blend.gate_tau) * blend.gate_k)
