# ruff: noqa: E501  # a table of sentences reads best with one in a line
"""Where stages start from, and every sentence of staging.py, each caused by one change of a recipe that fits together."""

from collections.abc import Mapping
from typing import Any

import pytest
from plans import GONE, ROWS, changed, mistakes, pick


def stage(train: object, loss: str = "text", **fields: object) -> dict[str, object]:
    return {"train": train, "loss": {loss: 1.0}, "data": {"rows": 1.0}, "trainer": {"max_steps": 1}, **fields}


PROJECTOR, BACKBONE, SPEECH_HEAD = {"audio": {"projector": "full"}}, {"backbone": "full"}, {"speech": {"head": "full"}}


def origins(fitting: Mapping[str, Any], stages: Mapping[str, object], last: str) -> dict[str, str]:
    return changed(fitting, {"stages": stages}).stages[last].origins


def test_the_first_stage_starts_fresh(fitting: dict[str, Any]) -> None:
    assert origins(fitting, {"a": stage(PROJECTOR)}, "a") == {}


def test_a_stage_starts_from_the_one_before(fitting: dict[str, Any]) -> None:
    assert origins(fitting, {"a": stage(PROJECTOR), "b": stage(BACKBONE)}, "b") == {"audio.projector": "a"}


def test_in_a_chain_the_last_that_trained_a_part_counts(fitting: dict[str, Any]) -> None:
    stages = {"a": stage({**PROJECTOR, **BACKBONE}), "b": stage(BACKBONE), "c": stage(SPEECH_HEAD, "speech")}
    assert origins(fitting, stages, "c") == {"audio.projector": "a", "backbone": "b"}


def test_a_stage_that_is_trained_on_starts_from_itself_before(fitting: dict[str, Any]) -> None:
    assert origins(fitting, {"a": stage(PROJECTOR), "b": stage(PROJECTOR)}, "b") == {"audio.projector": "a"}


def test_after_skips_what_lies_between(fitting: dict[str, Any]) -> None:
    stages = {"a": stage(PROJECTOR), "b": stage({**PROJECTOR, **BACKBONE}), "c": stage(BACKBONE, after="a")}
    assert origins(fitting, stages, "c") == {"audio.projector": "a"}


def test_init_from_names_one_parent(fitting: dict[str, Any]) -> None:
    stages = {"a": stage(PROJECTOR), "b": stage(PROJECTOR), "c": stage(BACKBONE, init_from="a")}
    assert origins(fitting, stages, "c") == {"audio.projector": "a"}


def test_init_from_takes_parts_of_several_parents(fitting: dict[str, Any]) -> None:
    stages = {"a": stage(PROJECTOR), "b": stage({**PROJECTOR, **BACKBONE}), "c": stage(SPEECH_HEAD, "speech", init_from={"audio": "a", "backbone": "b"})}
    assert origins(fitting, stages, "c") == {"audio.projector": "a", "backbone": "b"}


def test_init_from_may_name_parts_as_train_does(fitting: dict[str, Any]) -> None:
    stages = {"a": stage(PROJECTOR), "b": stage({**PROJECTOR, **BACKBONE}), "c": stage(SPEECH_HEAD, "speech", init_from={"audio": {"projector": "a"}, "backbone": "b"})}
    assert origins(fitting, stages, "c") == {"audio.projector": "a", "backbone": "b"}


def test_a_part_that_is_not_run_has_no_origin(fitting: dict[str, Any]) -> None:
    stages = {"a": stage(SPEECH_HEAD, "speech"), "b": stage(BACKBONE)}
    assert origins(fitting, stages, "b") == {}


def test_a_stage_runs_only_what_its_losses_reach(fitting: dict[str, Any]) -> None:
    plan = changed(fitting, {})
    assert plan.stages["understand"].used == ("audio.encoder", "audio.projector", "backbone", "text.head")
    assert plan.stages["speak"].used == ("audio.encoder", "audio.projector", "backbone", "speech.head")


