"""The classes of transformers that layout hf_model holds, each as a tiny model."""

import torch
from hf_parity import Case
from torch import Tensor
from transformers.configuration_utils import PreTrainedConfig
from transformers.modeling_utils import PreTrainedModel
from transformers.models.blip_2.configuration_blip_2 import Blip2Config, Blip2QFormerConfig, Blip2VisionConfig
from transformers.models.blip_2.modeling_blip_2 import Blip2ForConditionalGeneration
from transformers.models.clip.configuration_clip import CLIPVisionConfig
from transformers.models.deepseek_vl.configuration_deepseek_vl import DeepseekVLConfig
from transformers.models.deepseek_vl.modeling_deepseek_vl import DeepseekVLForConditionalGeneration
from transformers.models.deepseek_vl_hybrid.configuration_deepseek_vl_hybrid import DeepseekVLHybridConfig
from transformers.models.deepseek_vl_hybrid.modeling_deepseek_vl_hybrid import DeepseekVLHybridForConditionalGeneration
from transformers.models.gemma.configuration_gemma import GemmaConfig
from transformers.models.idefics3.configuration_idefics3 import Idefics3Config, Idefics3VisionConfig
from transformers.models.idefics3.modeling_idefics3 import Idefics3ForConditionalGeneration
from transformers.models.instructblip.configuration_instructblip import (
    InstructBlipConfig,
    InstructBlipQFormerConfig,
    InstructBlipVisionConfig,
)
from transformers.models.instructblip.modeling_instructblip import InstructBlipForConditionalGeneration
from transformers.models.internvl.configuration_internvl import InternVLConfig, InternVLVisionConfig
from transformers.models.internvl.modeling_internvl import InternVLForConditionalGeneration
from transformers.models.llama.configuration_llama import LlamaConfig
from transformers.models.llava.configuration_llava import LlavaConfig
from transformers.models.llava.modeling_llava import LlavaForConditionalGeneration
from transformers.models.llava_next.configuration_llava_next import LlavaNextConfig
from transformers.models.llava_next.modeling_llava_next import LlavaNextForConditionalGeneration
from transformers.models.llava_onevision.configuration_llava_onevision import LlavaOnevisionConfig
from transformers.models.llava_onevision.modeling_llava_onevision import LlavaOnevisionForConditionalGeneration
from transformers.models.opt.configuration_opt import OPTConfig
from transformers.models.paligemma.configuration_paligemma import PaliGemmaConfig
from transformers.models.paligemma.modeling_paligemma import PaliGemmaForConditionalGeneration
from transformers.models.qwen2.configuration_qwen2 import Qwen2Config
from transformers.models.qwen2_audio.configuration_qwen2_audio import Qwen2AudioConfig, Qwen2AudioEncoderConfig
from transformers.models.qwen2_audio.modeling_qwen2_audio import Qwen2AudioForConditionalGeneration
from transformers.models.sam.configuration_sam import SamVisionConfig
from transformers.models.siglip.configuration_siglip import SiglipVisionConfig
from transformers.models.smolvlm.configuration_smolvlm import SmolVLMConfig, SmolVLMVisionConfig
from transformers.models.smolvlm.modeling_smolvlm import SmolVLMForConditionalGeneration
from transformers.models.t5.configuration_t5 import T5Config
from transformers.models.vipllava.configuration_vipllava import VipLlavaConfig
from transformers.models.vipllava.modeling_vipllava import VipLlavaForConditionalGeneration
from transformers.models.voxtral.configuration_voxtral import VoxtralConfig, VoxtralEncoderConfig
from transformers.models.voxtral.modeling_voxtral import VoxtralForConditionalGeneration
from transformers.models.whisper.feature_extraction_whisper import WhisperFeatureExtractor

from omnikit import splice
from omnikit.contracts.media import Medium, image_medium
from omnikit.contracts.specs import ImageSpec
from omnikit.contracts.types import Signal
from omnikit.data.media.image import padded_grid

