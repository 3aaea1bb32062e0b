# ruff: noqa: E501  # a table of sentences reads best with one in a line
"""Every sentence of wiring.py and plan.py, each caused by one change of a recipe that fits together."""

from pathlib import Path
from typing import Any

import pytest
from plans import GONE, changed, mistakes, pick
from small_recipe import publish
from tokenizers import Tokenizer

from omnikit import registry
from omnikit.errors import PlanError
from omnikit.plan.plan import make
from omnikit.plan.resolve import tokenizer_size
from omnikit.recipe.recipe import parse

MISFITS = '''
from dataclasses import dataclass
from fractions import Fraction
from omnikit.contracts.specs import CodecSpec, FeatureSpec

@dataclass(frozen=True)
class Books:
    codebooks: int = 4
    merged: bool = True
    encodes = False
    decodes = True
    objectives = ()

    @property
    def spec(self):
        return CodecSpec(16000, Fraction(50), self.codebooks, 100, self.merged)

    def build(self):
        pass

@dataclass(frozen=True)
class Stubborn:
    dim: int = 7

    def output(self, source, dim):
        return FeatureSpec(self.dim, rate=source.rate)

    def length(self, count):
        return count

    def build(self, source, dim):
        pass
'''

WIRING = [
    ({"audio.encoder": GONE}, "audio.projector has nothing to project: pick an encoder with audio/encoder=<preset>."),
    ({"audio.projector": GONE}, "audio.encoder does not reach the backbone: pick a projector with audio/projector=<preset>."),
    ({"vision": {}}, "vision is empty: pick vision/encoder=<preset> or vision/head=<preset>, or remove it."),
    ({"speech.head": GONE}, "speech.codec has no head that emits its codes: pick one with speech/head=<preset>."),
    ({"speech.codec": GONE}, "speech.head emits codes, but there is no codec: pick one with speech/codec=<preset>."),
    ({"text.codec": {"use": "unit_hifigan"}}, "text.codec is never read: text.head emits tokens; remove it with ~text/codec."),
    ({"audio.encoder": {"use": "whispr"}}, "audio.encoder: encoder 'whispr' is not installed. Did you mean 'whisper'? Installed: hf_audio, hf_audio_tower, hf_high_res_tower, hf_image_tower, hf_vision, internvit, mel_cnn, openclip, prompt, whisper."),
    ({"audio.encoder.dim": 3}, "audio.encoder: heads is 4, but must divide dim, which is 3."),
    ({"audio.encoder.dim": "wide"}, "audio.encoder.dim is 'wide', but must be a whole number."),
    ({"backbone.dim": 130}, "backbone: dim is 130, but must be a multiple of 2 x heads (8)."),
    ({"template": "qwen2p5_instruct"}, "template is 'qwen2p5_instruct', whose tokens <|im_start|>, <|im_end|> the backbone's tokenizer does not know;"
                                       " use its own template, 'llama_3', by leaving `template` out."),
    ({"template": "lama_3"}, "template: template 'lama_3' is unknown. Did you mean 'llama_3'? There is: blip_2, idefics3, llama_3, llama_omni, llama_omni_one_bos, llama_omni_two_bos, llava_1_5, mixtral_instruct, mixtral_two, mixtral_zh, nemo, qwen2p5_instruct, qwen2p5_vita, t5."),
    ({"backbone.template": "lama_3"}, "backbone.template: template 'lama_3' is unknown. Did you mean 'llama_3'? There is: blip_2, idefics3, llama_3, llama_omni, llama_omni_one_bos, llama_omni_two_bos, llava_1_5, mixtral_instruct, mixtral_two, mixtral_zh, nemo, qwen2p5_instruct, qwen2p5_vita, t5."),
    ({"turn.head": {"use": "state", "branch": "ears"}}, "turn.head predicts states of the questions that branch 'ears' takes, but there is no such input branch; set turn.head.branch=audio."),
    ({"turn.head": {"use": "state", "classes": 4}}, "turn.head: weights has 3 numbers, but must have 5: one for each of the 4 classes and one for the class that is never a target."),
    ({"transcript.head": {"use": "ctc_text", "tap": "audio.encodr"}},
     "transcript.head.tap is 'audio.encodr', but can be one of logits, hidden, embedding, audio.encoder, audio.projector. Did you mean 'audio.encoder'?"),
    ({"transcript.head": {"use": "ctc_text", "tokenizer": "tniy"}},
     "transcript.head.tokenizer is 'tniy', but neither a tokenizer of that name nor a .json file is there."),
    ({"data.rows.path": "???"}, "data.rows.path is missing, but MessagesJsonl needs a word there."),
    ({"data.rows.pth": "x"}, "data.rows.pth is not a field of MessagesJsonl. Did you mean 'path'? It has: path, provides, root, seconds, split."),
    ({"data.rows.provides": ["answr"]}, "data.rows: provides holds 'answr', but must be among text, audio, image, video, prompt, transcript, caption, answer, speech, codes."),
]


