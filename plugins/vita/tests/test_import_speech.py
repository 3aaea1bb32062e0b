"""The published folders of VITA-1.5's speech, decoder and codec: imported, exported, refused."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from omnikit_vita.layout import Vita
from omnikit_vita.nar_ar import NarAr
from omnikit_vita.nar_ar_model import NarArHead
from omnikit_vita.ticodec import TiCodec
from omnikit_vita.ticodec_model import TiCodecModel
from parity.case import Case
from parity.kinds import vita_full
from torch import Tensor

from omnikit.cli import main
from omnikit.errors import RunError
from omnikit.store.layouts import to_legacy_weight_norm

GOLDENS = Path(__file__).parents[3] / "tests" / "parity" / "goldens"
VOICE = [3, 1]
CODEC = TiCodec(codes=16, dim=32, channels=32, rates=(4, 3), kernels=(8, 5), block_kernels=(3,), block_dilations=((1, 2),),
                encoder_channels=8, global_dim=16, global_groups=2, global_codes=16, global_hidden=4, sample_rate=1200)
HEAD = NarAr(dim=32, layers=2, heads=2, ffn=24)
MODEL = {"resblock": "1", "upsample_rates": [4, 3], "upsample_kernel_sizes": [8, 5], "upsample_initial_channel": 32,
         "resblock_kernel_sizes": [3], "resblock_dilation_sizes": [[1, 2]], "sampling_rate": 1200, "n_code_groups": 1,
         "residul_layer": 1, "n_codes": 16, "codebook_loss_lambda": 1.0, "commitment_loss_lambda": 0.25, "global_code_num": 2,
         "global_feature_conv": [16, 4, 16, 3, 1], "global_tokens": VOICE, "hop_size": 240, "n_fft": 1024, "num_mels": 80}
ARGUMENTS = {"idim": 32, "odim": 16, "transformer_attention_dim": 32, "transformer_linear_units": 24,
             "transformer_num_blocks": 2, "transformer_attention_heads": 2, "kv_cache_prefix_finetune": 0}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A whole small VITA-1.5 with its speech, written without our writer."""
    vita_full.write(Case(GOLDENS / "vita15_full_model", tmp_path), tmp_path / "vita")
    for name, facts in (("codec", MODEL), ("decoder", [32, 16, ARGUMENTS])):
        (tmp_path / "vita" / "vita_tts_ckpt" / name).mkdir(parents=True)
        (tmp_path / "vita" / "vita_tts_ckpt" / name / "model.json").write_text(json.dumps(facts))
    torch.save(codec_weights(), tmp_path / "vita" / "vita_tts_ckpt" / "codec" / "final.pt")
    torch.save({"model": head_weights()}, tmp_path / "vita" / "vita_tts_ckpt" / "decoder" / "final.pt")
    return tmp_path / "vita"


def codec_weights() -> dict[str, dict[str, Tensor]]:
    torch.manual_seed(1)
    whole: dict[str, dict[str, Tensor]] = {"generator": {}, "quantizer": {}, "encoder": {
        "linear.0.weight": torch.zeros(16, 16), "linear.0.bias": torch.zeros(16)}}
    for name, tensor in TiCodecModel(CODEC).state_dict().items():
        if name != "voice":
            part, _, own = to_legacy_weight_norm(name).partition(".")
            whole[part][own] = tensor
    return whole


def head_weights() -> dict[str, Tensor]:
    torch.manual_seed(2)
    weights: dict[str, Tensor] = NarArHead(HEAD, 2, 16).state_dict()
    return weights


def read(source: Vita, part: str) -> dict[str, Tensor]:
    return {name: tensor.read() for name, tensor in source.open().tensors[part].items()}


def same(one: dict[str, Tensor], two: dict[str, Tensor]) -> bool:
    return one.keys() == two.keys() and all(torch.equal(one[name], two[name]) for name in one)


def test_settings_are_read(folder: Path) -> None:
    speech = Vita(str(folder)).recipe()["speech"]
    assert isinstance(speech, dict)
    assert speech["head"] == {"use": "nar_ar", "dim": 32, "layers": 2, "heads": 2, "ffn": 24, "cardinality": 16}
    codec = {name: value for name, value in speech["codec"].items() if name != "use"}
    assert TiCodec(**{**codec, "voice": ()}) == CODEC and codec["voice"] == tuple(VOICE)


