"""The settings and contracts of the basic projectors, text heads and the JSONL reader. Imports no torch.

A component's place in recipes' fingerprints is this package, whichever file of it holds the class (omnikit.store.facts).
"""

from omnikit_basics.config.fusion import ConcatMlp, ConcatSequence, WeightedSum
from omnikit_basics.config.heads import CaptionWords, CtcText, Lm, State
from omnikit_basics.config.media import AnyresMlp, SpatiotemporalPool, VideoQFormer
from omnikit_basics.config.projectors import Linear, Mlp, QFormer, StackMlp, StridedConv
from omnikit_basics.config.reader import MessagesJsonl
from omnikit_basics.config.resamplers import BertQFormer, PerceiverResampler, QueryResampler
from omnikit_basics.config.windows import AveragePool, PixelShuffleMlp, WindowQFormer

__all__ = ["AnyresMlp", "AveragePool", "BertQFormer", "CaptionWords", "ConcatMlp", "ConcatSequence", "CtcText", "Linear", "Lm",
           "MessagesJsonl", "Mlp", "PerceiverResampler", "PixelShuffleMlp", "QFormer", "QueryResampler", "SpatiotemporalPool",
           "StackMlp", "State", "StridedConv", "VideoQFormer", "WeightedSum", "WindowQFormer"]
