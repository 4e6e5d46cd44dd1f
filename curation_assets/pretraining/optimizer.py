"""The optimizer and schedule of nanoT5: AdamW whose step is scaled by each parameter's root mean square.

The scale is Adafactor's (Shazeer and Stern 2018, section 8): a step moves a parameter by a share of its own size, so that one
learning rate suits T5's embeddings (size 1) and its small projections. With it T5 trains as well as with Adafactor.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import torch


def learning_rate(step: int, *, steps: int, warmup: int, peak: float, final: float) -> float:
    """Return the rate of step `step` (from 0): linear from `peak / warmup` to `peak`, then a cosine towards `final`."""
    if step < warmup:
        return peak * (step + 1) / warmup
    share = min((step - warmup) / max(steps - warmup, 1), 1.0)
    return final + (peak - final) * (1 + math.cos(math.pi * share)) / 2


class ScaledAdamW(torch.optim.Optimizer):
    """AdamW with bias correction; each parameter's step is multiplied by `max(1e-3, rms(parameter))`.

    All arithmetic is multi-tensor and stays on the device: nothing waits for the host. Weight decay is decoupled and, as in
    nanoT5, not scaled by the root mean square.

    Parameters
    ----------
    params
        Parameters or groups of them, as for any torch optimizer.
    lr, betas, eps, weight_decay
        nanoT5's are 2e-2, (0.9, 0.999), 1e-6 and 0.
    """

    def __init__(
        self,
        params: Iterable[torch.nn.Parameter] | Iterable[dict[str, Any]],
        lr: float = 2e-2,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-6,
        weight_decay: float = 0.0,
    ) -> None:
        if lr < 0 or eps <= 0 or weight_decay < 0 or not all(0 <= beta < 1 for beta in betas):
            raise ValueError(
                f"invalid settings: lr {lr}, betas {betas}, eps {eps}, weight decay {weight_decay}"
            )
        super().__init__(
            params, {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay, "step": 0}
        )

    def moments(self, parameter: torch.nn.Parameter) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the running means of a parameter's gradient and of its square, zeros before the first step."""
        state = self.state[parameter]
        if not state:
            state["exp_avg"], state["exp_avg_sq"] = torch.zeros_like(parameter), torch.zeros_like(parameter)
        return state["exp_avg"], state["exp_avg_sq"]

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """Update every parameter that has a gradient."""
        for group in self.param_groups:
            parameters = [p for p in group["params"] if p.grad is not None]
            if not parameters:
                continue
            group["step"] += 1
            gradients = [p.grad for p in parameters]
            means, squares = map(list, zip(*(self.moments(p) for p in parameters), strict=True))
            beta1, beta2 = group["betas"]
            torch._foreach_lerp_(means, gradients, 1 - beta1)
            torch._foreach_mul_(squares, beta2)
            torch._foreach_addcmul_(squares, gradients, gradients, 1 - beta2)

            # lr * sqrt(1 - beta2^t) / (1 - beta1^t) * mean / (sqrt(square) + eps), times the parameter's size
            correction = math.sqrt(1 - beta2 ** group["step"]) / (1 - beta1 ** group["step"])
            sizes = torch._foreach_norm(parameters)
            torch._foreach_div_(sizes, [math.sqrt(p.numel()) for p in parameters])
            torch._foreach_clamp_min_(sizes, 1e-3)
            torch._foreach_mul_(sizes, -group["lr"] * correction)
            roots = torch._foreach_sqrt(squares)
            torch._foreach_add_(roots, group["eps"])
            update = torch._foreach_div(means, roots)
            torch._foreach_mul_(update, sizes)
            torch._foreach_add_(parameters, update)
            if group["weight_decay"]:
                torch._foreach_mul_(parameters, 1 - group["lr"] * group["weight_decay"])
