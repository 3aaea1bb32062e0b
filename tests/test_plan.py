# ruff: noqa: E501  # a table of sentences reads best with one in a line
"""The plan, and every sentence of wiring.py and staging.py, each caused by one change of a recipe that fits together."""

from collections.abc import Mapping
from copy import deepcopy
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from omegaconf import OmegaConf
from small import publish, write_recipe
from tokenizers import Tokenizer

from omnikit import registry
from omnikit.choices import chosen
from omnikit.commands import table
from omnikit.config import compose, compose_tree
from omnikit.errors import PlanError
from omnikit.places import recipe_files
from omnikit.plan import Plan, make
from omnikit.recipe import parse
from omnikit.wiring import tokenizer_size

GONE = object()
ROWS = {"use": "messages_jsonl", "path": "rows.jsonl"}
ODD_PARTS = '''
from dataclasses import dataclass
from fractions import Fraction
from omnikit.specs import CodecSpec, FeatureSpec

@dataclass(frozen=True)
class Books:
    codebooks: int = 4
    merged: bool = True
    encodes = False
    decodes = True

    @property
    def spec(self):
        return CodecSpec(16000, Fraction(50), self.codebooks, 100, self.merged)

@dataclass(frozen=True)
class Stubborn:
    dim: int = 7

    def output(self, source, dim):
        return FeatureSpec(self.dim, rate=source.rate)

    def length(self, count):
        return count
'''