def test_a_branch_alone_means_all_its_parts(fitting: dict[str, Any]) -> None:
    assert changed(fitting, {"stages": {"a": stage({"audio": "full"})}}).stages["a"].trained == ("audio.encoder", "audio.projector")


SPEECH_ROWS: dict[str, object] = {"data.rows.provides": ["audio", "answer", "speech"], "speech.codec": {"use": "mel_units"}}
VOICE: dict[str, object] = {  # another stage at the end, that fits together
    "data.rows.provides": ["audio", "answer", "speech"], "speech.units": {"use": "mel_units"},
    "stages.units": {"objective": "units", "train": {"speech": {"units": "full"}}, "data": {"rows": 1.0}},
    "stages.speak.after": "units", "stages.speak.init_from": {"audio": "understand", "backbone": "understand", "speech": "units"},
    "stages.voice": {"objective": "vocoder", "train": {"speech": {"codec": "full"}}, "data": {"rows": 1.0},
                     "loss": {"mel": 1.0, "duration": 1.0}, "trainer": {"max_steps": 1}, "after": "speak"}}
CODEC: dict[str, object] = {  # a stage for a codec before the head that learns its codes, that fits together
    "data.rows.provides": ["audio", "answer", "speech"], "speech.head": {"use": "nar_ar"}, "speech.codec": {"use": "ticodec", "decay": 0.9},
    "stages.codec": {"objective": "codec", "train": {"speech": {"codec": "full"}}, "data": {"rows": 1.0},
                     "loss": {"mel": 1.0, "commitment": 0.25}, "trainer": {"max_steps": 1}},
    "stages.speak.after": "codec", "stages.speak.init_from": {"audio": "understand", "backbone": "understand", "speech": "codec"}}
