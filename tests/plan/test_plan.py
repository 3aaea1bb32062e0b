"""The plan of recipes that fit together; what does not fit is in test_wiring.py and test_staging.py."""

from fractions import Fraction
from typing import Any

import pytest
from plans import GONE, ROWS, changed, pick

from omnikit.paths import recipe_files
from omnikit.plan.plan import make
from omnikit.plan.tables import stages_table, wiring_table
from omnikit.recipe.compose import compose


@pytest.mark.parametrize("name", recipe_files())
def test_every_shipped_recipe_fits_together(name: str) -> None:
    plan = make(compose(name))
    assert plan.parts() and plan.stages
    assert wiring_table(plan) and stages_table(plan)


def test_every_width_is_filled_in(fitting: dict[str, Any]) -> None:
    plan = changed(fitting, {"audio.encoder": pick("encoder", "mel_cnn"), "backbone.dim": 192})
    input_branch = plan.inputs["audio"]
    assert input_branch.encoder.output == input_branch.encoded
    assert input_branch.projected is not None and (input_branch.projected.dim, input_branch.projected.rate) == (192,
        input_branch.encoded.rate)
    assert (plan.outputs["speech"].source.dim, plan.outputs["text"].source.dim) == (192, fitting["backbone"]["vocabulary"])


def test_a_rate_passes_through_the_projector(fitting: dict[str, Any]) -> None:
    plan = changed(fitting, {"audio.projector": pick("projector", "stack_mlp", stride=5)})
    encoded, projected = plan.inputs["audio"].encoded, plan.inputs["audio"].projected
    assert encoded.rate is not None and projected is not None and projected.rate == encoded.rate / Fraction(5)


def test_length_counts_positions_through_encoder_and_projector(fitting: dict[str, Any]) -> None:
    input_branch = changed(fitting, {"audio.projector": pick("projector", "qformer", queries=9)}).inputs["audio"]
    assert input_branch.length(16000) == 9


def test_llama_omni_on_another_backbone_has_its_width_everywhere() -> None:
    llama, qwen = make(compose("llama_omni/full")), make(compose("llama_omni/full", ["backbone=qwen2_5_7b_instruct"]))
    before, after = wiring_table(llama), wiring_table(qwen)
    assert before.count("4096") == 4 and "3584" not in before
    assert after.count("3584") == 4 and "4096" not in after


def test_the_template_comes_with_the_backbone(fitting: dict[str, Any]) -> None:
    plan = changed(fitting, {"backbone": pick("backbone", "qwen2_tiny_random")})
    assert plan.template is not None and "<|im_end|>" in plan.template.specials


def test_parts_stand_in_wiring_order(fitting: dict[str, Any]) -> None:
    assert list(changed(fitting, {}).parts()) == ["audio.encoder", "audio.projector", "backbone", "text.head", "speech.head",
                                                  "speech.codec"]


def test_a_head_may_tap_an_encoder_without_a_backbone(fitting: dict[str, Any]) -> None:
    stage = {"train": {"audio": "full"}, "loss": {"transcript": 1.0}, "data": {"rows": 1.0}, "trainer": {"max_steps": 1}}
    plan = changed(fitting, {"audio.projector": GONE, "backbone": GONE, "text": GONE, "speech": GONE,
                             "stages": {"listen": stage}, "transcript.head": pick("head", "ctc_text", tokenizer="tiny"),
                             "data.rows": {**ROWS, "provides": ["audio", "transcript"]}})
    assert plan.stages["listen"].used == ("audio.encoder", "transcript.head") and plan.tokenizer == "tiny"


def test_a_plan_without_stages_is_a_model_to_build(fitting: dict[str, Any]) -> None:
    assert changed(fitting, {"stages": GONE}).stages == {}
