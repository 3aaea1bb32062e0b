"""Frames of a video joined: pooled, or by a Q-Former over Q-Formers of frames. Uses no encoder and no backbone."""

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from omnikit.contracts.media import Medium
from omnikit.contracts.types import Features
from omnikit_basics.bert_qformer import STD, BertQFormerModel
from omnikit_basics.config.media import VideoQFormer
from omnikit_basics.projectors import valid_vectors


class SpatiotemporalPoolProjector(nn.Module):
    """Patches [B', P, source] of frames to [M, frames + P, D] of videos."""

    def __init__(self, source: int, dim: int) -> None:
        super().__init__()
        self.linear = nn.Linear(source, dim)

    def forward(self, features: Features, *, media: Sequence[Medium]) -> Features:
        videos = torch.split(features.data, [medium.signals for medium in media])
        pooled = [torch.cat([video.mean(1), video.mean(0)]) for video in videos]  # [frames + P, source]
        lengths = torch.tensor([len(video) for video in pooled]).to(features.data.device, non_blocking=True)
        return Features(self.linear(pad_sequence(pooled, batch_first=True)), lengths)


class VideoQFormerProjector(nn.Module):
    """Features [B', P, source] of frames to [M, queries, D] of videos."""

    def __init__(self, config: VideoQFormer, source: int, dim: int) -> None:
        super().__init__()
        self.frame_tokens = nn.Parameter(torch.empty(1, config.frame_queries, config.dim).normal_(std=STD))
        self.frame_qformer = BertQFormerModel(config, source)
        self.frame_positions = nn.Embedding(config.frames, config.dim)
        self.video_tokens = nn.Parameter(torch.empty(1, config.queries, config.dim).normal_(std=STD))
        self.video_qformer = BertQFormerModel(replace(config, layers=config.video_layers, cross_every=1), config.dim)
        self.linear = nn.Linear(config.dim, dim)

    def forward(self, features: Features, *, media: Sequence[Medium]) -> Features:
        valid = valid_vectors(features.lengths.clamp(min=1), features.data.shape[1])
        frames = self.frame_qformer(self.frame_tokens.expand(len(valid), -1, -1), features.data, valid)
        videos = [self._placed(video) for video in torch.split(frames, [medium.signals for medium in media])]
        lengths = torch.tensor([len(video) for video in videos]).to(frames.device, non_blocking=True)
        padded = pad_sequence(videos, batch_first=True)
        found = self.video_qformer(self.video_tokens.expand(len(videos), -1, -1), padded,
                                   valid_vectors(lengths, padded.shape[1]))
        return Features(self.linear(found), torch.full_like(lengths, found.shape[1]))

    def _placed(self, frames: Tensor) -> Tensor:
        """Add its position to each frame's vectors [S, N, dim]; gives [S * N, dim]."""
        positions: Tensor = self.frame_positions(torch.arange(len(frames), device=frames.device))
        return (frames + positions[:, None]).flatten(0, 1)