UNTAUGHT: dict[str, object] = {**CODEC, "stages.codec": GONE, "stages.speak.after": "understand", "stages.speak.init_from": GONE}
STAGING: list[tuple[dict[str, object], str]] = [
    ({"stages.speak.after": "undrstand"}, "stages.speak.after is 'undrstand', which is not a stage. Did you mean 'understand'? Stages: understand, speak."),
    ({"stages.understand.after": "speak", "stages.speak.after": "understand"}, "goes in a circle (speak → understand); let one of them come first."),
    ({"stages.speak.init_from": 3}, "stages.speak.init_from is 3, but must be a stage or a mapping of parts to stages."),
    ({"stages.speak.init_from": "speek"}, "stages.speak.init_from names 'speek', which is not an earlier stage. Earlier: understand."),
    ({"stages.understand.init_from": "speak"}, "stages.understand.init_from names 'speak', which is not an earlier stage. Earlier: none."),
    ({"stages.speak.init_from": {"speech": "understand"}}, "stages.speak.init_from takes speech from 'understand', where it was never trained;"
                                                           " trained there: audio.projector, backbone."),
    ({"stages.speak.train": {"speech": {"hed": "full"}}}, "stages.speak.train.speech.hed names no part of this model. Did you mean 'speech.head'? Parts:"
     " audio.encoder, audio.projector, backbone, text.head, speech.head, speech.codec."),
    ({"stages.speak.train": {"speech": {"head": "half"}}}, "stages.speak.train.speech.head is 'half', but must be full, lora, or a mapping of lora and patterns, {lora: {rank: 16}, \"norm*\": full}; leave a frozen part out."),
    ({"stages.speak.loss": {"speach": 1.0}}, "stages.speak.loss.speach names no output branch. Did you mean 'speech'? Output branches: text, speech."),
    ({"stages.speak.loss": {"speech": 0.0}}, "stages.speak.loss is empty; weigh an output branch, for example {text: 1.0}."),
    ({"stages.speak.train": {}}, "stages.speak.train is empty, so nothing would be trained; name a part, for example {audio.encoder: full}."),
    ({"stages.speak.data": {"rows": -1.0}}, "stages.speak.data.rows is -1, but a share must be above 0, or 0 to leave it out."),
    ({"stages.speak.data": {}}, "stages.speak.data is empty; name a dataset and its share, for example {spoken_qa: 1.0}."),
    ({"stages.speak.loss": {}}, "stages.speak.loss is empty; weigh an output branch, for example {text: 1.0}."),
    ({"stages.speak.loss": {"text": 1.0}}, "stages.speak.train names speech.head, but none of its losses (text) reaches it;"
                                           " add the loss that does or leave the part out."),
    ({"stages.understand.train": {"audio": {"projector": "full"}}, "data.rows.provides": ["text", "answer", "codes"]},
     "stages.understand trains only audio.projector, but none of its data has audio (rows gives text, answer, codes); add a dataset that has, or train another part."),
    ({"stages.speak.trainer.max_steps": None}, "stages.speak.trainer has neither max_steps nor max_epochs; set one of them."),
    ({"stages.speak.trainer.max_steps": 0}, "stages.speak.trainer.max_steps is 0, but must be at least 1."),
    ({"stages.speak.trainer.batch_size": 0}, "stages.speak.trainer.batch_size is 0, but must be at least 1."),
    ({"stages.understand.trainer.batch_tokens": 40, "stages.understand.trainer.pack": 60},
     "stages.understand.trainer.batch_tokens is 40, but a packed sequence has 60 positions; set it to a multiple of pack."),
    ({**VOICE, "stages.voice.trainer": {"max_steps": 1, "batch_tokens": 9}}, "stages.voice.trainer.batch_tokens is 9, but this stage runs no rows through an"
     " encoder or the backbone whose positions it could count; set batch_size instead."),
    ({"stages.understand.trainer.pack": 0}, "stages.understand.trainer.pack is 0, but must be at least 1."),
    ({"stages.understand.trainer.pack": 9000}, "stages.understand.trainer.pack is 9000, but backbone.context is 512; set pack to at most that."),
    ({**VOICE, "stages.voice.trainer": {"max_steps": 1, "pack": 9}},
     "stages.voice.trainer.pack is 9, but the backbone, whose rows are packed, does not run in this stage; leave pack out."),
    ({"stages.speak.optim.lr": -1.0}, "stages.speak.optim.lr is -1, but must be above 0."),
    ({"stages.speak.optim.muon": 0.0}, "stages.speak.optim.muon is 0, but must be above 0, or null."),
    ({"stages.speak.optim.lr": float("nan")}, "stages.speak.optim.lr is nan, but must be a finite number."),
    ({"stages.speak.optim.lr": float("inf")}, "stages.speak.optim.lr is inf, but must be a finite number."),
    ({"stages.speak.optim.warmup": 5.0}, "stages.speak.optim.warmup is 5, but must be between 0 and 1."),
    ({"stages.speak.optim.beta1": 2.0}, "stages.speak.optim.beta1 is 2, but must be at least 0 and below 1."),
    ({"stages.speak.optim.beta2": 1.0}, "stages.speak.optim.beta2 is 1, but must be at least 0 and below 1."),
    ({"stages.speak.optim.clip": -1.0}, "stages.speak.optim.clip is -1, but must be at least 0 (0: no limit)."),
    ({"stages.speak.optim.weight_decay": -1.0}, "stages.speak.optim.weight_decay is -1, but must be at least 0."),
    ({"stages.speak.optim.parts": {"speech": {"lr": -1.0}}}, "stages.speak.optim.parts.speech.lr is -1, but must be above 0."),
    ({"stages.speak.optim.parts": {"lr": 1.0}}, "stages.speak.optim.parts.lr stands under no part; write it under one, {backbone: {lr: …}},"
                                                " or set stages.speak.optim.lr for all."),
    ({"stages.speak.loss": {"speech": float("nan")}}, "stages.speak.loss.speech is nan, but must be a finite number."),
    ({"stages.speak.data": {"rows": float("nan")}}, "stages.speak.data.rows is nan, but must be a finite number."),
    ({"stages.speak.trainer.log_every": 0}, "stages.speak.trainer.log_every is 0, but must be at least 1."),
    ({"stages.speak.trainer.workers": -1}, "stages.speak.trainer.workers is -1, but must be at least 0."),
    ({"stages.speak.trainer.devices": 0}, "stages.speak.trainer.devices is 0, but must be at least 1."),
    ({**VOICE, "stages.voice.trainer": {"max_steps": 1, "devices": 2}}, "stages.voice.trainer has 2 devices, but a stage of objective vocoder trains on one; set devices=1."),
    ({"stages.speak.trainer.strategy": "ddp"}, "stages.speak.trainer.strategy is ddp, which is for several devices; set stages.speak.trainer.devices, or leave the strategy out."),
    ({"stages.speak.trainer.precision": "foo"}, "stages.speak.trainer.precision is 'foo', but must be one of 32-true, bf16-mixed, 16-mixed, bf16-true."),
    ({"stages.speak.trainer.activation_checkpointing": "backbone"}, "stages.speak.trainer.activation_checkpointing is 'backbone', but must be true, false or a list of parts, for example [backbone]."),
    ({"stages.speak.trainer.activation_checkpointing": ["bckbone"]}, "stages.speak.trainer.activation_checkpointing names 'bckbone', which is not a part of this model. Did you mean 'backbone'? Parts: audio.encoder, audio.projector, backbone, text.head, speech.head, speech.codec."),
    ({"stages.speak.trainer.compile": ["spech"]}, "stages.speak.trainer.compile names 'spech', which is not a part of this model. Did you mean 'speech.head'? Parts: audio.encoder, audio.projector, backbone, text.head, speech.head, speech.codec."),
    ({**VOICE, "stages.voice.trainer": {"max_steps": 1, "activation_checkpointing": True}}, "stages.voice.trainer.activation_checkpointing is set, but counts only in stages with objective heads; leave it out."),
    ({"stages.speak.optim.name": "sgd"}, "stages.speak.optim.name is 'sgd', but must be one of adamw, adamw_8bit, adamw_8bit_paged, adafactor, muon."),
    ({"stages.speak.trainer.accelerator": "tpuu"}, "stages.speak.trainer.accelerator is 'tpuu', but must be one of auto, cpu, gpu. Did you mean 'gpu'?"),
    ({"stages.speak.trainer.strategy": "nope"}, "stages.speak.trainer.strategy is 'nope', but must be one of auto, ddp, fsdp2, deepspeed_2, deepspeed_3."),
    ({"stages.speak.trainer.strategy": "fsdp2", "stages.speak.trainer.devices": 2, "stages.speak.optim.name": "adafactor"}, "stages.speak.optim.name is adafactor, which takes means over whole rows of a matrix, but strategy fsdp2 holds shards; set it to adamw or adamw_8bit, or take strategy ddp."),
    ({"stages.speak.trainer.strategy": "fsdp2", "stages.speak.trainer.devices": 2, "stages.speak.trainer.offload": "optimizer"}, "stages.speak.trainer.offload is optimizer, but strategy fsdp2 divides the moments among the devices already; take more devices, or set offload to none."),
    ({"stages.speak.trainer.offload": "optimizer", "stages.speak.optim.name": "adamw_8bit_paged"}, "stages.speak.trainer.offload is optimizer, but optim.name adamw_8bit_paged moves its moments itself; set offload to none."),
    ({"stages.speak.trainer.strategy": "deepspeed_2", "stages.speak.trainer.devices": 2}, "stages.speak.trainer.strategy is deepspeed_2, but DeepSpeed is not run by this version; take strategy fsdp2 and reshard false, which hold collected weights for a step and divide the rest."),
    ({"stages.speak.trainer.strategy": "deepspeed_3", "stages.speak.trainer.devices": 2}, "stages.speak.trainer.strategy is deepspeed_3, but DeepSpeed is not run by this version; take strategy fsdp2, which divides weights, gradients and moments alike."),
    ({"stages.speak.trainer.reshard": False}, "stages.speak.trainer.reshard is false, but only strategy fsdp2 collects weights; leave it out."),
    ({"stages.speak.init_from": {"audio": {"projector": ["understand"]}}}, "stages.speak.init_from names ['understand'], which is not an earlier stage."
                                                                           " Did you mean 'understand'? Earlier: understand."),
    ({"stages.speak": 3}, "stages.speak is 3, but must be a mapping."),
    ({"seed": -1}, "seed is -1, but must be at least 0 and below 4294967296."),
    ({"seed": 2**32}, "seed is 4294967296, but must be at least 0 and below 4294967296."),
    ({"generate.max_new_tokens": -3}, "generate.max_new_tokens is -3, but must be at least 1."),
    ({"generate.temperature": -1.0}, "generate.temperature is -1, but must be a finite number, at least 0."),
    ({"generate.speak_after": 0}, "generate.speak_after is 0, but must be at least 1; null waits for the end of the sentence."),
    ({"stages": {"a": stage(PROJECTOR, after="c"), "b": stage(PROJECTOR, after="a"), "c": stage(PROJECTOR, after="b")}},
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
    ({**VOICE, "stages.voice.loss": {"mel": 1.0, "duration": 1.0, "stft": -1.0}},
     "stages.voice.loss.stft is -1, but must be above 0, or 0 to leave it out."),
    ({**VOICE, "stages.voice.loss": {}}, "stages.voice.loss weighs no loss on waveforms; write for example"
                                         " {stft: 1.0, mel: 1.0, duration: 1.0}."),
    ({**VOICE, "stages.voice.loss": {"mel": 1.0}}, "stages.voice.loss lacks duration, so speech.codec would never learn how long a"
                                                   " code lasts; add duration: 1.0."),
    ({**VOICE, "stages.voice.trainer": {}}, "stages.voice.trainer has neither max_steps nor max_epochs; set one of them."),
    ({**VOICE, "stages.voice.optim": {"parts": {"backbone": {"lr": 1.0}}}},
     "stages.voice.optim.parts.backbone is not trained in this stage. Trained: speech.codec."),
    ({**SPEECH_ROWS, "data.rows.provides": ["answer", "codes"], "stages.speak.objective": "units",
      "stages.speak.train": {"speech": {"codec": "full"}}}, "stages.speak needs rows with speech, but dataset rows gives answer, codes."),
    ({"stages.speak.objective": "unit"}, "stages.speak.objective is 'unit', but must be one of heads, units, vocoder, codec, import. Did you mean 'units'?"),
    ({**VOICE, "stages.voice.objective": "codec"}, "stages.voice.objective is codec, but speech.codec offers vocoder."),
    ({**CODEC, "stages.codec.loss": {"commitment": 0.25}}, "stages.codec.loss weighs no loss on waveforms; write for example"
                                                           " {mel: 1.0, stft: 1.0, commitment: 0.25}."),
    ({**CODEC, "stages.codec.loss": {"duration": 1.0, "mel": 1.0}}, "stages.codec.loss.duration is no loss of a codec. There is:"
     " waveform, mel, stft, codebook, commitment, adversarial, feature_matching."),
    ({**CODEC, "stages.codec.loss": {"mel": 1.0, "stft": -1.0}}, "stages.codec.loss.stft is -1, but must be above 0, or 0 to leave it out."),
    ({**CODEC, "stages.codec.loss": {"mel": 1.0, "codebook": 1.0}}, "stages.codec.loss.codebook moves nothing: the codes of speech.codec"
                                                                    " are moving averages; take it out."),
    ({**CODEC, "speech.codec": {"use": "ticodec"}}, "stages.codec.loss lacks codebook, so the codes of speech.codec would stay where they"
                                                    " are; add codebook: 1.0."),
    ({**CODEC, "stages.codec.trainer": {}}, "stages.codec.trainer has neither max_steps nor max_epochs; set one of them."),
    ({**CODEC, "data.more": {**ROWS, "provides": ["text", "answer"]}, "stages.codec.data": {"more": 1.0}},
     "stages.codec needs rows with speech or audio, but dataset more gives text, answer."),
    (UNTAUGHT, "stages.speak needs speech.codec, which no earlier stage has fitted; add a stage with objective: codec and"
               " train: {speech: {codec: full}} before it."),
]


def test_a_voice_fits_after_units(fitting: dict[str, Any]) -> None:
    stage = changed(fitting, VOICE).stages["voice"]
    assert (stage.trained, stage.used) == (("speech.codec",), ("speech.units", "speech.codec"))
    assert stage.origins == {"speech.units": "units"}


def test_a_codec_fits_before_its_head(fitting: dict[str, Any]) -> None:
    plan = changed(fitting, CODEC)
    assert (plan.stages["codec"].trained, plan.stages["codec"].used) == (("speech.codec",), ("speech.codec",))
    assert plan.stages["speak"].origins["speech.codec"] == "codec"


def test_a_codec_with_weights_needs_no_stage(fitting: dict[str, Any]) -> None:
    assert "speech.codec" in changed(fitting, {**UNTAUGHT, "speech.codec.weights": "final.pt"}).stages["speak"].used


@pytest.mark.parametrize(("changes", "sentence"), STAGING, ids=[sentence[:60] for _, sentence in STAGING])
def test_one_wrong_stage_is_one_sentence(fitting: dict[str, Any], changes: dict[str, object], sentence: str) -> None:
    found = mistakes(fitting, changes)
    assert any(line.endswith(sentence) for line in found), found
    assert len(found) == 1


def test_rows_without_a_transcript_are_fine_beside_rows_with_one(fitting: dict[str, Any]) -> None:
    changes = {"transcript.head": pick("head", "ctc_text"), "data.transcribed": {**ROWS, "provides": ["audio", "answer", "transcript"]},
               "data.rows": {**ROWS, "provides": ["text", "answer"]},
               "stages": {"a": {"train": PROJECTOR, "loss": {"text": 1.0, "transcript": 0.3}, "data": {"rows": 0.5, "transcribed": 0.5},
                                "trainer": {"max_steps": 1}}}}
    assert changed(fitting, changes).stages["a"].datasets == ("rows", "transcribed")
    sentence = "stages.a.loss.transcript needs rows with transcript, but dataset {} gives {}; take another dataset or drop that loss."
    audio = {**changes, "data.rows": {**ROWS, "provides": ["audio", "answer"]}}
    assert mistakes(fitting, audio) == [sentence.format("rows", "audio, answer")], "audio that nobody wrote down"
    none = {**changes, "data.transcribed": {**ROWS, "provides": ["audio", "answer"]}}
    assert mistakes(fitting, none) == [sentence.format("transcribed", "audio, answer")], "the text beside it is not to blame"


def test_a_weight_of_zero_leaves_a_loss_or_a_dataset_out(fitting: dict[str, Any]) -> None:
    plan = changed(fitting, {"stages.understand.loss": {"text": 1.0, "speech": 0.0}, "data.more": ROWS,
                             "stages.understand.data": {"rows": 1.0, "more": 0.0}})
    assert plan.stages["understand"].stage.loss == {"text": 1.0}
    assert plan.stages["understand"].datasets == ("rows",)
    assert plan.recipe.fingerprint() == changed(fitting, {"data.more": ROWS}).recipe.fingerprint()


def test_a_learning_rate_of_a_branch_reaches_its_parts(fitting: dict[str, Any]) -> None:
    assert changed(fitting, {"stages.understand.optim.parts": {"audio": {"lr": 1e-5}}})


def test_a_backbone_that_cannot_separate_conversations_packs_none(fitting: dict[str, Any]) -> None:
    assert mistakes(fitting, {"stages.understand.trainer.pack": 60, "backbone.model_type": "opt"}) == [
        "stages.understand.trainer.pack is 60, but this backbone cannot separate the conversations of a row; leave pack out, or"
        " take one that can, for example hf with model_type qwen2."]
