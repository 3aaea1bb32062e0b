"""The network of silero-vad 6 at 16 kHz, its recurrent state outside.

The weights are those of the TorchScript file that the package itself uses. The wheel's safetensors file holds those of another
release: its first convolution differs by up to 4, and the probabilities by up to 0.4.
"""

import warnings
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from omnikit.errors import ConfigError

WEIGHTS = "data/silero_vad.jit"
FRAME, CONTEXT = 512, 64  # samples of a frame, and of the frame before that it begins with
WINDOW, HOP = 256, 128  # samples of the spectrum
DIM = 128  # of the recurrent state

State = Mapping[str, NDArray[np.float32]]


class SileroVAD(nn.Module):
    """Probability of speech in each frame of 512 samples; holds weights only, so conversations may share it."""

    def __init__(self) -> None:
        super().__init__()
        bins = WINDOW // 2 + 1
        self.stft_conv = nn.Conv1d(1, 2 * bins, WINDOW, HOP, bias=False)
        self.conv1 = nn.Conv1d(bins, 128, 3, padding=1)
        self.conv2 = nn.Conv1d(128, 64, 3, stride=2, padding=1)
        self.conv3 = nn.Conv1d(64, 64, 3, stride=2, padding=1)
        self.conv4 = nn.Conv1d(64, 128, 3, padding=1)
        self.lstm_cell = nn.LSTMCell(128, DIM)
        self.final_conv = nn.Conv1d(DIM, 1, 1)

    def init_state(self) -> State:
        """Give the state before the first frame."""
        zeros = np.zeros(DIM, dtype=np.float32)
        return {"context": np.zeros(CONTEXT, dtype=np.float32), "hidden": zeros, "cell": zeros}

    @torch.no_grad()
    def step(self, frame: NDArray[np.float32], state: State) -> tuple[float, State]:
        """Give the probability of speech in a frame [512] at 16 kHz, and the state behind it."""
        given = np.concatenate([state["context"], frame]).astype(np.float32)
        hidden, cell = (torch.from_numpy(state[name])[None] for name in ("hidden", "cell"))
        hidden, cell = self.lstm_cell(self._features(torch.from_numpy(given)), (hidden, cell))
        probability = self.final_conv(hidden.relu()[..., None]).sigmoid()
        after = {"context": given[-CONTEXT:].copy(), "hidden": hidden[0].numpy(), "cell": cell[0].numpy()}
        return float(probability), after

    def _features(self, samples: Tensor) -> Tensor:
        """Give [1, 128] of the samples [576] of a frame and its context."""
        padded = F.pad(samples[None, None], (0, CONTEXT), mode="reflect")
        real, imaginary = self.stft_conv(padded).chunk(2, dim=1)  # [1, 129, 4]
        x: Tensor = (real**2 + imaginary**2).sqrt()
        for layer in (self.conv1, self.conv2, self.conv3, self.conv4):
            x = layer(x).relu()  # [1, 128, 1] at last
        return x.squeeze(-1)


def load() -> SileroVAD:
    """Give the network with the weights that the wheel of silero-vad brings; see Silero.build for what is raised."""
    spec = find_spec("silero_vad")  # does not import it
    folder = next(iter(spec.submodule_search_locations or ()), None) if spec else None
    if folder is None:
        raise ConfigError("vad silero needs the weights of the package silero-vad, which is not installed; install it with"
                          " pip install 'silero-vad>=6.2,<7', or use the vad energy.")
    model = SileroVAD()
    try:
        model.load_state_dict(_weights(Path(folder) / WEIGHTS))
    except (OSError, RuntimeError, ValueError) as error:
        raise ConfigError(f"vad silero cannot read its weights {Path(folder) / WEIGHTS} ({type(error).__name__}); install the"
                          " version that they belong to with pip install 'silero-vad>=6.2,<7'.") from error
    return model.eval()


def _weights(path: Path) -> dict[str, Tensor]:
    """Give the weights of the network for 16 kHz by our names."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of torch.jit.load, the only form that these weights come in
        stored = torch.jit.load(str(path), map_location="cpu").state_dict()  # type: ignore[no-untyped-call]
    names = {"_model.stft.forward_basis_buffer": "stft_conv.weight"}
    for kind in ("weight", "bias"):
        names |= {f"_model.encoder.{index}.reparam_conv.{kind}": f"conv{index + 1}.{kind}" for index in range(4)}
        names |= {f"_model.decoder.rnn.{kind}_{side}": f"lstm_cell.{kind}_{side}" for side in ("ih", "hh")}
        names[f"_model.decoder.decoder.2.{kind}"] = f"final_conv.{kind}"
    return {names[name]: tensor for name, tensor in stored.items() if name in names}
