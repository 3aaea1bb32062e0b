"""Forecasts against sums made by hand, and against what the printed changes give when they are applied."""

import subprocess
import sys
from dataclasses import replace
from functools import cache
from typing import Any, Literal

import pytest
from plans import changed

from omnikit.contracts.footprint import Footprint
from omnikit.plan.activations import with_gradients
from omnikit.plan.batch_sizes import batch_sizes
from omnikit.plan.footprints import footprints
from omnikit.plan.forecast import CARD, FRAGMENTATION, GIB, PROCESS, Forecast, Setting, adapter_parameters, forecast, sharing
from omnikit.plan.forecast_changes import fitting as fitting_of
from omnikit.plan.forecast_table import forecast_table, gib, notes, parse_memory, record, verdict
from omnikit.plan.plan import Plan, make
from omnikit.recipe.compose import compose

CHECKPOINTED = "stages.understand.trainer.activation_checkpointing"


@cache
def shipped(name: str, *overrides: str) -> Plan:
    return make(compose(name, list(overrides)))


def of(values: dict[str, Any], changes: dict[str, object] | None = None, **setting: int) -> Forecast:
    return forecast(changed(values, changes or {}), Setting(**setting))["understand"]


def parameters(values: dict[str, Any], part: str) -> int:
    return footprints(changed(values, {}))[part].parameters


def test_bytes_of_a_float32_stage_are_those_of_adamw(fitting: dict[str, Any]) -> None:
    found = of(fitting)
    trained = parameters(fitting, "audio.projector") + parameters(fitting, "backbone")
    frozen = parameters(fitting, "audio.encoder")
    assert (found.trained, found.frozen) == (trained, frozen)
    assert (found.weights, found.gradients, found.optimizer) == (4 * (trained + frozen), 4 * trained, 8 * trained)
    assert found.casts == 0


def test_a_card_and_a_process_hold_the_tensors_and_their_own(fitting: dict[str, Any]) -> None:
    found = of(fitting)
    assert found.card == CARD + FRAGMENTATION * found.tensors
    assert found.process > PROCESS + found.tensors


@pytest.mark.parametrize(("name", "bytes_each"),
                         [("adamw", 8.0), ("adamw_8bit", 2.03), ("adamw_8bit_paged", 0.0), ("adafactor", 0.01)])
def test_moments_follow_the_optimizer(fitting: dict[str, Any], name: str, bytes_each: float) -> None:
    found = of(fitting, {"stages.understand.optim": {"name": name}})
    assert found.optimizer == pytest.approx(bytes_each * found.trained)


def test_muon_has_one_moment_for_matrices_of_layers(fitting: dict[str, Any]) -> None:
    backbone = footprints(changed(fitting, {}))["backbone"]
    inner = sum(matrix.count * matrix.inputs * matrix.outputs for matrix in backbone.matrices)
    assert of(fitting).optimizer - of(fitting, {"stages.understand.optim": {"muon": 0.02}}).optimizer == 4 * inner


def test_bf16_true_halves_frozen_weights_and_copies_trained_ones(fitting: dict[str, Any]) -> None:
    plain, half = of(fitting), of(fitting, {"stages.understand.trainer.precision": "bf16-true"})
    assert plain.weights - half.weights == 2 * plain.frozen
    assert half.casts == 2 * half.trained


def test_devices_share_weights_gradients_and_moments(fitting: dict[str, Any]) -> None:
    alone, shared = of(fitting), of(fitting, devices=4)
    assert (shared.weights, shared.gradients, shared.optimizer) == (alone.weights / 4, alone.gradients / 4, alone.optimizer / 4)
    assert shared.activations == alone.activations


def test_collected_weights_and_matrices_in_bits_are_whole_on_each_device(fitting: dict[str, Any]) -> None:
    where = "stages.understand.trainer"
    alone, held = of(fitting), of(fitting, {f"{where}.strategy": "fsdp2", f"{where}.devices": 4, f"{where}.reshard": False})
    assert held.weights == alone.weights / 4 + alone.weights
    bits: dict[str, object] = {"stages.understand.train": {"backbone": {"lora": {"load_in": "4bit"}}}}
    alone, shared = of(fitting, bits), of(fitting, bits, devices=4)
    backbone = footprints(changed(fitting, {}))["backbone"]
    whole = 0.53 * sum(matrix.count * matrix.inputs * matrix.outputs for matrix in backbone.matrices)
    assert shared.weights == pytest.approx(whole + (alone.weights - whole) / 4)