POSITIONS = 500  # of audio towers: 10 s
SIDE, PATCH, PLACEHOLDER, VIDEO = 40, 16, 699, 698  # of 40 pixels, 8 are in no patch
PINPOINTS = [[SIDE, SIDE], [SIDE, 2 * SIDE], [2 * SIDE, SIDE], [SIDE, 3 * SIDE]]
SIZES = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 3, "num_attention_heads": 4}
TOWER = {**SIZES, "image_size": SIDE, "patch_size": PATCH}
SQUARES = {**SIZES, "image_size": 64, "patch_size": 16}
TEXT = {**SIZES, "num_hidden_layers": 2, "num_key_value_heads": 2, "vocab_size": 700, "max_position_embeddings": 1024}
ROPE = {"rope_type": "llama3", "rope_theta": 5e4, "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
        "original_max_position_embeddings": 64}


def llama(**changes: object) -> PreTrainedConfig:
    return LlamaConfig(**{**TEXT, **changes})


def t5(**changes: object) -> PreTrainedConfig:
    return T5Config(**{"vocab_size": 700, "d_model": 32, "d_kv": 8, "d_ff": 48, "num_layers": 2, "num_decoder_layers": 2,
                       "num_heads": 4, "feed_forward_proj": "gated-gelu", "tie_word_embeddings": False,
                       "decoder_start_token_id": 0, **changes})


def images(count: int) -> tuple[Signal, list[int]]:
    pixels = torch.randint(0, 256, (count, 3, SIDE, SIDE), generator=torch.Generator().manual_seed(1), dtype=torch.uint8)
    return Signal(pixels, torch.ones(count, dtype=torch.long)), [1] * count


def pixel_values(signal: Signal) -> dict[str, Tensor]:
    return {"pixel_values": signal.data}


def squares(count: int) -> tuple[Signal, list[int]]:
    pixels = torch.randint(0, 256, (count, 3, 64, 64), generator=torch.Generator().manual_seed(1), dtype=torch.uint8)
    return Signal(pixels, torch.ones(count, dtype=torch.long)), [1] * count


def pairs_of_images(signal: Signal) -> dict[str, Tensor]:
    return {"pixel_values": signal.data.unflatten(0, (-1, 2))}


def clips(count: int) -> tuple[Signal, list[int]]:
    """Unequal lengths, none of whole mel frames; the longest is longer than the window."""
    lengths = [*(900 + 1777 * index for index in range(count - 1)), POSITIONS * 320 + 900]
    data = torch.randn(count, max(lengths), generator=torch.Generator().manual_seed(1)) * 0.1
    inside = torch.arange(max(lengths)) < torch.tensor(lengths)[:, None]
    return Signal(data * inside, torch.tensor(lengths)), lengths


def masked_mels(signal: Signal) -> dict[str, Tensor]:
    """As Whisper's feature extractor of transformers gives them, on waveforms of their own lengths."""
    waveforms = [row[:length].numpy() for row, length in zip(signal.data, signal.lengths.tolist(), strict=True)]
    found = WhisperFeatureExtractor(feature_size=80)(
        waveforms, sampling_rate=16000, padding="max_length", max_length=POSITIONS * 320, truncation=True,
        return_attention_mask=True, return_tensors="pt")
    return {"input_features": found["input_features"], "feature_attention_mask": found["attention_mask"]}


def mels(signal: Signal) -> dict[str, Tensor]:
    return {"input_features": masked_mels(signal)["input_features"]}


SHAPES = ((100, 40), (40, 100), (37, 37), (200, 39))  # width and height of images, in turn; grids 2 x 1, 1 x 2 and 3 x 1
GRIDS = ImageSpec(SIDE, grids=((1, 1), (2, 1), (1, 2), (3, 1)))
FRAMES = 3


def tiled(count: int) -> list[Medium]:
    """Images of several shapes."""
    sizes = [SHAPES[index % len(SHAPES)] for index in range(count)]
    return [image_medium(size, padded_grid(*size, GRIDS), GRIDS) for size in sizes]


def tiles(count: int) -> tuple[Signal, list[int]]:
    return images(sum(medium.signals for medium in tiled(count)))


def tile_values(signal: Signal) -> dict[str, Tensor]:
    media, total = [], 0
    while total < len(signal.data):
        media, total = tiled(len(media) + 1), sum(medium.signals for medium in tiled(len(media) + 1))
    return {"pixel_values": signal.data, "image_sizes": torch.tensor([medium.size[::-1] for medium in media])}


