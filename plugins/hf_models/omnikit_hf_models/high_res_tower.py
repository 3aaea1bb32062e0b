"""The tower for high resolution of a DeepSeek-VL hybrid, its modules transformers' own. Holds no projector.

Parameter names are those of transformers' model, here without `high_res_vision_`.
"""

import torch
from torch import Tensor, nn
from transformers.models.deepseek_vl_hybrid.modeling_deepseek_vl_hybrid import DeepseekVLSamVisionNeck, DeepseekVLSamVisionProj

from omnikit.contracts.types import Features, Signal
from omnikit_hf_models.high_res_config import HFHighResTower
from omnikit_hf_models.towers import tower


class HighResTower(nn.Module):
    """Images [B, 3, size, size], normalised, to features [B, side * side, 4 * channels], row by row."""

    def __init__(self, config: HFHighResTower) -> None:
        super().__init__()
        self.model = tower(config.config)
        neck: type[nn.Module] = DeepseekVLSamVisionNeck
        proj: type[nn.Module] = DeepseekVLSamVisionProj
        self.neck, self.proj = neck(self.model.config), proj(self.model.config, config.side)
        self.alpha = nn.Parameter(torch.zeros(1))
        self.layer = config.global_layers[0] + 1  # of its hidden states, the first of which are the embeddings

    def forward(self, signal: Signal) -> Features:
        found = self.model(pixel_values=signal.data.to(self.alpha.dtype), output_hidden_states=True)
        beside: Tensor = self.proj(self.neck(found.hidden_states[self.layer]))
        data: Tensor = (self.proj(found.last_hidden_state) + beside * self.alpha).flatten(2).transpose(1, 2)
        return Features(data, torch.full_like(signal.lengths, data.shape[1]))