def test_moments_in_the_hosts_memory_are_not_on_the_card(fitting: dict[str, Any]) -> None:
    plain, away = of(fitting), of(fitting, {"stages.understand.trainer.offload": "optimizer"})
    assert away.optimizer == plain.optimizer and away.process == plain.process
    assert plain.optimizer - away.offloaded == pytest.approx(min(plain.optimizer, 8 * 2**25))
    assert plain.card - away.card == pytest.approx(1.05 * away.offloaded)


@pytest.mark.parametrize(("strategy", "expected"), [("fsdp2", 4), ("ddp", 1)])
def test_fsdp2_divides_among_its_devices_and_ddp_does_not(
        fitting: dict[str, Any], strategy: Literal["fsdp2", "ddp"], expected: int) -> None:
    stage = changed(fitting, {}).stages["understand"]
    trainer = replace(stage.stage.trainer, devices=4, strategy=strategy)
    assert sharing(replace(stage, stage=replace(stage.stage, trainer=trainer)), Setting()) == expected


def test_recomputed_layers_keep_their_inputs_only(fitting: dict[str, Any]) -> None:
    plan = changed(fitting, {})
    backbone, sizes = footprints(plan)["backbone"], batch_sizes(plan.stages["understand"], plan.inputs, plan.readers)
    layer = backbone.layer.size(half=False) + 4 * backbone.square * sizes.length
    expected = sizes.tokens * backbone.layers * (layer - 4 * backbone.width)
    saved = of(fitting).activations - of(fitting, {CHECKPOINTED: ["backbone"]}).activations
    assert saved == pytest.approx(expected)


def test_gradients_pass_what_stands_behind_the_first_trained_part(fitting: dict[str, Any]) -> None:
    plan = changed(fitting, {"stages.understand.train": {"audio": {"projector": "full"}}})
    assert with_gradients(plan, plan.stages["understand"]) == {"audio.projector", "backbone", "text.head"}
    assert with_gradients(plan, plan.stages["speak"]) == {"speech.head"}


def test_logits_stand_in_memory_chunk_by_chunk() -> None:
    found = forecast(shipped("vita_1_5/full"))["align_vision"]
    assert 100 * GIB < 8 * 6000 * 152064 * 16
    assert found.logits == 16 * 2**26


def test_adapters_are_counted_and_their_matrices_frozen(fitting: dict[str, Any]) -> None:
    found = of(fitting, {"stages.understand.train": {"backbone": {"lora": {"rank": 4}}}})
    backbone = footprints(changed(fitting, {}))["backbone"]
    assert found.trained == sum(4 * m.count * (m.inputs + m.outputs) for m in backbone.matrices)
    assert found.frozen >= backbone.parameters


@pytest.mark.parametrize(("recipe", "stage", "expected"), [("vita_1_5/full", "instruct_audio", 40_370_176),
                                                           ("llama_omni/full", "understand", 41_943_040)])
def test_adapters_of_public_models_have_the_numbers_that_peft_prints(recipe: str, stage: str, expected: int) -> None:
    plan = shipped(recipe, f"stages.{stage}.train.backbone=lora")
    assert adapter_parameters(plan.stages[stage], "backbone", footprints(plan)["backbone"]) == expected  # rank 16, all linears


@pytest.mark.parametrize(("recipe", "memory", "devices"), [
    ("llama_omni/full", 80, 8), ("llama_omni/full_lora", 80, 1), ("llama_omni/full_lora_24gb", 24, 1), ("vita_1_5/full", 80, 8),
    ("vita_1_5/full_lora", 80, 1), ("vita_1_5/full_lora_24gb", 24, 1), ("vita/full", 80, 8), ("vita/full_lora", 80, 2)])
def test_shipped_recipes_fit_the_cards_that_they_name(recipe: str, memory: int, devices: int) -> None:
    found = forecast(shipped(recipe), Setting(devices))
    assert {name: one.card <= memory * GIB for name, one in found.items()} == dict.fromkeys(found, True)