@pytest.fixture(scope="module")
def fitting(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The small recipe, as Hydra gives it."""
    values = OmegaConf.to_container(compose_tree(str(write_recipe(tmp_path_factory.mktemp("recipe")))))
    assert isinstance(values, dict)
    return {str(key): value for key, value in values.items()}


def changed(values: Mapping[str, Any], changes: Mapping[str, object]) -> Plan:
    """Make a plan of a recipe with dotted places set to other values, or removed."""
    copy = deepcopy(dict(values))
    for place, value in changes.items():
        *above, last = place.split(".")
        node: dict[str, Any] = copy
        for word in above:
            node = node.setdefault(word, {})
        node.pop(last, None)
        if value is not GONE:
            node[last] = deepcopy(value)
    return make(parse(copy, "changed"))


def pick(kind: str, name: str, **fields: object) -> dict[str, object]:
    return {**chosen(kind, name), **fields}


def mistakes(values: Mapping[str, Any], changes: Mapping[str, object]) -> list[str]:
    with pytest.raises(PlanError) as caught:
        changed(values, changes)
    return list(caught.value.sentences)


# ---- what fits -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", recipe_files())
def test_every_shipped_recipe_fits_together(name: str) -> None:
    plan = make(compose(name))
    assert plan.parts() and plan.stages
    assert table.wiring(plan) and table.stages(plan)


def test_every_width_is_filled_in(fitting: dict[str, Any]) -> None:
    plan = changed(fitting, {"audio.encoder": pick("encoder", "mel_cnn"), "backbone.dim": 192})
    inlet = plan.inputs["audio"]
    assert inlet.encoder.output == inlet.encoded
    assert inlet.projected is not None and (inlet.projected.dim, inlet.projected.rate) == (192, inlet.encoded.rate)
    assert (plan.outputs["speech"].source.dim, plan.outputs["text"].source.dim) == (192, fitting["backbone"]["vocabulary"])


def test_a_rate_passes_through_the_projector(fitting: dict[str, Any]) -> None:
    plan = changed(fitting, {"audio.projector": pick("projector", "stack_mlp", stride=5)})
    encoded, projected = plan.inputs["audio"].encoded, plan.inputs["audio"].projected
    assert encoded.rate is not None and projected is not None and projected.rate == encoded.rate / Fraction(5)


def test_length_counts_positions_through_encoder_and_projector(fitting: dict[str, Any]) -> None:
    inlet = changed(fitting, {"audio.projector": pick("projector", "qformer", queries=9)}).inputs["audio"]
    assert inlet.length(16000) == 9


def test_llama_omni_on_another_backbone_has_its_width_everywhere() -> None:
    llama, qwen = make(compose("llama_omni/full")), make(compose("llama_omni/full", ["backbone=qwen2_5_7b_instruct"]))
    before, after = table.wiring(llama), table.wiring(qwen)
    assert before.count("4096 wide") == 4 and "3584" not in before
    assert after.count("3584 wide") == 4 and "4096" not in after


def test_the_template_comes_with_the_backbone(fitting: dict[str, Any]) -> None:
    plan = changed(fitting, {"backbone": pick("backbone", "qwen2_tiny_random")})
    assert plan.template is not None and "<|im_end|>" in plan.template.specials


def test_parts_stand_in_wiring_order(fitting: dict[str, Any]) -> None:
    assert list(changed(fitting, {}).parts()) == ["audio.encoder", "audio.projector", "backbone", "text.head", "speech.head",
                                                  "speech.codec"]


def test_a_head_may_tap_an_encoder_without_a_backbone(fitting: dict[str, Any]) -> None:
    stage = {"train": {"audio": "full"}, "loss": {"transcript": 1.0}, "data": {"rows": 1.0}, "trainer": {"max_steps": 1}}
    plan = changed(fitting, {"audio.projector": GONE, "backbone": GONE, "text": GONE, "speech": GONE, "stages": {"listen": stage},
                             "transcript.head": pick("head", "ctc_text", tokenizer="tiny"),
                             "data.rows": {**ROWS, "provides": ["audio", "transcript"]}})
    assert plan.stages["listen"].used == ("audio.encoder", "transcript.head") and plan.tokenizer == "tiny"


def test_a_plan_without_stages_is_a_model_to_build(fitting: dict[str, Any]) -> None:
    assert changed(fitting, {"stages": GONE}).stages == {}


# ---- where a stage's weights come from -------------------------------------------------------------------------------


def stage(train: object, loss: str = "text", **fields: object) -> dict[str, object]:
    return {"train": train, "loss": {loss: 1.0}, "data": {"rows": 1.0}, "trainer": {"max_steps": 1}, **fields}


EAR, MIND, MOUTH = {"audio": {"projector": "full"}}, {"backbone": "full"}, {"speech": {"head": "full"}}


def origins(fitting: Mapping[str, Any], stages: Mapping[str, object], last: str) -> dict[str, str]:
    return changed(fitting, {"stages": stages}).stages[last].origins


def test_the_first_stage_starts_fresh(fitting: dict[str, Any]) -> None:
    assert origins(fitting, {"a": stage(EAR)}, "a") == {}


def test_a_stage_starts_from_the_one_before(fitting: dict[str, Any]) -> None:
    assert origins(fitting, {"a": stage(EAR), "b": stage(MIND)}, "b") == {"audio.projector": "a"}


def test_in_a_chain_the_last_that_trained_a_part_counts(fitting: dict[str, Any]) -> None:
    stages = {"a": stage({**EAR, **MIND}), "b": stage(MIND), "c": stage(MOUTH, "speech")}
    assert origins(fitting, stages, "c") == {"audio.projector": "a", "backbone": "b"}


def test_a_stage_that_is_trained_on_starts_from_itself_before(fitting: dict[str, Any]) -> None:
    assert origins(fitting, {"a": stage(EAR), "b": stage(EAR)}, "b") == {"audio.projector": "a"}


def test_after_skips_what_lies_between(fitting: dict[str, Any]) -> None:
    stages = {"a": stage(EAR), "b": stage({**EAR, **MIND}), "c": stage(MIND, after="a")}
    assert origins(fitting, stages, "c") == {"audio.projector": "a"}


def test_init_from_names_one_parent(fitting: dict[str, Any]) -> None:
    stages = {"a": stage(EAR), "b": stage(EAR), "c": stage(MIND, init_from="a")}
    assert origins(fitting, stages, "c") == {"audio.projector": "a"}


def test_init_from_takes_parts_of_several_parents(fitting: dict[str, Any]) -> None:
    stages = {"a": stage(EAR), "b": stage({**EAR, **MIND}), "c": stage(MOUTH, "speech", init_from={"audio": "a", "backbone": "b"})}
    assert origins(fitting, stages, "c") == {"audio.projector": "a", "backbone": "b"}


def test_init_from_may_name_parts_as_train_does(fitting: dict[str, Any]) -> None:
    stages = {"a": stage(EAR), "b": stage({**EAR, **MIND}), "c": stage(MOUTH, "speech", init_from={"audio": {"projector": "a"}, "backbone": "b"})}
    assert origins(fitting, stages, "c") == {"audio.projector": "a", "backbone": "b"}


def test_a_part_that_is_not_run_has_no_origin(fitting: dict[str, Any]) -> None:
    stages = {"a": stage(MOUTH, "speech"), "b": stage(MIND)}
    assert origins(fitting, stages, "b") == {}


def test_a_stage_runs_only_what_its_losses_reach(fitting: dict[str, Any]) -> None:
    plan = changed(fitting, {})
    assert plan.stages["understand"].used == ("audio.encoder", "audio.projector", "backbone", "text.head")
    assert plan.stages["speak"].used == ("audio.encoder", "audio.projector", "backbone", "speech.head")


def test_a_branch_alone_means_all_its_parts(fitting: dict[str, Any]) -> None:
    assert changed(fitting, {"stages": {"a": stage({"audio": "full"})}}).stages["a"].trained == ("audio.encoder", "audio.projector")


# ---- what does not fit: wiring.py ------------------------------------------------------------------------------------

WIRING = [
    ({"audio.encoder": GONE}, "audio.projector has nothing to project: pick an encoder with audio/encoder=<preset>."),
    ({"audio.projector": GONE}, "audio.encoder does not reach the backbone: pick a projector with audio/projector=<preset>."),
    ({"vision": {}}, "vision is empty: pick vision/encoder=<preset> or vision/head=<preset>, or remove it."),
    ({"speech.head": GONE}, "speech.codec has no head that emits its codes: pick one with speech/head=<preset>."),
    ({"speech.codec": GONE}, "speech.head emits codes, but there is no codec: pick one with speech/codec=<preset>."),
    ({"text.codec": {"use": "unit_hifigan"}}, "text.codec is never read: text.head emits tokens; remove it with ~text/codec."),
    ({"audio.encoder": {"use": "whispr"}}, "audio.encoder: encoder 'whispr' is not installed. Did you mean 'whisper'? Installed: mel_cnn, whisper."),
    ({"audio.encoder.dim": 3}, "audio.encoder: heads is 4, but must divide dim, which is 3."),
    ({"audio.encoder.dim": "wide"}, "audio.encoder.dim is 'wide', but must be a whole number."),
    ({"backbone.dim": 130}, "backbone: dim is 130, but must be a multiple of 2 x heads (8)."),
    ({"template": "qwen2p5_instruct"}, "template is 'qwen2p5_instruct', whose tokens <|im_start|>, <|im_end|> the backbone's tokenizer does not know;"
                                       " use its own template, 'llama_3', by leaving `template` out."),
    ({"template": "lama_3"}, "template: template 'lama_3' is unknown. Did you mean 'llama_3'? There is: llama_3, llama_omni, llama_omni_one_bos, llama_omni_two_bos, mixtral_instruct, qwen2p5_instruct."),
    ({"backbone.template": "lama_3"}, "backbone.template: template 'lama_3' is unknown. Did you mean 'llama_3'? There is: llama_3, llama_omni, llama_omni_one_bos, llama_omni_two_bos, mixtral_instruct, qwen2p5_instruct."),
    ({"transcript.head": {"use": "ctc_text", "tap": "audio.encodr"}},
     "transcript.head.tap is 'audio.encodr', but can be one of logits, hidden, embedding, audio.encoder, audio.projector. Did you mean 'audio.encoder'?"),
    ({"transcript.head": {"use": "ctc_text", "tokenizer": "tniy"}},
     "transcript.head.tokenizer is 'tniy', but neither a tokenizer of that name nor a .json file is there."),
    ({"data.rows.path": "???"}, "data.rows.path is missing, but MessagesJsonl needs a word there."),
    ({"data.rows.pth": "x"}, "data.rows.pth is not a field of MessagesJsonl. Did you mean 'path'? It has: path, provides, root, seconds, split."),
    ({"data.rows.provides": ["answr"]}, "data.rows: provides holds 'answr', but knows only text, audio, image, video, transcript, answer, speech, codes."),
]


@pytest.mark.parametrize(("changes", "sentence"), WIRING, ids=lambda value: "" if isinstance(value, str) else " ".join(value))
def test_one_misfit_is_one_sentence(fitting: dict[str, Any], changes: dict[str, object], sentence: str) -> None:
    assert mistakes(fitting, changes) == [sentence]


def test_a_vocabulary_smaller_than_the_tokenizer_says_how_large(fitting: dict[str, Any]) -> None:
    size = Tokenizer.from_file(str(registry.conf_file("tokenizer", "tiny.json"))).get_vocab_size()
    assert mistakes(fitting, {"backbone.vocabulary": 100}) == [
        f"backbone.vocabulary is 100, but tokenizer 'tiny' has {size} ids; set backbone.vocabulary={size}."]


@pytest.mark.parametrize("content", ["{}", "{", '{"model": {"vocab": {"a": "b"}}, "added_tokens": []}', "[]", '{"model": {"vocab": 3}}'])
def test_a_file_that_is_no_tokenizer_is_one_sentence(fitting: dict[str, Any], tmp_path: Path, content: str) -> None:
    path = tmp_path / "x.json"
    path.write_text(content)
    found, = mistakes(fitting, {"backbone.tokenizer": str(path)})
    assert found.startswith(f"backbone.tokenizer: {path} is not a tokenizer of the tokenizers library (")
    found, = mistakes(fitting, {"transcript.head": {"use": "ctc_text", "tokenizer": str(path)}})
    assert found.startswith(f"transcript.head.tokenizer: {path} is not a tokenizer")


def test_a_unigram_tokenizer_is_counted(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    path.write_text('{"model": {"vocab": [["a", 0.0], ["b", -1.0], ["c", -2.0]]}, "added_tokens": [{"id": 0}]}')
    assert tokenizer_size(str(path)) == 3


def test_two_branches_cannot_hear_one_question(fitting: dict[str, Any]) -> None:
    changes = {"ear": {"encoder": pick("encoder", "mel_cnn"), "projector": pick("projector", "linear")}}
    assert mistakes(fitting, changes) == ["audio.encoder and ear.encoder both take audio, but only one branch of a kind can hear a question;"
                                          " take audio or ear out of the recipe."]


def test_heads_without_a_backbone_say_what_to_pick(fitting: dict[str, Any]) -> None:
    found = mistakes(fitting, {"backbone": GONE})
    assert found == ["text.head taps the backbone's logits, but there is no backbone: pick one with backbone=<preset>.",
                     "text.head has no vocabulary: without a backbone, set text.head.tokenizer (for example tiny).",
                     "speech.head taps the backbone's hidden, but there is no backbone: pick one with backbone=<preset>."]


def test_a_stride_that_does_not_divide_says_which_do(fitting: dict[str, Any]) -> None:
    changes = {"audio.encoder": pick("encoder", "whisper_large_v3"), "audio.projector": pick("projector", "stack_mlp", stride=7),
               "backbone.context": 4096}
    assert mistakes(fitting, changes) == ["audio.projector does not fit audio.encoder: stride is 7, but the encoder gives 1500 vectors per"
                                          " item; use a divisor: 4, 5, 6."]


def test_context_overflow_names_dataset_branch_and_numbers(fitting: dict[str, Any]) -> None:
    plan = changed(fitting, {})
    positions = plan.inputs["audio"].length(5 * 16000)
    assert mistakes(fitting, {"backbone.context": positions}) == [
        f"data.rows has questions of 5 s, which branch audio turns into {positions} positions, but backbone.context is {positions};"
        " join more frames in audio.projector, take a longer context or shorter audio."]
    assert changed(fitting, {"backbone.context": positions + 1})


def test_questions_longer_than_the_encoder_takes_name_the_dataset(fitting: dict[str, Any]) -> None:
    found, = mistakes(fitting, {"data.rows.seconds": 1000.0})
    assert found.startswith("data.rows has questions of 1000 s, which audio.encoder cannot take: A clip is 1000.00 s long")


def test_an_unknown_dataset_names_the_stage_that_wants_it(fitting: dict[str, Any]) -> None:
    found, = mistakes(fitting, {"stages.speak.data.instruct_s2": 1.0})
    assert found.startswith("stages.speak.data: data 'instruct_s2' is unknown. Did you mean 'instruct_s2s'? There is: ")


def test_an_unknown_dataset_of_evaluation_names_its_title(fitting: dict[str, Any]) -> None:
    found, = mistakes(fitting, {"evaluate": {"data": {"heard": "row"}}})
    assert found.startswith("evaluate.data.heard: data 'row' is unknown.")


@pytest.mark.parametrize(("part", "sentence"), [
    ({"speech.codec": {"use": "books"}}, "speech.head cannot emit the codes of speech.codec (16000 Hz, 50 frames/s, 4 x 100 codes, runs merged):"
                                         " it emits one codebook, but the codec has 4."),
    ({"speech.codec": {"use": "books", "codebooks": 1, "merged": False}},
     "speech.head cannot emit the codes of speech.codec (16000 Hz, 50 frames/s, 1 x 100 codes):"
     " it emits units with their runs merged, but the codec needs every frame."),
    ({"audio.projector": {"use": "stubborn"}}, "audio.projector gives vectors 7 wide, but the backbone reads 128; its `output` must give what it is asked for."),
], ids=["codebooks", "runs", "width"])
def test_parts_of_a_stranger_that_do_not_fit(site: Path, fitting: dict[str, Any], part: dict[str, object], sentence: str) -> None:
    publish(site, "made_up", {"omnikit.codec": {"books": "made_up.config:Books"}, "omnikit.projector": {"stubborn": "made_up.config:Stubborn"}},
            {"config.py": ODD_PARTS})
    registry.forget()
    assert mistakes(fitting, part) == [sentence]


def test_an_empty_recipe_says_what_to_pick() -> None:
    with pytest.raises(PlanError, match="recipe mine has no part; pick some in its defaults, for example `- /audio/encoder: whisper`"):
        make(parse({}, "mine"))


def test_every_mismatch_is_reported_at_once(fitting: dict[str, Any]) -> None:
    found = mistakes(fitting, {"audio.encoder.dim": "wide", "speech.codec": GONE, "template": "nope", "data.rows.pth": 1,
                               "stages.speak.optim.lr": 0.0})
    assert [line.split(" ")[0].rstrip(":") for line in found] == ["audio.encoder.dim", "speech.head", "template", "data.rows.pth",
                                                                  "stages.speak.optim.lr"]


def test_a_part_that_cannot_be_made_is_not_complained_about_twice(fitting: dict[str, Any]) -> None:
    assert len(mistakes(fitting, {"audio.encoder.dim": "wide"})) == 1
    assert len(mistakes(fitting, {"backbone.heads": 0})) == 1
    assert len(mistakes(fitting, {"speech.head.factor": 0})) == 1
    assert len(mistakes(fitting, {"audio.encoder.dim": "wide", "transcript.head": {"use": "ctc_text"}})) == 1


# ---- what does not fit: staging.py -----------------------------------------------------------------------------------

SPEECH_ROWS: dict[str, object] = {"data.rows.provides": ["audio", "answer", "speech"], "speech.codec": {"use": "mel_units"}}
VOICE: dict[str, object] = {  # another stage at the end, that fits together
    "data.rows.provides": ["audio", "answer", "speech"], "speech.units": {"use": "mel_units"},
    "stages.units": {"objective": "units", "train": {"speech": {"units": "full"}}, "data": {"rows": 1.0}},
    "stages.speak.after": "units", "stages.speak.init_from": {"audio": "understand", "backbone": "understand", "speech": "units"},
    "stages.voice": {"objective": "vocoder", "train": {"speech": {"codec": "full"}}, "data": {"rows": 1.0},
                     "loss": {"mel": 1.0, "duration": 1.0}, "trainer": {"max_steps": 1}, "after": "speak"}}
STAGING: list[tuple[dict[str, object], str]] = [
    ({"stages.speak.after": "undrstand"}, "stages.speak.after is 'undrstand', which is no stage. Did you mean 'understand'? Stages: understand, speak."),
    ({"stages.understand.after": "speak", "stages.speak.after": "understand"}, "goes in a circle (speak → understand); let one of them come first."),
    ({"stages.speak.init_from": 3}, "stages.speak.init_from is 3, but must be a stage or a mapping of parts to stages."),
    ({"stages.speak.init_from": "speek"}, "stages.speak.init_from names 'speek', which is no earlier stage. Earlier: understand."),
    ({"stages.understand.init_from": "speak"}, "stages.understand.init_from names 'speak', which is no earlier stage. Earlier: none."),
    ({"stages.speak.init_from": {"speech": "understand"}}, "stages.speak.init_from takes speech from 'understand', where it was never trained;"
                                                           " trained there: audio.projector, backbone."),
    ({"stages.speak.train": {"speech": {"hed": "full"}}}, "stages.speak.train.speech.hed names no part of this model. Did you mean 'speech.head'? Parts:"
     " audio.encoder, audio.projector, backbone, text.head, speech.head, speech.codec."),
    ({"stages.speak.train": {"speech": {"head": "lora"}}}, "stages.speak.train.speech.head is 'lora', but must be 'full'; leave a frozen part out."),
    ({"stages.speak.loss": {"speach": 1.0}}, "stages.speak.loss.speach names no output branch. Did you mean 'speech'? Output branches: text, speech."),
    ({"stages.speak.loss": {"speech": 0.0}}, "stages.speak.loss.speech is 0, but a loss's weight must be above 0."),
    ({"stages.speak.train": {}}, "stages.speak.train is empty, so nothing would be learnt; name a part, for example {audio.encoder: full}."),
    ({"stages.speak.data": {"rows": -1.0}}, "stages.speak.data.rows is -1, but a share must be above 0."),
    ({"stages.speak.data": {}}, "stages.speak.data is empty; name a dataset and its share, for example {spoken_qa: 1.0}."),
    ({"stages.speak.loss": {}}, "stages.speak.loss is empty; weigh an output branch, for example {text: 1.0}."),
    ({"stages.speak.loss": {"text": 1.0}}, "stages.speak.train names speech.head, but none of its losses (text) reaches it;"
                                           " add the loss that does or leave the part out."),
    ({"stages.understand.train": {"audio": {"projector": "full"}}, "data.rows.provides": ["text", "answer", "codes"]},
     "stages.understand trains only audio.projector, but none of its data has audio (rows gives text, answer, codes); add a dataset that has, or train another part."),
    ({"stages.speak.trainer.max_steps": None}, "stages.speak.trainer says neither max_steps nor max_epochs; set one of them."),
    ({"stages.speak.trainer.max_steps": 0}, "stages.speak.trainer.max_steps is 0, but must be at least 1."),
    ({"stages.speak.trainer.batch_size": 0}, "stages.speak.trainer.batch_size is 0, but must be at least 1."),
    ({"stages.speak.optim.lr": -1.0}, "stages.speak.optim.lr is -1, but must be above 0."),
    ({"stages.speak.optim.lr": float("nan")}, "stages.speak.optim.lr is nan, but must be above 0, and finite."),
    ({"stages.speak.optim.lr": float("inf")}, "stages.speak.optim.lr is inf, but must be above 0, and finite."),
    ({"stages.speak.optim.warmup": 5.0}, "stages.speak.optim.warmup is 5, but must be between 0 and 1."),
    ({"stages.speak.optim.beta1": 2.0}, "stages.speak.optim.beta1 is 2, but must be at least 0 and below 1."),
    ({"stages.speak.optim.beta2": 1.0}, "stages.speak.optim.beta2 is 1, but must be at least 0 and below 1."),
    ({"stages.speak.optim.clip": -1.0}, "stages.speak.optim.clip is -1, but must be at least 0 (0: no limit)."),
    ({"stages.speak.optim.weight_decay": -1.0}, "stages.speak.optim.weight_decay is -1, but must be at least 0."),
    ({"stages.speak.optim.parts": {"speech": {"lr": -1.0}}}, "stages.speak.optim.parts.speech.lr is -1, but must be above 0."),
    ({"stages.speak.optim.parts": {"lr": 1.0}}, "stages.speak.optim.parts.lr stands under no part; write it under one, {backbone: {lr: …}},"
                                                " or set stages.speak.optim.lr for all."),
    ({"stages.speak.loss": {"speech": float("nan")}}, "stages.speak.loss.speech is nan, but a loss's weight must be above 0."),
    ({"stages.speak.data": {"rows": float("nan")}}, "stages.speak.data.rows is nan, but a share must be above 0."),
    ({"stages.speak.trainer.log_every": 0}, "stages.speak.trainer.log_every is 0, but must be at least 1."),
    ({"stages.speak.trainer.workers": -1}, "stages.speak.trainer.workers is -1, but must be at least 0."),
    ({"stages.speak.trainer.devices": 2}, "stages.speak.trainer.devices is 2, but stages run on one device in this version; set devices=1."),
    ({"stages.speak.trainer.precision": "foo"}, "stages.speak.trainer.precision is 'foo', but must be one of 32-true, bf16-mixed, 16-mixed."),
    ({"stages.speak.trainer.accelerator": "tpuu"}, "stages.speak.trainer.accelerator is 'tpuu', but must be one of auto, cpu, gpu. Did you mean 'gpu'?"),
    ({"stages.speak.trainer.strategy": "nope"}, "stages.speak.trainer.strategy is 'nope', but must be one of auto."),
    ({"stages.speak.init_from": {"audio": {"projector": ["understand"]}}}, "stages.speak.init_from names ['understand'], which is no earlier stage."
                                                                           " Did you mean 'understand'? Earlier: understand."),
    ({"stages.speak": 3}, "stages.speak is 3, but must be a mapping."),
    ({"seed": -1}, "seed is -1, but must be at least 0 and below 4294967296."),
    ({"seed": 2**32}, "seed is 4294967296, but must be at least 0 and below 4294967296."),
    ({"generate.max_new_tokens": -3}, "generate.max_new_tokens is -3, but must be at least 1."),
    ({"generate.temperature": -1.0}, "generate.temperature is -1, but must be a finite number, at least 0."),
    ({"stages": {"a": stage(EAR, after="c"), "b": stage(EAR, after="a"), "c": stage(EAR, after="b")}},
     "stages.a.after goes in a circle (a → c → b); let one of them come first."),
    ({"stages.speak.optim.parts": {"speech": {"head": {"l": 1.0}}}}, "stages.speak.optim.parts.speech.head.l is not lr or weight_decay. Did you mean 'lr'?"),
    ({"stages.speak.optim.parts": {"speech": {"head": {"lr": "fast"}}}}, "stages.speak.optim.parts.speech.head.lr is 'fast', but must be a number."),
    ({"stages.speak.optim.parts": {"backbone": {"lr": 1.0}}}, "stages.speak.optim.parts.backbone is not trained in this stage. Trained: speech.head."),
    ({"data.rows.provides": ["text", "codes"]}, "stages.understand.loss.text needs rows with answer, but dataset rows gives text, codes;"
                                                " take another dataset or drop that loss."),
    ({"data.rows.provides": ["text", "answer"]}, "stages.speak.loss.speech needs rows with codes, but dataset rows gives text, answer;"
                                                 " take another dataset or drop that loss."),
    (SPEECH_ROWS, "stages.speak needs speech.codec, which no earlier stage has fitted; add a stage with objective: units and"
                  " train: {speech: {codec: full}} before it."),
    ({"stages.speak.objective": "units"}, "stages.speak.objective is units, which fits one codec alone, but train names speech.head; name one of speech.codec."),
    ({"stages.speak.objective": "units", "stages.speak.train": {"speech": {"codec": "full"}}, "data.rows.provides": ["answer", "speech"]},
     "stages.speak.objective is units, but speech.codec offers vocoder."),
    ({**VOICE, "speech.codec": {"use": "mel_units"}}, "stages.voice.objective is vocoder, but speech.codec offers units."),
    ({**VOICE, "speech.units": GONE, "stages.units": GONE, "stages.speak.after": "understand", "stages.speak.init_from": GONE,
      "data.rows.provides": ["audio", "answer", "codes", "speech"]},
     "stages.voice trains speech.codec on the codes of waves, but nothing makes them; pick what does with +speech/units=<preset>."),
    ({**VOICE, "data.more": {**ROWS, "provides": ["audio", "answer", "codes"]}, "stages.voice.data": {"more": 1.0}},
     "stages.voice needs rows with speech, but dataset more gives audio, answer, codes."),
    ({**VOICE, "stages.voice.loss": {"stftt": 1.0, "mel": 1.0, "duration": 1.0}}, "stages.voice.loss.stftt is no loss of a vocoder."
     " Did you mean 'stft'? There is: stft, mel, duration, adversarial, feature_matching."),
    ({**VOICE, "stages.voice.loss": {"mel": 1.0, "duration": 1.0, "stft": 0.0}},
     "stages.voice.loss.stft is 0, but must be above 0; leave a loss out that is not wanted."),
    ({**VOICE, "stages.voice.loss": {}}, "stages.voice.loss weighs nothing that a wave is learnt by; write for example"
                                         " {stft: 1.0, mel: 1.0, duration: 1.0}."),
    ({**VOICE, "stages.voice.loss": {"mel": 1.0}}, "stages.voice.loss lacks duration, so speech.codec would never learn how long a"
                                                   " code lasts; add duration: 1.0."),
    ({**VOICE, "stages.voice.trainer": {}}, "stages.voice.trainer says neither max_steps nor max_epochs; set one of them."),
    ({**VOICE, "stages.voice.optim": {"parts": {"backbone": {"lr": 1.0}}}},
     "stages.voice.optim.parts.backbone is not trained in this stage. Trained: speech.codec."),
    ({**SPEECH_ROWS, "data.rows.provides": ["answer", "codes"], "stages.speak.objective": "units",
      "stages.speak.train": {"speech": {"codec": "full"}}}, "stages.speak needs rows with speech, but dataset rows gives answer, codes."),
    ({"stages.speak.objective": "unit"}, "stages.speak.objective is 'unit', but must be one of heads, units, vocoder, import. Did you mean 'units'?"),
    ({"stages.speak.objective": "codec"}, "stages.speak.objective is 'codec', but must be one of heads, units, vocoder, import. Did you mean 'vocoder'?"),
]


def test_a_voice_fits_after_units(fitting: dict[str, Any]) -> None:
    stage = changed(fitting, VOICE).stages["voice"]
    assert (stage.trained, stage.used) == (("speech.codec",), ("speech.units", "speech.codec"))
    assert stage.origins == {"speech.units": "units"}


@pytest.mark.parametrize(("changes", "sentence"), STAGING, ids=[sentence[:60] for _, sentence in STAGING])
def test_one_wrong_stage_is_one_sentence(fitting: dict[str, Any], changes: dict[str, object], sentence: str) -> None:
    found = mistakes(fitting, changes)
    assert any(line.endswith(sentence) for line in found), found
    assert len(found) == 1


def test_rows_without_a_transcript_are_fine_beside_rows_with_one(fitting: dict[str, Any]) -> None:
    changes = {"transcript.head": pick("head", "ctc_text"), "data.heard": {**ROWS, "provides": ["audio", "answer", "transcript"]},
               "data.rows": {**ROWS, "provides": ["text", "answer"]},
               "stages": {"a": {"train": EAR, "loss": {"text": 1.0, "transcript": 0.3}, "data": {"rows": 0.5, "heard": 0.5},
                                "trainer": {"max_steps": 1}}}}
    assert changed(fitting, changes).stages["a"].datasets == ("rows", "heard")
    sentence = "stages.a.loss.transcript needs rows with transcript, but dataset {} gives {}; take another dataset or drop that loss."
    audio = {**changes, "data.rows": {**ROWS, "provides": ["audio", "answer"]}}
    assert mistakes(fitting, audio) == [sentence.format("rows", "audio, answer")], "audio that nobody wrote down"
    none = {**changes, "data.heard": {**ROWS, "provides": ["audio", "answer"]}}
    assert mistakes(fitting, none) == [sentence.format("heard", "audio, answer")], "the text beside it is not to blame"


def test_a_learning_rate_of_a_branch_reaches_its_parts(fitting: dict[str, Any]) -> None:
    assert changed(fitting, {"stages.understand.optim.parts": {"audio": {"lr": 1e-5}}})