@pytest.mark.parametrize(("changes", "sentence"), WIRING, ids=lambda value: "" if isinstance(value, str) else " ".join(value))
def test_one_misfit_is_one_sentence(fitting: dict[str, Any], changes: dict[str, object], sentence: str) -> None:
    assert mistakes(fitting, changes) == [sentence]


def test_a_vocabulary_smaller_than_the_tokenizer_is_refused_with_its_size(fitting: dict[str, Any]) -> None:
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


def test_two_branches_cannot_read_one_signal_unasked(fitting: dict[str, Any]) -> None:
    changes = {"microphone": {"encoder": pick("encoder", "mel_cnn"), "projector": pick("projector", "linear")}}
    assert mistakes(fitting, changes) == ["audio.encoder and microphone.encoder both take audio; set microphone.input=audio to let both read each audio,"
                                          " or take one of them out of the recipe."]


def test_heads_without_a_backbone_say_what_to_pick(fitting: dict[str, Any]) -> None:
    found = mistakes(fitting, {"backbone": GONE})
    assert found == ["text.head taps the backbone's logits, but there is no backbone: pick one with backbone=<preset>.",
                     "text.head has no vocabulary: without a backbone, set text.head.tokenizer (for example tiny).",
                     "speech.head taps the backbone's hidden, but there is no backbone: pick one with backbone=<preset>."]


def test_a_stride_that_does_not_divide_lists_those_that_do(fitting: dict[str, Any]) -> None:
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


def test_an_unknown_dataset_names_the_stage_that_reads_it(fitting: dict[str, Any]) -> None:
    found, = mistakes(fitting, {"stages.speak.data.instruct_s2": 1.0})
    assert found.startswith("stages.speak.data: data 'instruct_s2' is unknown. Did you mean 'instruct_s2s'? There is: ")


def test_an_unknown_dataset_of_evaluation_names_its_title(fitting: dict[str, Any]) -> None:
    found, = mistakes(fitting, {"evaluate": {"data": {"seen": "row"}}})
    assert found.startswith("evaluate.data.seen: data 'row' is unknown.")


OPEN_HEAD = """
from dataclasses import dataclass

@dataclass(frozen=True)
class Open:
    tap: str = "hidden"
    target: str = "codes"
    alignment: str = "predicts"

    def codes(self, codec):
        return None

    def build(self, source, codec, vocabulary):
        pass

@dataclass(frozen=True)
class Many(Open):
    codebooks: int | None = None
"""


def test_a_head_that_does_not_emit_several_codebooks_is_refused(site: Path, fitting: dict[str, Any]) -> None:
    publish(site, "made_up", {"omnikit.codec": {"books": "made_up.config:Books"}, "omnikit.head": {
        "open": "made_up.heads:Open", "many": "made_up.heads:Many"}}, {"config.py": MISFITS, "heads.py": OPEN_HEAD})
    registry.forget()
    books = {"speech.codec": {"use": "books"}}
    assert mistakes(fitting, books | {"speech.head": {"use": "open"}}) == [
        "speech.head cannot emit the codes of speech.codec (16000 Hz, 50 frames/s, 4 x 100 codes, runs merged): it emits 1 code a"
        " frame, but the codec has 4 codebooks (a head that emits several has `codebooks`)."]
    assert changed(fitting, books | {"speech.head": {"use": "many"}}).outputs["speech"].codes.codebooks == 4


@pytest.mark.parametrize(("part", "sentence"), [
    ({"speech.codec": {"use": "books"}}, "speech.head cannot emit the codes of speech.codec (16000 Hz, 50 frames/s, 4 x 100 codes, runs merged):"
                                         " it emits one codebook, but the codec has 4."),
    ({"speech.codec": {"use": "books", "codebooks": 1, "merged": False}},
     "speech.head cannot emit the codes of speech.codec (16000 Hz, 50 frames/s, 1 x 100 codes):"
     " it emits units with their runs merged, but the codec needs every frame."),
    ({"audio.projector": {"use": "stubborn"}}, "audio.projector gives vectors of hidden size 7, but the backbone takes 128; its `output` must give the size that is asked for."),
], ids=["codebooks", "runs", "width"])
def test_third_party_parts_that_do_not_fit(site: Path, fitting: dict[str, Any], part: dict[str, object], sentence: str) -> None:
    publish(site, "made_up", {"omnikit.codec": {"books": "made_up.config:Books"}, "omnikit.projector": {"stubborn": "made_up.config:Stubborn"}},
            {"config.py": MISFITS})
    registry.forget()
    assert mistakes(fitting, part) == [sentence]


def test_an_empty_recipe_lists_what_to_pick() -> None:
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
