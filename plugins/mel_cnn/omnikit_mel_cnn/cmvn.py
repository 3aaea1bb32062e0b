"""Mean and inverse deviation of each mel bin, read from the statistics of a corpus. Imports no torch.

Two forms: JSON with mean_stat, var_stat and frame_num (sums, sums of squares, frames), and Kaldi's text, one matrix
`[ sums… frames / sums of squares… 0 ]`.
"""

import json
import math
from pathlib import Path

from omnikit.errors import DataError

FLOOR = 1e-20  # of a variance, as VITA's encoder has it
FORMS = "give JSON with mean_stat, var_stat and frame_num, or Kaldi's text form"


def read_cmvn(path: str, bins: int) -> tuple[list[float], list[float]]:
    """Give mean and inverse deviation of each of `bins` mel bins.

    Raises:
        DataError: the file is not there, is in no known form, or has another number of bins.
    """
    file = Path(path).expanduser()
    try:
        content = file.read_bytes()
    except OSError as error:
        raise DataError(f"cmvn is {path!r}, but it cannot be read ({error.strerror}); {FORMS}.") from error
    if content.startswith(b"\0B") or content[:200].find(b"\0B") > 0:
        raise DataError(f"cmvn {file} is a binary file of Kaldi; write it as text with `copy-matrix --binary=false`, "
                        "or give JSON.")
    try:
        sums, squares, frames = _statistics(content.decode("utf-8"))
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(f"cmvn {file} holds no statistics ({type(error).__name__}: {error}); {FORMS}.") from error
    if not len(sums) == len(squares) == bins:
        raise DataError(f"cmvn {file} has {len(sums)} sums and {len(squares)} sums of squares, but mel_bins is {bins}; "
                        "give the file of this encoder.")
    if frames <= 0:
        raise DataError(f"cmvn {file} counts {frames:g} frames, but must count at least one.")
    means = [value / frames for value in sums]
    variances = [square / frames - mean * mean for square, mean in zip(squares, means, strict=True)]
    return means, [1.0 / math.sqrt(max(variance, FLOOR)) for variance in variances]


def _statistics(text: str) -> tuple[list[float], list[float], float]:
    """Give sums, sums of squares and frames."""
    if text.lstrip().startswith("{"):
        found = json.loads(text)
        return [float(v) for v in found["mean_stat"]], [float(v) for v in found["var_stat"]], float(found["frame_num"])
    words = text.split()
    if words[:1] != ["["] or words[-1:] != ["]"]:
        raise ValueError("it is neither a JSON object nor a matrix in [ ]")
    numbers = [float(word) for word in words[1:-1]]
    if len(numbers) < 4 or len(numbers) % 2:
        raise ValueError(f"the matrix has {len(numbers)} numbers, which do not make two rows")
    width = len(numbers) // 2
    return numbers[: width - 1], numbers[width:-1], numbers[width - 1]
