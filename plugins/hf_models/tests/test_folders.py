"""Folders of transformers at the command line: imported, asked, exported; and refused in one sentence."""

import json
import re
import wave
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hf_cases import CASES
from hf_parity import Pair, batch_of, made, media_of, our_logits, their_logits
from omnikit_hf_models.layout import HFModel
from omnikit_hf_models.table import lines
from PIL import Image
from safetensors.torch import load_file, save_file

from omnikit.cli import main
from omnikit.errors import RunError
from omnikit.inference.session import load
from omnikit.store.import_export import export
from omnikit.training.import_run import import_checkpoint


@pytest.fixture(scope="module")
def llava(tmp_path_factory: pytest.TempPathFactory) -> Pair:
    return made(CASES["llava"], tmp_path_factory.mktemp("llava"))


def edited(folder: Path, at: Path, changes: Mapping[str, object]) -> HFModel:
    """Give a folder's layout with other keys in its config.json."""
    for file in folder.iterdir():
        (at / file.name).write_bytes(file.read_bytes())
    config = json.loads((folder / "config.json").read_text())
    (at / "config.json").write_text(json.dumps({**config, **changes}))
    return HFModel(str(at), template="llama_3")


def test_a_folder_is_imported_and_asked(llava: Pair, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run, answers = tmp_path / "run", tmp_path / "answers.jsonl"
    assert main(["import", "hf_model", str(llava.folder), "--template", "llama_3", "--out", str(run)]) == 0
    assert "100.0%" in capsys.readouterr().out
    Image.fromarray(np.full((50, 60, 3), 90, np.uint8)).save(tmp_path / "image.png")
    (tmp_path / "questions.jsonl").write_text(json.dumps({"id": "a", "image": "image.png", "text": "what is it"}) + "\n")
    assert main(["answer", str(run), str(tmp_path / "questions.jsonl"), "--out", str(answers), "--max-new-tokens", "4"]) == 0
    assert "error" not in json.loads(answers.read_text())


def test_a_folder_with_audio_is_imported_and_asked(tmp_path: Path) -> None:
    pair, answers = made(CASES["qwen2_audio"], tmp_path), tmp_path / "answers.jsonl"
    with wave.open(str(tmp_path / "question.wav"), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(16000)
        file.writeframes((np.sin(np.arange(9001) / 9) * 9000).astype(np.int16).tobytes())
    (tmp_path / "questions.jsonl").write_text(json.dumps({"id": "a", "audio": "question.wav"}) + "\n")
    questions = str(tmp_path / "questions.jsonl")
    assert main(["answer", str(pair.run), questions, "--out", str(answers), "--max-new-tokens", "4"]) == 0
    assert "error" not in json.loads(answers.read_text())


def test_an_edge_that_is_bounded_before_tiles_are_cut_is_no_size(tmp_path: Path) -> None:
    """As SmolVLM's processor states it."""
    pair = made(CASES["smolvlm"], tmp_path)
    (pair.folder / "preprocessor_config.json").write_text(json.dumps({"size": {"longest_edge": 1536}, "do_resize": True}))
    vision = HFModel(str(pair.folder), template="llama_3").recipe()["vision"]
    assert isinstance(vision, dict) and "edge" not in vision["encoder"]


@pytest.mark.parametrize(("changes", "sentence"), [
    ({"model_type": "fuyu"}, r"config.json has model_type 'fuyu', but layout hf_model holds llava"),
    ({"multimodal_projector_bias": False}, "multimodal_projector_bias False, but layout hf_model holds projectors with biases"),
    ({"projector_hidden_act": "tanh"}, "has projector_hidden_act 'tanh', but layout hf_model holds gelu, relu, silu"),
    ({"vision_config": {"model_type": "pixtral"}}, "has vision_config.model_type 'pixtral', but layout hf_model holds towers"),
], ids=["class", "bias", "activation", "tower"])
def test_what_no_part_holds_is_one_sentence(llava: Pair, tmp_path: Path, changes: dict[str, object], sentence: str) -> None:
    with pytest.raises(RunError, match=sentence):
        edited(llava.folder, tmp_path, changes).recipe()


def test_how_images_are_prepared_comes_from_the_folder(llava: Pair, tmp_path: Path) -> None:
    """As CLIP's processor of llava-1.5-7b-hf states it."""
    (llava.folder / "preprocessor_config.json").write_text(json.dumps({
        "size": {"shortest_edge": 48}, "crop_size": {"height": 40, "width": 40}, "resample": 3, "do_center_crop": True,
        "image_mean": [0.1, 0.2, 0.3], "image_std": [0.4, 0.5, 0.6]}))
    source = edited(llava.folder, tmp_path, {})
    (llava.folder / "preprocessor_config.json").unlink()
    tree = source.recipe()
    assert isinstance(tree["vision"], dict)
    found = {key: tree["vision"]["encoder"][key] for key in ("size", "edge", "fit", "resample", "mean", "deviation")}
    assert found == {"size": 40, "edge": 48, "fit": "crop", "resample": "bicubic", "mean": [0.1, 0.2, 0.3],
                     "deviation": [0.4, 0.5, 0.6]}


def test_the_page_has_the_table_of_classes() -> None:
    page = Path(__file__).parents[3] / "docs" / "howto" / "models_of_transformers.md"
    assert "\n".join(lines()) in page.read_text(), "renew it: python -m omnikit_hf_models.table"


def test_an_output_matrix_beside_t5_s_table_is_read(tmp_path: Path) -> None:
    """FLAN-T5's files have one that is not the table; transformers reads both, whatever its configuration states."""
    pair = made(CASES["blip_2_t5"], tmp_path)
    file = pair.folder / "model.safetensors"
    matrix = torch.randn(700, 32, generator=torch.Generator().manual_seed(3))
    save_file({**load_file(file), "language_model.lm_head.weight": matrix}, file, metadata={"format": "pt"})
    import_checkpoint("hf_model", {"folder": str(pair.folder), "template": "llama_3"}, tmp_path / "untied")
    theirs, ours = type(pair.theirs).from_pretrained(pair.folder).eval(), load(str(tmp_path / "untied")).model
    untied = replace(pair, theirs=theirs, ours=ours)
    batch = batch_of(untied, *media_of(untied))
    torch.testing.assert_close(our_logits(untied, batch), their_logits(untied, batch), atol=1e-4, rtol=1e-5)
    assert not torch.allclose(their_logits(untied, batch), their_logits(pair, batch), atol=0.1)
    export(HFModel, str(tmp_path / "untied"), tmp_path / "again")
    assert torch.equal(load_file(tmp_path / "again" / "model.safetensors")["language_model.lm_head.weight"], matrix)


@pytest.mark.parametrize("key,value,sentence", [
    ("relative_attention_num_buckets", 16, "text_config has relative_attention_num_buckets 16, but backbone hf_encoder_decoder"
                                           " has 32; such a model cannot be imported."),
    ("feed_forward_proj", "gated-silu", "text_config has feed_forward_proj 'gated-silu', but backbone hf_encoder_decoder has"
                                        " 'gated-gelu' or 'relu'")])
def test_another_t5_is_refused(tmp_path: Path, key: str, value: object, sentence: str) -> None:
    folder = made(CASES["blip_2_t5"], tmp_path).folder
    (tmp_path / "other").mkdir()
    text = json.loads((folder / "config.json").read_text())["text_config"]
    with pytest.raises(RunError, match=re.escape(sentence)):
        edited(folder, tmp_path / "other", {"text_config": {**text, key: value}}).recipe()
