"""GazePose: an LSTM over seven crops beside a transformer that asks the middle crop about its pose and landmarks."""

from __future__ import annotations

import torch
from torch import nn

from nbpkg.errors import StageError
from nbpkg.models.looking.backbone import FaceEncoder, SmallFaceEncoder
from nbpkg.models.looking.lstm_heads import make_lstm, read_middle
from nbpkg.models.looking.options import WindowNetworkOptions
from nbpkg.models.looking.position import place_sines
from nbpkg.models.looking.priors import POINTS, count_cells, count_confidence_rows, count_head_rows
from nbpkg.models.looking.transformer import Transformer
from nbpkg.models.looking.window import decide_clips

ANGLES = 3
QUERIES = ANGLES + POINTS


class GazePose(nn.Module):
    """The network over windows with priors.

    Parameters
    ----------
    base_model
        Network of a crop.
    options
        Sizes, and which priors; ``None`` is as published.

    Notes
    -----
    Differences from the published program: tables of landmarks are trained unless `options` says otherwise; a batch of
    one works; rows beyond the head's tables count as the last. Names of entries are as published, misspelt
    ``headpos_emeb`` included.

    Source: lemon-prog123/GazePose (Ego4D social benchmark).
    """

    uses_maps = True

    def __init__(
        self, base_model: FaceEncoder | SmallFaceEncoder, *, options: WindowNetworkOptions | None = None
    ) -> None:
        super().__init__()
        chosen = options or WindowNetworkOptions()
        width, hidden = chosen.dmodel, chosen.hidden
        self.uses_head, self.uses_landmarks = chosen.head, chosen.landmarks
        if not chosen.head:
            self.head_query = nn.Parameter(torch.randn(ANGLES, width))
        if not chosen.landmarks:
            self.landmark_query = nn.Parameter(torch.randn(POINTS, width))
        self.headpos_emeb = nn.Parameter(torch.randn(QUERIES, width))
        self.base_model = base_model
        self.lstm = make_lstm(base_model.features, hidden)
        self._make_tables(chosen)
        self.transformer = Transformer(
            width,
            heads=chosen.heads,
            feedforward=chosen.feedforward,
            encoder_layers=chosen.encoder_layers,
            decoder_layers=chosen.decoder_layers,
            dropout=chosen.dropout,
        )
        self.input_proj = nn.Conv2d(base_model.map_channels, width, 1)
        self.combine_layer = nn.Linear(4 * hidden, hidden)
        self.fusion_layer = nn.Linear(QUERIES * width, 2 * hidden)
        self.last_layer = nn.Linear(hidden, 2)

    def _make_tables(self, options: WindowNetworkOptions) -> None:
        if options.head:
            rows = count_head_rows(options.split)
            self.yaw_embed = nn.Embedding(rows, options.dmodel)
            self.pitch_embed = nn.Embedding(rows, options.dmodel)
            self.roll_embed = nn.Embedding(rows, options.dmodel)
        if options.landmarks:
            self.joint_embed = nn.Embedding(count_cells(options.dsplit) ** 2, options.dmodel // 2)
            self.c_embed = nn.Embedding(count_confidence_rows(options.csplit), options.dmodel // 2)
            self.joint_embed.weight.requires_grad_(options.train_tables)
            self.c_embed.weight.requires_grad_(options.train_tables)

    def encode(self, crops: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Encode crops ``[N, 3, H, W]`` as features ``[N, F]`` and maps ``[N, C, h, w]``."""
        encoded: tuple[torch.Tensor, torch.Tensor] = self.base_model(crops)
        return encoded

    def decide(
        self,
        features: torch.Tensor,
        centre_maps: torch.Tensor | None = None,
        head: torch.Tensor | None = None,
        landmarks: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Score windows.

        Parameters
        ----------
        features
            ``[B, 7, F]``.
        centre_maps
            ``[B, C, h, w]`` of the middle crop.
        head
            int64 ``[B, 3]``: rows of yaw, pitch, roll; not looked at without that prior.
        landmarks
            int64 ``[B, 5, 2]``: rows of place and confidence; not looked at without that prior.

        Returns
        -------
        torch.Tensor
            ``[B, 2]``: of not looking and of looking.

        Raises
        ------
        StageError
            When maps or a prior that the network looks at are not given.
        """
        if centre_maps is None:
            raise _not_given("maps of the middle crop")
        maps = self.input_proj(centre_maps)
        places = place_sines(maps.shape[2], maps.shape[3], maps.shape[1], device=maps.device)
        answers = self.transformer(maps, places, self.ask(len(features), head, landmarks), self.headpos_emeb)
        spatial = self.fusion_layer(answers.flatten(1))
        temporal = read_middle(self.lstm, features)
        scores: torch.Tensor = self.last_layer(self.combine_layer(torch.cat([temporal, spatial], dim=1)))
        return scores

    def ask(self, batch: int, head: torch.Tensor | None, landmarks: torch.Tensor | None) -> torch.Tensor:
        """Make queries ``[batch, 8, dmodel]`` of priors, or take the learnt ones."""
        if not self.uses_head:
            pose = self.head_query.expand(batch, -1, -1)
        elif head is None:
            raise _not_given("rows of the head pose")
        else:
            tables = (self.yaw_embed, self.pitch_embed, self.roll_embed)
            rows = head.clamp(max=self.yaw_embed.num_embeddings - 1)
            pose = torch.stack([table(rows[:, place]) for place, table in enumerate(tables)], dim=1)
        if not self.uses_landmarks:
            points = self.landmark_query.expand(batch, -1, -1)
        elif landmarks is None:
            raise _not_given("rows of the landmarks")
        else:
            points = torch.cat([self.joint_embed(landmarks[..., 0]), self.c_embed(landmarks[..., 1])], dim=-1)
        return torch.cat([pose, points], dim=1)

    def forward(
        self, clips: torch.Tensor, head: torch.Tensor | None = None, landmarks: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Score clips ``[B, 7, 3, H, W]`` as ``[B, 2]``; `head` and `landmarks` as for `decide`."""
        return decide_clips(self, clips, head, landmarks)


def _not_given(what: str) -> StageError:
    return StageError(
        f"GazePose was asked without {what}.",
        expected="All that the network looks at (uses_maps, uses_head, uses_landmarks).",
        remedy="Give them, or build the network without this prior.",
    )
