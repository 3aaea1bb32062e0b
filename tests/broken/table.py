# ruff: noqa: E501  # a table reads best with a mistake in a line
"""What people get wrong: each row is one mistake in a setting that works without it (see test_broken.py).

`argv` runs in a folder with small.yaml, rows.jsonl, good.wav and `run`, a finished run of text.yaml.
"""

import json
import struct
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save_file

CHECK, DEEP, CHAT = "check small.yaml", "check --deep small.yaml", "chat run --text two"
WEIGHTS = "run/understand/weights.safetensors"
TRAP = "made_up_trap.spring"
VITA = f"{DEEP} data/rows=vita_json data.rows.path=rows.json data.rows.provides=[audio,answer,codes]"
EMPTY = b"\x02" + bytes(7) + b"{}"  # a safetensors file without tensors


@dataclass(frozen=True)
class Broken:
    """One mistake.

    Args:
        kind: what sort of mistake it is.
        argv: the command line.
        place: what the sentence must name.
        fix: what it must advise.
        changes: (old, new) in small.yaml.
        files: name → content of files that are added or replaced.
        damage: what is done to the folder.
    """

    kind: str
    argv: str
    place: str
    fix: str
    changes: tuple[tuple[str, str], ...] = ()
    files: Mapping[str, str | bytes] = field(default_factory=dict)
    damage: Callable[[Path], None] | None = None


def row(**changes: object) -> str:
    """Give one line of rows.jsonl whose question's part has other values."""
    part = {key: value for key, value in {"type": "audio", "path": "good.wav", "text": "two", **changes}.items() if value}
    answer = [{"type": "text", "text": "two"}, {"type": "audio", "path": "good.wav", "codes": [1, 2]}]
    return json.dumps({"messages": [{"role": "user", "content": [part]}, {"role": "assistant", "content": answer}]}) + "\n"


def shown(**changes: object) -> str:
    """Give a file of VITA's with one row that shows an image."""
    turns = [{"from": "human", "value": "<image>"}, {"from": "gpt", "value": "two"}]
    return json.dumps([{"id": "a", "set": "images", "image": "a.png", "conversations": turns, **changes}])


MUTE = json.dumps({"messages": [{"role": "user", "content": "two"}, {"role": "assistant", "content": "two"}]}) + "\n"


def wav(samples: bytes, promised: int, *, bits: int = 16, code: int = 1) -> bytes:
    """Give a 16 kHz mono WAV whose header promises so many bytes of sound."""
    shape = struct.pack("<HHIIHH", code, 1, 16000, 16000 * bits // 8, bits // 8, bits)
    return b"RIFF" + struct.pack("<I", 36 + promised) + b"WAVEfmt " + struct.pack("<I", 16) + shape + b"data" + struct.pack("<I", promised) + samples


def png(width: int, height: int) -> bytes:
    """Give a PNG whose header promises so many pixels; it holds 4096 bytes of grey."""
    def chunk(name: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(range(256)) * 16)) + chunk(b"IEND", b"")


def tensors(folder: Path) -> tuple[dict[str, torch.Tensor], dict[str, str]]:
    with safe_open(folder / WEIGHTS, framework="pt") as file:
        return {name: file.get_tensor(name) for name in file.keys()}, file.metadata()  # noqa: SIM118  # it is no mapping