def small_images(count: int) -> dict[str, Signal]:
    """As a SigLIP takes them, of other content."""
    pixels = torch.randint(0, 256, (count, 3, SIDE, SIDE), generator=torch.Generator().manual_seed(9), dtype=torch.uint8)
    return {"vision_low": Signal(pixels, torch.ones(count, dtype=torch.long))}


def two_resolutions(signal: Signal) -> dict[str, Tensor]:
    low = splice.normalised(small_images(len(signal.data))["vision_low"], ImageSpec(SIDE, (0.5,) * 3, (0.5,) * 3))
    return {"high_res_pixel_values": signal.data, "pixel_values": low.data}


def videos(count: int) -> list[Medium]:
    return [Medium("video", FRAMES)] * count


def video_values(signal: Signal) -> dict[str, Tensor]:
    return {"pixel_values_videos": signal.data.unflatten(0, (-1, FRAMES))}


def onevision() -> PreTrainedModel:
    return LlavaOnevisionForConditionalGeneration(LlavaOnevisionConfig(
        text_config=Qwen2Config(**TEXT), vision_config=SiglipVisionConfig(**TOWER, vision_use_head=False),
        image_token_index=PLACEHOLDER, video_token_index=VIDEO, vision_aspect_ratio="anyres_max_1",
        image_grid_pinpoints=PINPOINTS))


def llava(text: PreTrainedConfig, tower: PreTrainedConfig, **changes: object) -> PreTrainedModel:
    return LlavaForConditionalGeneration(LlavaConfig(text_config=text, vision_config=tower, image_token_index=PLACEHOLDER,
                                                     **changes))


