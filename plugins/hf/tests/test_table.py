"""The embedding table alone: the same numbers as in the whole model, drawn or read, and what it refuses."""

from pathlib import Path

import pytest
import torch
from omnikit_hf.config import HF
from omnikit_hf.model import HFBackbone
from omnikit_hf.table import HFTable
from torch import Tensor
from transformers.models.auto.modeling_auto import AutoModelForCausalLM

from omnikit.errors import ConfigError

TOKENS = torch.tensor([[1, 5, 664]])


def embedded(config: HF, kind: type[HFBackbone] | type[HFTable]) -> Tensor:
    torch.manual_seed(3)
    return (HFTable(config, fresh=True) if kind is HFTable else HFBackbone(config)).embed(TOKENS)


@pytest.mark.parametrize("model_type", ["llama", "gemma3_text"])  # the latter's table scales what it gives
def test_a_fresh_table_embeds_as_the_whole_model(model_type: str) -> None:
    config = HF(model_type=model_type)
    assert torch.equal(embedded(config, HFTable), embedded(config, HFBackbone))


@pytest.mark.parametrize("model_type", ["llama", "gemma3_text"])
def test_a_table_that_is_to_be_loaded_embeds_as_the_whole_model_then(model_type: str) -> None:
    config = HF(model_type=model_type)
    whole, table = HFBackbone(config), HFTable(config, fresh=False)
    table.load_state_dict({name: whole.state_dict()[name] for name in table.state_dict()})
    assert len(table.state_dict()) == 1 and torch.equal(table.embed(TOKENS), whole.embed(TOKENS))


@pytest.fixture
def folder(tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    """A checkpoint, in shards if the test asks for them."""
    model = AutoModelForCausalLM.from_config(HFBackbone(HF()).model.config)
    model.save_pretrained(tmp_path, max_shard_size=getattr(request, "param", "1GB"))
    return tmp_path


@pytest.mark.parametrize("folder", ["1GB", "300KB"], indirect=True, ids=["one file", "shards"])
def test_a_checkpoints_table_is_read_alone(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = HF(weights=str(folder))
    wanted = embedded(config, HFBackbone)
    monkeypatch.setattr(AutoModelForCausalLM, "from_pretrained", None)  # nobody loads the whole
    assert torch.equal(embedded(config, HFTable), wanted)
    assert (folder / "model.safetensors").is_file() != (folder / "model.safetensors.index.json").is_file()


def test_a_checkpoint_without_the_table_or_of_another_size_is_refused(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"vocabulary 665 and dim 64, but model\.embed_tokens\.weight of .* has the shape"
                                          r" \[665, 128\]; set backbone\.vocabulary=665 backbone\.dim=128"):
        HFTable(HF(weights=str(folder), dim=64), fresh=True)
    (folder / "model.safetensors").unlink()
    with pytest.raises(ConfigError, match=r"holds no tensor model\.embed_tokens\.weight, .* give a complete"):
        HFTable(HF(weights=str(folder)), fresh=True)