def cut(folder: Path) -> None:
    content = (folder / WEIGHTS).read_bytes()
    (folder / WEIGHTS).write_bytes(content[: len(content) // 2])


def reshape(folder: Path) -> None:
    found, header = tensors(folder)
    save_file({name: tensor[:1] if tensor.dim() else tensor for name, tensor in found.items()}, folder / WEIGHTS, header)


def drop(folder: Path) -> None:
    found, header = tensors(folder)
    found.pop(min(found))
    save_file(found, folder / WEIGHTS, header)


def alter(folder: Path) -> None:
    found, header = tensors(folder)
    found[min(found)] += 1
    save_file(found, folder / WEIGHTS, header)


def foreign(folder: Path) -> None:
    save_file({"x": torch.zeros(1)}, folder / WEIGHTS)


def plant(folder: Path) -> None:
    with (folder / "run/config.yaml").open("a") as file:
        file.write(f"x: {{_target_: {TRAP}}}\n")


def remove(name: str) -> Callable[[Path], None]:
    return lambda folder: (folder / name).unlink()


def write(name: str, text: str) -> Callable[[Path], None]:
    def damage(folder: Path) -> None:
        (folder / name).write_text(text)
    return damage


TABLE = [
    Broken("misspelt component", f"{CHECK} audio/encoder=whispr", "encoder 'whispr' is unknown", "Did you mean 'whisper'? There is: "),
    Broken("misspelt component", CHECK, "head 'ctc_unit_tiny_random' is unknown", "Did you mean 'ctc_units_tiny_random'?", (("ctc_units_tiny", "ctc_unit_tiny"),)),
    Broken("misspelt component", CHECK, "small.yaml: /audio/encodr/whisper_tiny_random", "Did you mean 'encoder'?", (("/audio/encoder", "/audio/encodr"),)),
    Broken("misspelt component", "show encoder/whispr", "encoder 'whispr' is unknown", "Did you mean 'whisper'?"),
    Broken("misspelt component", "list encodr", "'encodr' is not a kind of component", "Did you mean 'encoder'? Kinds: encoder"),
    Broken("misspelt field", f"{CHECK} audio.encoder.layer=3", "audio.encoder has no 'layer'", "Did you mean 'layers'?"),
    Broken("misspelt field", CHECK, "stages.understand.trainer.max_step is not a field of TrainerConfig", "Did you mean 'max_steps'?", (("max_steps: 3", "max_step: 3"),)),
    Broken("misspelt field", CHECK, "data.rows.pth is not a field of MessagesJsonl", "Did you mean 'path'?", (("{path: rows.jsonl", "{pth: x, path: rows.jsonl"),)),
    Broken("misspelt field", f"{CHECK} stages.speak.optim.l=1", "stages.speak.optim.l is not a field of Optim", "Did you mean 'lr'?"),
    Broken("forced key", f"{CHECK} +audio.encoder.laernable=true", "audio.encoder.laernable is not a field of Whisper", "It has: dim"),
    Broken("forced key", f"{CHECK} ++stages.speak.trainer.max_step=3", "stages.speak.trainer.max_step is not a field of TrainerConfig", "Did you mean 'max_steps'?"),
    Broken("forced key", f"{CHECK} +seeed=3", "seeed is 3", "Did you mean 'seed'?"),
    Broken("forced key", f"{CHECK} +stages.new.seed=3", "stages.new, a stage that is not there", "write a new stage in a YAML that extends this recipe"),
    Broken("wrong type", f"{CHECK} audio.encoder.dim=wide", "audio.encoder.dim is 'wide'", "must be a whole number"),
    Broken("wrong type", f"{CHECK} stages.speak.optim.lr=fast", "stages.speak.optim.lr is 'fast'", "must be a number"),
    Broken("wrong type", CHECK, "stages.understand.data is 'rows'", "must be a mapping", (("{rows: 1.0}", "rows"),)),
    Broken("wrong type", f"{CHECK} audio.projector=linear", "audio.projector is 'linear'", "pick one with audio/projector=<preset>"),
    Broken("wrong type", f"{CHECK} stages.speak.optim.schedule=cosin", "stages.speak.optim.schedule is 'cosin'", "one of cosine, linear, constant. Did you mean 'cosine'?"),
    Broken("impossible value", f"{CHECK} audio/projector=stack_mlp audio.projector.stride=0", "audio.projector: stride is 0", "must be at least 1"),
    Broken("impossible value", f"{CHECK} backbone.dim=130", "backbone: dim is 130", "must be a multiple of 2 x heads"),
    Broken("impossible value", f"{CHECK} stages.speak.trainer.max_steps=0", "stages.speak.trainer.max_steps is 0", "must be at least 1"),
    Broken("impossible value", f"{CHECK} stages.speak.loss.speech=-1", "stages.speak.loss.speech is -1", "must be above 0"),
    Broken("impossible value", f"{CHECK} audio/encoder=whisper_large_v3 audio/projector=stack_mlp audio.projector.stride=7 backbone.context=4096",
           "audio.projector does not fit audio.encoder: stride is 7", "use a divisor: 4, 5, 6"),
    Broken("unknown branch", f"{CHECK} adio/encoder=whisper", "small.yaml has no 'adio'", "Did you mean 'audio'?"),
    Broken("unknown branch", f"{CHECK} +ears.encoder.dim=3", "ears.encoder.use is missing", "pick a component or preset with ears/encoder=<name>"),
    Broken("unknown branch", CHECK, "stages.speak.loss.speach names no output branch", "Did you mean 'speech'?", (("{speech: 1.0}", "{speach: 1.0}"),)),
    Broken("unknown branch", f"{CHECK} ~audio/projector", "audio.encoder does not reach the backbone", "pick a projector with audio/projector=<preset>"),
    Broken("unknown stage path", CHECK, "stages.speak.train.speech.hed names no part", "Did you mean 'speech.head'?", (("{head: full}", "{hed: full}"),)),
    Broken("unknown stage path", f"{CHECK} stages.speek.optim.lr=1", "stages has no 'speek'", "Did you mean 'speak'?"),
    Broken("unknown stage path", f"{CHECK} stages.speak.after=listen", "stages.speak.after is 'listen', which is not a stage", "Stages: understand, speak"),
    Broken("unknown stage path", f"{CHECK} stages.speak.init_from=listen", "stages.speak.init_from names 'listen'", "Earlier: understand"),
    Broken("unknown dataset", f"{CHECK} +stages.speak.data.spoken=1", "stages.speak.data: data 'spoken' is unknown", "There is: "),
    Broken("unknown dataset", f"{CHECK} +data/more=messages_json", "data 'messages_json' is unknown", "Did you mean 'messages_jsonl'?"),
    Broken("unknown dataset", f"{CHECK} +data/more=messages_jsonl", "data.more.path is missing", "needs a word there"),
    Broken("template and backbone", f"{CHECK} template=qwen2p5_instruct", "template is 'qwen2p5_instruct', whose tokens <|im_start|>", "use its own template, 'llama_3'"),
    Broken("template and backbone", f"{CHECK} template=lama_3", "template 'lama_3' is unknown", "Did you mean 'llama_3'?"),
    Broken("head and codec", f"{CHECK} ~speech/codec", "speech.head emits codes, but there is no codec", "pick one with speech/codec=<preset>"),
    Broken("head and codec", f"{CHECK} +text/codec=unit_hifigan", "text.codec is never read", "remove it with ~text/codec"),
    Broken("head and codec", f"{CHECK} speech/codec=mel_units data.rows.provides=[text,audio,answer,speech]", "stages.speak needs speech.codec, which no earlier stage has fitted", "add a stage with objective: units"),
    Broken("head and codec", f"{CHECK} speech/units=mel_units", "small.yaml picks no speech/units", "write +speech/units=<name> to add one"),
    Broken("head and codec", f"{CHECK} +speech/units=unit_hifigan", "speech.units cannot make codes of waves", "pick a codec that encodes with speech/units=<preset>"),
    Broken("nothing to learn", f"{DEEP} stages.understand.train.audio=null", "Stage speak: branch speech would not be trained, because no row of dataset rows (2 rows)", "give the rows that, or drop stages.speak.loss.speech", files={"rows.jsonl": MUTE * 2}),
    Broken("nothing to learn", "train text.yaml run=other ~stages.understand.train.backbone", "Stage understand: audio.encoder, audio.projector would not be trained", "train another part",
           files={"rows.jsonl": MUTE * 2}),
    Broken("context overflow", f"{CHECK} backbone.context=20", "data.rows has questions of 5 s", "join more frames in audio.projector"),
    Broken("context overflow", f"{CHECK} data.rows.seconds=1000", "data.rows has questions of 1000 s, which audio.encoder cannot take", "cut the clip"),
    Broken("context overflow", f"{DEEP} backbone.context=10 data.rows.seconds=null", "Row 1 has", "shorten the row or choose a backbone with a longer context",
           files={"rows.jsonl": row()}),
    Broken("missing file", "check nothing.yaml", "recipe nothing.yaml is not there", "give a path to a YAML or one of asr/tiny"),
    Broken("missing file", "check llama_omni/fulll", "recipe 'llama_omni/fulll' is unknown", "Did you mean 'llama_omni/full'?"),
    Broken("missing file", DEEP, "rows.jsonl does not exist", "fix `path`", damage=remove("rows.jsonl")),
    Broken("missing file", "chat run --audio none.wav", "none.wav does not exist", "an audio file should be there"),
    Broken("missing file", "chat nothing --text two", "nothing is not a run", "train first"),
    Broken("missing file", "chat run --text two --out no/a.wav", "--out is no/a.wav", "make it first"),
    Broken("missing file", "show small.yaml --diagram no/a.svg", "--diagram is no/a.svg", "choose another file"),
    Broken("bad YAML", CHECK, "small.yaml, line ", "fix the file", (("stages:\n", "stages: [\n"),)),
    Broken("bad YAML", "check words.yaml", "words.yaml is not a mapping", "fix the file", files={"words.yaml": "only words\n"}),
    Broken("bad YAML", "check binary.yaml", "binary.yaml is not YAML", "fix the file", files={"binary.yaml": b"\xff\xfe\x00"}),
    Broken("bad YAML", CHECK, "small.yaml extends itself", "take it out of the defaults", (("/recipe\n", "/recipe\n  - /small\n"),)),
    Broken("bad YAML", "check empty.yaml", "recipe empty has no part", "pick some in its defaults", files={"empty.yaml": ""}),
    Broken("broken wav", "chat run --audio cut.wav", "cut.wav is cut short (16000 bytes are missing)", "write or copy it again", files={"cut.wav": wav(bytes(16000), 32000)}),
    Broken("broken wav", "chat run --audio words.wav", "words.wav is not a readable audio file", "must be WAV, FLAC, OGG, MP3", files={"words.wav": "These are words."}),
    Broken("broken wav", "chat run --audio empty.wav", "empty.wav is not a readable audio file", "write or copy it again", files={"empty.wav": b""}),
    Broken("broken wav", "chat run --audio silent.wav", "silent.wav holds no samples", "must hold some audio", files={"silent.wav": wav(b"", 0)}),
    Broken("broken wav", "chat run --audio nan.wav", "nan.wav holds values that are not finite numbers", "write it again",
           files={"nan.wav": wav(struct.pack("<4f", 0.0, float("nan"), 0.1, 0.2) * 100, 1600, bits=32, code=3)}),
    Broken("broken wav", DEEP, "cut.wav is cut short", "write or copy it again", files={"cut.wav": wav(bytes(16000), 32000), "rows.jsonl": row(path="cut.wav")}),
    Broken("broken image", "chat run --image none.png", "none.png does not exist", "an image should be there"),
    Broken("broken image", "chat run --image words.png", "words.png is not a readable image", "must be one that Pillow reads", files={"words.png": "These are words."}),
    Broken("broken image", "chat run --image empty.png", "empty.png is not a readable image", "write or copy it again", files={"empty.png": b""}),
    Broken("broken image", "chat run --image cut.png", "cut.png is a damaged image", "write or copy it again", files={"cut.png": png(64, 64)[:60]}),
    Broken("broken image", "chat run --image no_width.png", "no_width.png is ", "image", files={"no_width.png": png(0, 64)}),
    Broken("broken image", "chat run --image huge.png", "huge.png has more pixels than Pillow opens", "make it smaller", files={"huge.png": png(40000, 40000)}),
    Broken("broken image", "train text.yaml run=other stages.understand.train.audio=null", "Row 1: ", "is not a readable image", files={"rows.jsonl": row(type="image", path="good.wav", text=None)}),
    Broken("broken video", "chat run --video none.mp4", "none.mp4 does not exist", "a video should be there"),
    Broken("broken video", "chat run --video words.mp4", "words.mp4 is not a readable video", "must be an MP4 (MOV, 3GP)", files={"words.mp4": "These are words."}),
    Broken("broken video", "chat run --video good.wav", "good.wav is not a readable video", "must be an MP4 (MOV, 3GP)"),
    Broken("broken row", DEEP, "rows.jsonl is empty", "must hold at least one row", files={"rows.jsonl": ""}),
    Broken("broken row", DEEP, "rows.jsonl, line 2 is not JSON", "one object in one line", files={"rows.jsonl": row() + '{"messages": [\n'}),
    Broken("broken row", DEEP, "rows.jsonl, line 1: messages is", "a list of at least one message", files={"rows.jsonl": '{"id": "a"}\n'}),
    Broken("broken row", DEEP, "content[0].path is 'none.wav'", "there is no file", files={"rows.jsonl": row(path="none.wav")}),
    Broken("broken row", DEEP, "content[0].type is \"adio\"", "Did you mean 'audio'?", files={"rows.jsonl": row(type="adio")}),
    Broken("broken row", DEEP, "unknown key 'pth'", "Did you mean 'path'?", files={"rows.jsonl": row(pth="good.wav")}),
    Broken("broken row", "train text.yaml run=other", "rows.jsonl, line 1 is not JSON", "one object in one line", files={"rows.jsonl": "words\n"}),
    Broken("broken checkpoint", CHAT, "weights.safetensors is not a whole safetensors file", "train its stage again", damage=cut),
    Broken("broken checkpoint", CHAT, "has shape (", "the recipe and the run differ", damage=reshape),
    Broken("broken checkpoint", CHAT, "lacks the tensor", "the recipe and the run differ", damage=drop),
    Broken("broken checkpoint", CHAT, "the file was altered", "train the stage again", damage=alter),
    Broken("broken checkpoint", CHAT, "was not written by omnikit", "its header does not say", damage=foreign),
    Broken("broken checkpoint", CHAT, "weights.safetensors is missing", "train its stage first", damage=remove(WEIGHTS)),
    Broken("broken checkpoint", CHAT, "Stage understand of", "finish it with omnikit train", damage=remove("run/understand/done")),
    Broken("broken checkpoint", CHAT, "config.yaml, line 1, is not YAML", "fix the file", damage=write("run/config.yaml", "stages: [")),
    Broken("code", f"{CHECK} +audio.encoder._target_={TRAP}", f"override '+audio.encoder._target_={TRAP}' is refused", "pick an installed component"),
    Broken("code", f"train text.yaml +hydra.callbacks.x._target_={TRAP}", "is refused", "pick an installed component"),
    Broken("code", CHECK, "small.yaml holds audio.encoder._target_, which is refused", "names installed components with `use:`",
           (("stages:\n", f"audio: {{encoder: {{_target_: {TRAP}}}}}\nstages:\n"),)),
    Broken("code", CHECK, "small.yaml sets `hydra`", "remove that key", (("stages:\n", f"hydra: {{callbacks: {{x: {{_target_: {TRAP}}}}}}}\nstages:\n"),)),
    Broken("code", CHECK, "in its defaults; `hydra` belongs to the command line", "remove it", (("/recipe\n", "/recipe\n  - /evil@hydra.job_logging\n"),),
           {"evil.yaml": f"handlers: {{x: {{(): {TRAP}}}}}\n"}),
    Broken("code", f"{CHECK} audio.encoder={{use:{TRAP}}}", f"audio.encoder: encoder '{TRAP}' is not installed", "Installed: hf_audio"),
    Broken("code", CHAT, "x._target_ is refused", "names installed components with `use:`", damage=plant),
    Broken("code", CHECK, "small.yaml sets `run`", "give run=PATH there", (("stages:\n", "run: /tmp/there\nstages:\n"),)),
    Broken("code", CHECK, "system is '${oc.env:HOME}'", "write the value there", (("stages:\n", "system: ${oc.env:HOME}\nstages:\n"),)),
    Broken("impossible value", f"{CHECK} stages.speak.trainer.devices=0", "stages.speak.trainer.devices is 0", "must be at least 1"),
    Broken("impossible value", f"{CHECK} stages.speak.optim.lr=nan", "stages.speak.optim.lr is nan", "must be a finite number"),
    Broken("impossible value", f"{CHECK} stages.speak.trainer.precision=foo", "stages.speak.trainer.precision is 'foo'", "must be one of 32-true"),
    Broken("impossible value", CHECK, "stages.../../there is not a valid name", "use lower-case letters, digits and _", (("  speak:\n", "  ../../there:\n"),)),
    Broken("missing file", f"{CHECK} backbone.tokenizer=x.json", "backbone.tokenizer: x.json is not a tokenizer", "give a tokenizer.json", files={"x.json": "{}"}),
    Broken("wrong command", "show whisper seed=1", "seed=1 is for a recipe", "name a recipe"),
    Broken("wrong command", "trian small.yaml", "'trian' is not a command", "Did you mean 'train'?"),
    Broken("wrong command", "check", "the following arguments are required: recipe", "see omnikit check --help"),
    Broken("wrong command", f"{CHAT} --omega 5", "--omega shapes a stream", "add --stream"),
    Broken("wrong command", f"{CHAT} --stream --omega 0", "0 is not a whole number", "see omnikit chat --help"),
    Broken("wrong command", f"{CHAT} --stream --out a.wav", "a.wav cannot be written", "the model has no speech branch"),
    Broken("wrong command", f"{CHAT} --out a.mp3", "--out is a.mp3, but answers are written as WAV", "name it a.wav"),
    Broken("wrong command", f"{CHAT} --example", "--example brings its own question, so --text would not be asked", "leave one of them out"),
    Broken("wrong command", f"{CHAT} --history", "--history is for a loop of questions, but --text asks one", "leave one of them out"),
    Broken("wrong command", "chat run --text=", "--text is empty", "leave it out for a loop of questions"),
    Broken("wrong command", "chat run --sing", "unrecognized arguments: --sing", "see omnikit chat --help"),
    Broken("wrong command", f"{CHECK} seed", "override 'seed' cannot be read", "write key=value"),
    Broken("wrong command", f"{CHECK} seed=1,2", "seed=1,2 names several values", "a sweep needs -m"),
    Broken("import", "import llama_omi x --out new", "layout 'llama_omi' is unknown", "Did you mean 'llama_omni'?"),
    Broken("import", "import llama_omni nowhere --out new", "nowhere is not a folder", "give the one with LLaMA-Omni's config.json"),
    Broken("import", "import llama_omni run --out run", "--out is run, which is there already", "name a folder that is not"),
    Broken("import", "import llama_omni published --out new", "config.json is missing", "give the folder that holds it", files={"published/x": ""}),
    Broken("import", "import llama_omni published --out new", "holds no weights", "give the folder of a checkpoint", files={"published/config.json": "{}"}),
    Broken("import", "import llama_omni published --out new", "model.safetensors is not a whole safetensors file", "copy it again",
           files={"published/config.json": "{}", "published/model.safetensors": b"\x10\x00"}),
    Broken("import", "import llama_omni published --out new", "config.json lacks model_type, hidden_size, intermediate_size", "give the config.json of a LLaMA-Omni",
           files={"published/config.json": "{}", "published/model.safetensors": EMPTY}),
    Broken("import", f"{CHECK} stages.speak.objective=import", "stages.speak.source names no layout", "write {use: <layout>, folder: <folder>}",
           (("    loss: {speech: 1.0}\n    data: {rows: 1.0}\n", ""),)),
    Broken("import", f"{CHECK} +stages.speak.source={{use:llama_omni,folder:x}}", "stages.speak.source is set, but only `objective: import` reads it", "take it out"),
    Broken("import", f"{CHECK} stages.speak.objective=import", "stages.speak.source.foldr is not a field", "Did you mean 'folder'?",
           (("    loss: {speech: 1.0}\n    data: {rows: 1.0}\n", "    source: {use: llama_omni, folder: x, foldr: x}\n"),)),
    Broken("export", "export llama_omni nowhere --out new", "nowhere is not a run", "train first"),
    Broken("wrong command", "train text.yaml run=good.wav", "good.wav", "make room or choose another folder."),
    Broken("data check", "data check small.yaml row", "'row' is not a dataset of small.", "Did you mean 'rows'?"),
    Broken("data check", "data check small.yaml --report none/bad.json", "there is no folder none", "choose another file"),
    Broken("VITA's JSON", VITA, "rows.json is not a whole JSON list: row 1, which begins in line 1", "copy the file again",
           files={"rows.json": '[{"id": "a", "conversations": []}, {"id": "b'}),
    Broken("VITA's JSON", VITA, "row 0 (a): set is 'images', but `folders` has none", "add it there", files={"rows.json": shown()}),
    Broken("VITA's JSON", VITA, "row 0 (a): there are 1 <image> in the questions, but 0 files in image", "write one for each file",
           files={"rows.json": shown(image=[])}),
    Broken("data build", "data build spoken_questions source=rows.jsonl out=new fraction=2", "fraction is 2", "a fraction is between 0 and 1"),
    Broken("data build", "data build noise_audio source=none.jsonl out=new", "none.jsonl does not exist", "fix `source`"),
]
