"""The families of audio encoders: transformers' names of our fields, and its values where a config.json is silent. Light."""

from omnikit.recipe.model_config import Values, integer, positive

Value = int | float | str | bool | tuple[int, ...]
Names = dict[str, tuple[str, Value]]  # our field → transformers' key and its default

SIZES: Names = {
    "dim": ("hidden_size", 768), "layers": ("num_hidden_layers", 12), "heads": ("num_attention_heads", 12),
    "ffn": ("intermediate_size", 3072), "activation": ("hidden_act", "gelu"), "eps": ("layer_norm_eps", 1e-5)}
CONVOLUTIONS: Names = {
    "conv_dim": ("conv_dim", (512,) * 7), "kernels": ("conv_kernel", (10, 3, 3, 3, 3, 2, 2)),
    "strides": ("conv_stride", (5, 2, 2, 2, 2, 2, 2)), "conv_norm": ("feat_extract_norm", "group"),
    "conv_bias": ("conv_bias", False), "stable": ("do_stable_layer_norm", False),
    "position_kernel": ("num_conv_pos_embeddings", 128), "position_groups": ("num_conv_pos_embedding_groups", 16)}
FAMILIES: dict[str, Names] = {
    "wav2vec2": {**SIZES, **CONVOLUTIONS},
    "hubert": {**SIZES, **CONVOLUTIONS},
    "wavlm": {**SIZES, **CONVOLUTIONS, "buckets": ("num_buckets", 320), "bucket_distance": ("max_bucket_distance", 800)},
    "w2v_bert": {
        "dim": ("hidden_size", 1024), "layers": ("num_hidden_layers", 24), "heads": ("num_attention_heads", 16),
        "ffn": ("intermediate_size", 4096), "activation": ("hidden_act", "swish"), "eps": ("layer_norm_eps", 1e-5),
        "depthwise_kernel": ("conv_depthwise_kernel_size", 31), "left_positions": ("left_max_position_embeddings", 64),
        "right_positions": ("right_max_position_embeddings", 8)},
    "whisper": {
        "dim": ("d_model", 384), "layers": ("encoder_layers", 4), "heads": ("encoder_attention_heads", 6),
        "ffn": ("encoder_ffn_dim", 1536), "activation": ("activation_function", "gelu"), "mel_bins": ("num_mel_bins", 80),
        "positions": ("max_source_positions", 1500)},
    "ast": {
        **SIZES, "eps": ("layer_norm_eps", 1e-12), "patch": ("patch_size", 16), "frequency_stride": ("frequency_stride", 10),
        "time_stride": ("time_stride", 10), "frames": ("max_length", 1024), "mel_bins": ("num_mel_bins", 128)},
}  # defaults: configuration_*.py of transformers 5.23
TYPES = {"wav2vec2": "wav2vec2", "hubert": "hubert", "wavlm": "wavlm", "wav2vec2-bert": "w2v_bert", "whisper": "whisper",
         "audio-spectrogram-transformer": "ast"}  # model_type → our family
ON_WAVEFORMS = ("wav2vec2", "hubert", "wavlm")
_NO_ADAPTER: dict[str, object] = {"add_adapter": False}
_PLAIN: dict[str, object] = {"feat_extract_activation": "gelu", "adapter_attn_dim": None, **_NO_ADAPTER}
FIXED: dict[str, dict[str, object]] = {
    "wav2vec2": _PLAIN, "wavlm": _PLAIN, "hubert": {**_PLAIN, "conv_pos_batch_norm": False, "feat_proj_layer_norm": True},
    "w2v_bert": {**_NO_ADAPTER, "position_embeddings_type": "relative_key", "feature_projection_input_dim": 160},
    "whisper": {}, "ast": {"qkv_bias": True}}  # keys of a config.json, each with the one value that is built here


def family_of(config: Values, where: str) -> str:
    """Give the family that a config.json is of; raises ValueError if it is none of ours."""
    kind = str(config.get("model_type"))
    if kind not in TYPES:
        raise ValueError(f"{where} has model_type {kind!r}, but hf_audio builds {', '.join(TYPES)}")
    return TYPES[kind]


def sizes(family: str, config: Values, where: str) -> dict[str, Value]:
    """Give our fields as a config.json has them, with transformers' defaults where it is silent.

    Raises:
        ValueError: a value is out of range, or the encoder is of a kind that is not built here.
    """
    for key, only in FIXED[family].items():
        if config.get(key, only) != only:
            raise ValueError(f"{where} has {key} {config[key]!r}, but hf_audio builds encoders with {only!r} alone")
    return {ours: _value(config, theirs, default, where) for ours, (theirs, default) in FAMILIES[family].items()}


def _value(config: Values, key: str, default: Value, where: str) -> Value:
    if isinstance(default, bool | str):
        found = config.get(key, default)
        if not isinstance(found, type(default)):
            raise ValueError(f"{where} has {key} {found!r}, but it must be like {default!r}")
        return found
    if isinstance(default, tuple):
        given = config.get(key, default)
        entries = list(given) if isinstance(given, list | tuple) else []
        return tuple(integer({key: entry}, key, 0, where) for entry in entries)
    return integer(config, key, default, where) if isinstance(default, int) else positive(config, key, default, where)


def preparation(family: str, config: Values, settled: Values, where: str) -> dict[str, bool | float]:
    """Give how a folder's feature extractor prepares waveforms, as our fields; without one, transformers' defaults.

    Args:
        config: of preprocessor_config.json.
        settled: our fields of the encoder.

    Raises:
        ValueError: it prepares them in a way that is not built here, or not for this encoder.
    """
    expected: dict[str, object] = {"sampling_rate": 16000, "dither": 0.0}
    if family == "whisper":
        seconds = integer(settled, "positions", 1500, where) / 50
        expected |= {"feature_size": settled["mel_bins"], "n_fft": 400, "hop_length": 160, "chunk_length": seconds}
    elif family == "w2v_bert":
        expected |= {"num_mel_bins": 80, "stride": 2}
    elif family == "ast":
        expected |= {"num_mel_bins": settled["mel_bins"], "max_length": settled["frames"]}
    for key, value in expected.items():
        if config.get(key, value) != value:
            raise ValueError(f"{where} has {key} {config[key]!r}, but waveforms are prepared for this encoder with {value}")
    normalize = config.get("do_normalize", True) is not False
    if family == "ast":
        mean, deviation = config.get("mean", -4.2677393), positive(config, "std", 4.5689974, where)  # AudioSet's
        if not isinstance(mean, int | float):
            raise ValueError(f"{where} has mean {mean!r}, but it must be a number")
        return {"mean": float(mean) if normalize else 0.0, "deviation": deviation if normalize else 0.5}
    return {"normalize": normalize} if family in ON_WAVEFORMS else {}
