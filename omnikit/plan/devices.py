"""Whether the devices that stages ask for are there, and a card's memory, without torch."""

import platform
from collections.abc import Collection
from pathlib import Path

from omnikit.errors import PlanError
from omnikit.plan.stage_plan import StagePlan


def has_gpu() -> bool:
    """Say whether a GPU is there that Lightning's `gpu` could mean: CUDA's, ROCm's or Apple's."""
    if platform.system() == "Darwin":
        return platform.machine() == "arm64"
    import ctypes  # most recipes ask for no device

    try:
        driver, count = ctypes.CDLL("libcuda.so.1"), ctypes.c_int()
    except OSError:
        return Path("/dev/kfd").exists()  # ROCm's
    return driver.cuInit(0) == 0 and driver.cuDeviceGetCount(ctypes.byref(count)) == 0 and count.value > 0


def card_memory() -> float | None:
    """Give the bytes of the first CUDA card's memory, asked of its driver; None where there is none."""
    import ctypes

    try:
        driver, size, device = ctypes.CDLL("libcuda.so.1"), ctypes.c_size_t(), ctypes.c_int()
    except OSError:
        return None
    known = driver.cuInit(0) == 0 and driver.cuDeviceGet(ctypes.byref(device), 0) == 0
    return float(size.value) if known and driver.cuDeviceTotalMem_v2(ctypes.byref(size), device) == 0 else None


def check_devices(stages: Collection[StagePlan], *, gpu: bool) -> None:
    """Refuse stages whose device is not there, or lacks their precision; gpu: whether a GPU is there.

    Raises:
        PlanError: one sentence for each of them.
    """
    errors = [f"stages.{stage.name}.trainer.accelerator is gpu, but there is no GPU here; set it to auto or cpu, or train on a"
              " machine with one." for stage in stages if stage.stage.trainer.accelerator == "gpu" and not gpu]
    errors += [f"stages.{stage.name}.trainer.precision is 16-mixed, which a CPU does not have; set it to bf16-mixed or 32-true,"
               " or train on a machine with a GPU." for stage in stages if _is_on_cpu(stage, gpu) and _has_16_mixed(stage)]
    if errors:
        raise PlanError(*errors)


def check_local_devices(stages: Collection[StagePlan]) -> None:
    """Refuse stages whose device is not on this machine; the driver is asked only where a stage needs a GPU.

    Raises:
        PlanError: one sentence for each of them.
    """
    if any(stage.stage.trainer.accelerator == "gpu" or _has_16_mixed(stage) for stage in stages):
        check_devices(stages, gpu=has_gpu())


def _is_on_cpu(stage: StagePlan, gpu: bool) -> bool:
    return stage.stage.trainer.accelerator == "cpu" or (stage.stage.trainer.accelerator == "auto" and not gpu)


def _has_16_mixed(stage: StagePlan) -> bool:
    return stage.stage.trainer.precision == "16-mixed"