@pytest.mark.parametrize(("recipe", "memory", "devices"), [
    ("llama_omni/full", 80, 1), ("llama_omni/full", 40, 4), ("vita_1_5/full", 80, 1), ("vita_1_5/full", 23, 1),
    ("vita/full", 64, 8)])
def test_printed_changes_make_each_stage_fit(recipe: str, memory: int, devices: int) -> None:
    setting = Setting(devices)
    fits = fitting_of(shipped(recipe), memory * GIB, setting)
    assert all(fit.fits for fit in fits.values())
    overrides = [override for fit in fits.values() for override in fit.changes]
    again = forecast(make(compose(recipe, overrides)), setting)
    assert {name: one.card <= memory * GIB for name, one in again.items()} == dict.fromkeys(fits, True)


def test_what_already_fits_is_left_alone() -> None:
    assert {fit.changes for fit in fitting_of(shipped("asr/tiny"), GIB, Setting()).values()} == {()}


def test_no_change_is_needless() -> None:
    plan = shipped("llama_omni/full")
    changes = fitting_of(plan, 80 * GIB, Setting())["understand"].changes
    for left_out in changes:
        fewer = [change for change in changes if change != left_out]
        assert forecast(make(compose("llama_omni/full", fewer)))["understand"].card > 80 * GIB, left_out


def test_a_model_that_is_too_large_fits_with_no_change() -> None:
    fit = fitting_of(shipped("vita/full"), 24 * GIB, Setting())["instruct"]
    assert not fit.fits and fit.changes == () and fit.forecast.card > 24 * GIB


def test_packed_batches_have_their_own_length_and_others_the_longest_row() -> None:
    packed = forecast(shipped("vita_1_5/full"))["instruct_audio"].sizes
    assert (packed.sequences, packed.length, packed.packed) == (8, 6000, True)
    rows = forecast(shipped("llama_omni/full"), Setting(text_tokens=100))["understand"].sizes
    assert (rows.sequences, rows.length) == (32, 100 + 300)  # Whisper's 1500 frames, five joined


def test_a_budget_of_positions_is_the_size_of_a_batch() -> None:
    plan = shipped("llama_omni/full", "stages.understand.trainer.batch_tokens=4000")
    rows = forecast(plan, Setting(text_tokens=100))["understand"].sizes
    assert (rows.sequences, rows.length) == (10, 100 + 300)


def test_parts_without_footprint_are_named() -> None:
    plan = shipped("llama_omni/tiny")
    uncounted = forecast(plan)["read"]
    assert "Not counted: backbone" in notes(plan, {"read": replace(uncounted, uncounted=("backbone",))}, Setting())


def test_tables_say_what_is_assumed_and_where_it_is_most() -> None:
    plan = shipped("llama_omni/full")
    found = forecast(plan)
    assert "understand  8.05 B   635 M" in forecast_table(found)
    assert "Assumed: 512 tokens of text in a row" in notes(plan, found, Setting())
    assert verdict("llama_omni/full", found, 80 * GIB).startswith("Memory: at most ")
    assert "does not fit the card here, 80.0 GiB" in verdict("llama_omni/full", found, 80 * GIB)
    assert record(found, {})["speak"] != record(found, {})["understand"]


@pytest.mark.parametrize(("text", "size"), [("80GiB", 80 * GIB), ("24GB", 24e9), ("512MiB", 2**29), ("16", 16 * GIB),
                                            ("x", None), ("-1", None), ("nan", None), ("inf", None)])
def test_sizes_are_read_with_their_unit(text: str, size: float | None) -> None:
    assert parse_memory(text) == size


@pytest.mark.parametrize(("size", "text"), [(0, "0"), (1, "<0.01"), (GIB, "1.00"), (12.34 * GIB, "12.3"), (123.4 * GIB, "123")])
def test_sizes_have_three_digits(size: float, text: str) -> None:
    assert gib(size) == text


def test_the_command_imports_no_torch() -> None:
    code = ("import sys; from omnikit.cli import main; main(['forecast', 'llama_omni/full', '--memory', '80GiB', '--json']);"
            " sys.exit('torch' in sys.modules)")
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, check=False).returncode == 0


def test_a_footprint_has_nothing_unless_stated() -> None:
    assert Footprint(3).layer.size(half=True) == 0
