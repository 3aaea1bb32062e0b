"""How a stage's processes share its weights, held against what shards can do. Imports no torch."""

from omnikit.recipe.recipe import Stage

SHARDING = ("fsdp2",)  # strategies whose weights are shards
WHOLE = {"adafactor": "takes means over whole rows of a matrix", "adamw_8bit_paged": "moves memory of its own"}
"""Optimizers that cannot move shards, and why."""
EQUALS = {"deepspeed_2": "strategy fsdp2 and reshard false, which hold collected weights for a step and divide the rest",
          "deepspeed_3": "strategy fsdp2, which divides weights, gradients and moments alike"}
"""Strategies that are not run, and what stands for them."""


def check_strategy(where: str, stage: Stage, errors: list[str]) -> None:
    """Refuse several devices where one trains, a strategy for one device, and optimizers that cannot move shards."""
    trainer, optim = stage.trainer, stage.optim
    if trainer.processes > 1 and stage.objective != "heads":
        errors.append(f"{where}.trainer has {trainer.processes} devices, but a stage of objective {stage.objective}"
                      " trains on one; set devices=1.")
    if trainer.strategy in EQUALS:
        errors.append(f"{where}.trainer.strategy is {trainer.strategy}, but DeepSpeed is not run by this version; take"
                      f" {EQUALS[trainer.strategy]}.")
        return
    if trainer.strategy != "auto" and trainer.processes == 1:
        errors.append(f"{where}.trainer.strategy is {trainer.strategy}, which is for several devices; set"
                      f" {where}.trainer.devices, or leave the strategy out.")
    if trainer.strategy in SHARDING and optim.name in WHOLE:
        errors.append(f"{where}.optim.name is {optim.name}, which {WHOLE[optim.name]}, but strategy {trainer.strategy} holds"
                      " shards; set it to adamw or adamw_8bit, or take strategy ddp.")
    if not trainer.reshard and trainer.strategy not in SHARDING:
        errors.append(f"{where}.trainer.reshard is false, but only strategy fsdp2 collects weights; leave it out.")
    if trainer.offload != "none":
        _check_offload(where, stage, errors)


def _check_offload(where: str, stage: Stage, errors: list[str]) -> None:
    if stage.trainer.strategy in SHARDING:
        errors.append(f"{where}.trainer.offload is {stage.trainer.offload}, but strategy {stage.trainer.strategy} divides the"
                      " moments among the devices already; take more devices, or set offload to none.")
    if stage.optim.name == "adamw_8bit_paged":
        errors.append(f"{where}.trainer.offload is {stage.trainer.offload}, but optim.name adamw_8bit_paged moves its moments"
                      " itself; set offload to none.")
