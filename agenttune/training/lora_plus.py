"""LoRA+ (Hayou et al., arXiv 2402.12354): B learns faster than A.

B begins at zero and carries what A reads to the layer's whole width, A begins at its full size: at one learning rate for both, the
rate that suits A leaves B behind.
"""

from __future__ import annotations

from typing import Any

import torch


def scale_b_learning_rate(optimizer: torch.optim.Optimizer, model: torch.nn.Module, ratio: float) -> None:
    """Gives the B matrices of `model`'s LoRA layers `ratio` times the learning rate of their group; the others keep theirs.

    To be called before the schedule is made, which scales each group's rate, and before the first step.
    """
    ups = {id(one) for name, one in model.named_parameters() if "lora_B." in name or "lora_embedding_B." in name}
    for group in list(optimizer.param_groups):
        raised = [one for one in group["params"] if id(one) in ups]
        kept = [one for one in group["params"] if id(one) not in ups]
        if raised and kept:
            group["params"] = kept
            more: dict[str, Any] = {**group, "params": raised, "lr": group["lr"] * ratio}
            optimizer.add_param_group(more)
        elif raised:
            group["lr"] *= ratio