CASES = {
    "llava": Case(lambda: llava(llama(), CLIPVisionConfig(**TOWER)), "vision", images, pixel_values, PLACEHOLDER),
    "llava_full": Case(lambda: llava(
        llama(attention_bias=True, rope_parameters=ROPE), CLIPVisionConfig(**TOWER), vision_feature_layer=[-2, 1],
        vision_feature_select_strategy="full", projector_hidden_act="relu"), "vision", images, pixel_values, PLACEHOLDER),
    "llava_siglip_qwen2": Case(lambda: llava(
        Qwen2Config(**TEXT, tie_word_embeddings=True), SiglipVisionConfig(**TOWER, vision_use_head=False),
        vision_feature_layer=-1, vision_feature_select_strategy="full", tie_word_embeddings=True),
        "vision", images, pixel_values, PLACEHOLDER),
    "llava_next": Case(lambda: LlavaNextForConditionalGeneration(LlavaNextConfig(
        text_config=llama(), vision_config=CLIPVisionConfig(**TOWER), image_token_index=PLACEHOLDER,
        image_grid_pinpoints=PINPOINTS)), "vision", tiles, tile_values, PLACEHOLDER, joined=tiled),
    "llava_onevision": Case(onevision, "vision", tiles, tile_values, PLACEHOLDER, joined=tiled),
    "llava_onevision_video": Case(onevision, "vision", lambda count: images(count * FRAMES), video_values, VIDEO,
                                  joined=videos),
    "vip_llava": Case(lambda: VipLlavaForConditionalGeneration(VipLlavaConfig(
        text_config=llama(), vision_config=CLIPVisionConfig(**TOWER), image_token_index=PLACEHOLDER,
        vision_feature_layer=[-2, 1])), "vision", images, pixel_values, PLACEHOLDER),
    "deepseek_vl": Case(lambda: DeepseekVLForConditionalGeneration(DeepseekVLConfig(
        text_config=llama(), vision_config=SiglipVisionConfig(**TOWER), image_token_id=PLACEHOLDER)),
        "vision", images, pixel_values, PLACEHOLDER),
    "deepseek_vl_hybrid": Case(lambda: DeepseekVLHybridForConditionalGeneration(DeepseekVLHybridConfig(
        text_config=llama(), vision_config=SiglipVisionConfig(**TOWER), image_token_id=PLACEHOLDER,
        high_res_vision_config=SamVisionConfig(
            hidden_size=32, mlp_dim=48, num_hidden_layers=3, num_attention_heads=4, image_size=64, patch_size=16,
            window_size=3, output_channels=8, global_attn_indexes=[1, 2]))), "vision", squares, two_resolutions, PLACEHOLDER,
        beside=small_images),
    "paligemma": Case(lambda: PaliGemmaForConditionalGeneration(PaliGemmaConfig(
        text_config=GemmaConfig(**TEXT, head_dim=8, tie_word_embeddings=True), projection_dim=32,
        vision_config=SiglipVisionConfig(**TOWER, vision_use_head=False), image_token_index=PLACEHOLDER)),
        "vision", images, pixel_values, PLACEHOLDER, prefix=True),
    "internvl": Case(lambda: InternVLForConditionalGeneration(InternVLConfig(
        text_config=Qwen2Config(**TEXT), vision_config=InternVLVisionConfig(**SQUARES),
        image_token_id=PLACEHOLDER)), "vision", squares, pixel_values, PLACEHOLDER),
    "blip_2": Case(lambda: Blip2ForConditionalGeneration(Blip2Config(
        text_config=OPTConfig(vocab_size=700, hidden_size=32, num_hidden_layers=2, num_attention_heads=4, ffn_dim=48,
                              max_position_embeddings=256, word_embed_proj_dim=32),
        vision_config=Blip2VisionConfig(**TOWER), num_query_tokens=3, image_token_index=PLACEHOLDER,
        qformer_config=Blip2QFormerConfig(**SIZES, vocab_size=30))), "vision", images, pixel_values, PLACEHOLDER, exact=False),
    "blip_2_t5": Case(lambda: Blip2ForConditionalGeneration(Blip2Config(
        text_config=t5(), vision_config=Blip2VisionConfig(**TOWER), num_query_tokens=3, image_token_index=PLACEHOLDER,
        qformer_config=Blip2QFormerConfig(**SIZES, vocab_size=30))), "vision", images, pixel_values, PLACEHOLDER, exact=False,
        decoder=True),
    "instruct_blip_t5": Case(lambda: InstructBlipForConditionalGeneration(InstructBlipConfig(
        text_config=t5(feed_forward_proj="relu", tie_word_embeddings=True), num_query_tokens=3,
        vision_config=InstructBlipVisionConfig(**TOWER), image_token_index=PLACEHOLDER,
        qformer_config=InstructBlipQFormerConfig(**SIZES, vocab_size=700, max_position_embeddings=20))),
        "vision", images, pixel_values, PLACEHOLDER, exact=False, text=True, decoder=True),
    "instruct_blip": Case(lambda: InstructBlipForConditionalGeneration(InstructBlipConfig(
        text_config=llama(), vision_config=InstructBlipVisionConfig(**TOWER), num_query_tokens=3,
        image_token_index=PLACEHOLDER, qformer_config=InstructBlipQFormerConfig(
            **SIZES, vocab_size=700, max_position_embeddings=20))), "vision", images, pixel_values, PLACEHOLDER, exact=False,
        text=True),
    "idefics3": Case(lambda: Idefics3ForConditionalGeneration(Idefics3Config(
        text_config=llama(), vision_config=Idefics3VisionConfig(**SQUARES), scale_factor=2,
        image_token_id=PLACEHOLDER)), "vision", squares, pairs_of_images, PLACEHOLDER),
    "smolvlm": Case(lambda: SmolVLMForConditionalGeneration(SmolVLMConfig(
        text_config=llama(), vision_config=SmolVLMVisionConfig(**SQUARES), scale_factor=2,
        image_token_id=PLACEHOLDER)), "vision", squares, pairs_of_images, PLACEHOLDER),
    "qwen2_audio": Case(lambda: Qwen2AudioForConditionalGeneration(Qwen2AudioConfig(
        text_config=Qwen2Config(**TEXT), audio_config=Qwen2AudioEncoderConfig(
            d_model=32, encoder_layers=2, encoder_attention_heads=4, encoder_ffn_dim=48, num_mel_bins=80,
            max_source_positions=POSITIONS), audio_token_index=PLACEHOLDER)), "audio", clips, masked_mels, PLACEHOLDER),
    "voxtral": Case(lambda: VoxtralForConditionalGeneration(VoxtralConfig(
        text_config=llama().to_dict(), audio_config=VoxtralEncoderConfig(
            hidden_size=32, intermediate_size=128, num_hidden_layers=2, num_attention_heads=4, num_mel_bins=80,
            max_source_positions=POSITIONS), audio_token_id=PLACEHOLDER)), "audio", clips, mels, PLACEHOLDER),
}