def test_import_and_export_give_the_files_back(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["import", "vita", str(folder), "--out", str(tmp_path / "run")]) == 0
    rows = {line.split()[0]: line for line in capsys.readouterr().out.splitlines() if "speech." in line}
    assert "100.0%" in rows["speech.head"] and "100.0%" in rows["speech.codec"]
    assert rows["speech.codec"].split()[-1] == "272"  # 16 x 17 numbers that nothing uses
    assert main(["export", "vita", str(tmp_path / "run"), "--out", str(tmp_path / "out")]) == 0
    again = tmp_path / "out" / "vita_tts_ckpt"
    found = torch.load(again / "codec" / "final.pt", weights_only=True)
    assert all(same(tensors, found[part]) for part, tensors in codec_weights().items())
    assert same(torch.load(again / "decoder" / "final.pt", weights_only=True), head_weights())
    assert json.loads((again / "codec" / "model.json").read_text()).items() <= MODEL.items()
    assert json.loads((again / "decoder" / "model.json").read_text())[2].items() >= ARGUMENTS.items()
    assert "omnikit" not in json.loads((tmp_path / "out" / "config.json").read_text())


def test_imported_run_speaks_as_the_codec(folder: Path, tmp_path: Path) -> None:
    assert main(["import", "vita", str(folder), "--out", str(tmp_path / "run")]) == 0
    import omnikit

    model = omnikit.load(tmp_path / "run").model.cpu()
    torch.manual_seed(1)
    own = TiCodecModel(CODEC).eval()
    own.voice.copy_(torch.tensor(VOICE))
    codes = torch.tensor([[3], [1], [4], [15]])
    torch.testing.assert_close(model.codec("speech").decode(codes), own.decode(codes))


def test_speech_may_lie_elsewhere(folder: Path, tmp_path: Path) -> None:
    whole = read(Vita(str(folder)), "speech.codec")
    shutil.move(folder / "vita_tts_ckpt", tmp_path / "voice")
    assert "speech" not in Vita(str(folder)).recipe()
    source = Vita(str(folder), speech=str(tmp_path / "voice"))
    assert same(read(source, "speech.codec"), whole)
    assert tmp_path / "voice" / "codec" / "final.pt" in source.files()


def test_prefix_layers_are_left_out_as_the_original_does(folder: Path) -> None:
    path = folder / "vita_tts_ckpt" / "decoder" / "final.pt"
    torch.save({**head_weights(), "layers_prefix.0.mlp.up_proj.weight": torch.zeros(24, 32)}, path)
    found = Vita(str(folder)).open()
    assert [tensor.name for tensor in found.ignored["speech.head"]] == ["layers_prefix.0.mlp.up_proj.weight"]
    assert same(read(Vita(str(folder)), "speech.head"), head_weights())


BROKEN: dict[str, tuple[Callable[[Path], object], str]] = {
    "no codec": (lambda f: shutil.rmtree(f / "codec"), "codec is missing; give the path"),
    "no settings": (lambda f: (f / "decoder" / "model.json").unlink(), r"decoder.model\.json is missing; give .* --speech"),
    "other settings": (lambda f: (f / "decoder" / "model.json").write_text("{}"),
                       "is not a speech decoder's: it must be a list"),
    "projected": (lambda f: (f / "decoder" / "model.json").write_text(json.dumps([8, 16, {**ARGUMENTS, "idim": 8}])),
                  "has idim 8 and transformer_attention_dim 32, but head nar_ar needs both the same"),
}


@pytest.mark.parametrize(("spoil", "message"), BROKEN.values(), ids=BROKEN)
def test_broken_folders_are_refused(folder: Path, spoil: Callable[[Path], object], message: str) -> None:
    spoil(folder / "vita_tts_ckpt")
    with pytest.raises(RunError, match=message):
        Vita(str(folder)).recipe()


def test_a_folder_that_is_not_there_is_refused(folder: Path) -> None:
    with pytest.raises(RunError, match="speech is gone, which is not a folder; give the one that holds decoder and codec"):
        Vita(str(folder), speech="gone").recipe()
