"""Weights that mean nothing without their scales: recognised by config.json, by the names of tensors and by their dtypes."""

import re
from collections.abc import Iterable, Mapping

KEYS = ("quantization_config", "compression_config", "quantization")  # transformers, compressed-tensors before it, MLX
WIDTHS = ("bits", "w_bit", "num_bits", "nbits")
PLAIN = ("float64", "float32", "float16", "bfloat16")
SCALES = re.compile(
    r"(.*\.)?(weight_scale(_inv|_2|s)?|(input|output|activation|k|v|q|prob|gate_up_proj|down_proj)_scale(_inv|s)?|act_scales?|"
    r"scales|scale_inv|qweight(_\w+)?|qzeros|qscales|g_idx|SCB|CB|weight_format|absmax|quant_map|nested_absmax|"
    r"nested_quant_map|weight_packed|weight_shape|weight_zero_point|weight_g_idx|(weight|input)_global_scale|"
    r"\w+_(blocks|scales)|quant_state\..*|weight\.(absmax|quant_map|nested_\w+|quant_state\..*|_data|_scale|_zero_point|"
    r"_packed|qdata|scale|zero_point)|weight:_\w+|W_q|Qidxs|(weight_)?zero_points?)")
"""Names that packages write beside quantised weights: bitsandbytes, GPTQ, AWQ, fp8, compressed-tensors, quanto, HQQ, MXFP4."""
ADVICE = "give the checkpoint that it was made of, in bfloat16, float16 or float32"


def quantised_config(content: Mapping[str, object], where: object) -> str | None:
    """Give the sentence that refuses a config.json of quantised weights; None where its weights are plain."""
    inner = [content, *(value for key, value in content.items() if key.endswith("_config") and isinstance(value, Mapping))]
    for found in inner:
        for key in KEYS:
            if (settings := found.get(key)) not in (None, False):
                return f"{where} has a {key} ({_described(settings)}), but only plain weights are read; {ADVICE}."
    return None


def quantised_tensor(tensors: Iterable[tuple[str, str]], where: object) -> str | None:
    """Give the sentence that refuses names or dtypes of quantised weights; None where there is none.

    Args:
        tensors: name and dtype, by torch's word, of each.
    """
    pairs = list(tensors)
    if scale := next((name for name, _ in pairs if SCALES.fullmatch(name)), None):
        return f"{where} holds {scale}, which belongs to quantised weights, but only plain ones are read; {ADVICE}."
    matrices = (pair for pair in pairs if pair[0].rpartition(".")[2] == "weight")
    if narrow := next((pair for pair in matrices if pair[1] not in PLAIN), None):
        return (f"{where} holds {narrow[0]} in {narrow[1]}, which means nothing without the scales that it was divided by, and"
                f" only plain weights are read; {ADVICE}.")
    return None


def _described(settings: object) -> str:
    if not isinstance(settings, Mapping) or not settings:
        return repr(settings)[:40]
    method = settings.get("quant_method") or settings.get("format") or next(
        (word for word in ("load_in_8bit", "load_in_4bit") if settings.get(word)), "an unnamed method")
    bits = next((f"{settings[key]} bits" for key in WIDTHS if isinstance(settings.get(key), int)), "")
    return ", ".join(part for part in (str(method), bits) if part)
