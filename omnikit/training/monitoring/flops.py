"""Floating-point operations of a stage's backbone for each token, and what a device can do: for model FLOP utilisation."""

import torch
from torch import nn

from omnikit.model import OmniModel
from omnikit.plan.plan import StagePlan

PEAKS = {  # name of the device → dense operations per second in bfloat16, of NVIDIA's data sheets; the first that fits counts
    "B200": 2250e12, "H200": 989e12, "H100 PCIe": 756e12, "H100 NVL": 835e12, "H100": 989e12, "A100": 312e12, "A800": 312e12,
    "L40S": 362e12, "L40": 181e12, "L4": 121e12, "A10G": 70e12, "A10": 125e12, "RTX 4090": 165e12, "RTX 3090": 71e12,
}


def peak_flops(device: str, precision: str) -> float | None:
    """Give what a device can do per second; None where it is not known, or the stage computes in float32."""
    if precision.startswith("32"):
        return None
    return next((peak for name, peak in PEAKS.items() if name in device), None)


def device_peak(precision: str) -> float | None:
    """Give what this machine's GPU can do per second; None without one."""
    return peak_flops(torch.cuda.get_device_name(), precision) if torch.cuda.is_available() else None


def flops_per_token(model: OmniModel, stage: StagePlan) -> float:
    """Give the operations of the backbone's matrix products for a token: 2 for each weight forwards, 2 more where a gradient
    passes it, and 2 more where it is trained. Attention's own products, encoders and heads are left out."""
    if "backbone" not in stage.used or stage.table:
        return 0.0
    trained = any(weights.requires_grad for weights in model.get_submodule("backbone").parameters())
    passed = trained or any(part.partition(".")[0] in model.plan.inputs for part in stage.trained)
    return (2.0 + 2.0 * passed + 2.0 * trained) * _matrix_weights(model.get_submodule("backbone"))


def _matrix_weights(part: nn.Module) -> int:
    tables = {id(weights) for module in part.modules() if isinstance(module, nn.Embedding) for weights in module.parameters()}
    return sum(weights.numel() for weights in part.parameters() if weights.ndim > 1 and id(weights) not in tables)
