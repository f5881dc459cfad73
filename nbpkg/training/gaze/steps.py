"""One step of each kind of training: the gradients of a batch, added up in parts that fit into memory."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch

from nbpkg.models.gaze.gazelle import GazeLle
from nbpkg.models.gaze.vtd import Trunk, VtdSpatial, VtdTemporal
from nbpkg.training.gaze.losses import INOUT_WEIGHT, Loss, count_whole, gazelle_loss, vtd_loss
from nbpkg.training.gaze.packing import Piece, State, cut_tracks, join_states, take_state

Backward = Callable[[torch.Tensor], None]
See = Callable[[torch.Tensor], Trunk]


class Wanted(NamedTuple):
    """What a network is to answer.

    Parameters
    ----------
    maps
        float32 ``[N, 64, 64]``, peak 1; zeros where the target is outside.
    inside
        float32 ``[N]``, 1 where the target is inside the frame.
    """

    maps: torch.Tensor
    inside: torch.Tensor


def learn_pictures(
    network: VtdSpatial,
    see: See,
    wanted: Wanted,
    *,
    part: int,
    backward: Backward,
    inout_weight: float = INOUT_WEIGHT,
) -> Loss:
    """Add up the gradients of a batch of single pictures.

    Parameters
    ----------
    network
        VTD for pictures.
    see
        Rows of the batch ``[n]`` to what the trunk makes of them, on the network's device: computed, or baked.
    wanted
        What it is to answer, of the whole batch.
    part
        Most pictures in the network at once.
    backward
        Adds the gradients of the loss of a part.
    inout_weight
        See `nbpkg.training.gaze.losses.vtd_loss`.

    Returns
    -------
    Loss
        Of the whole batch, detached.
    """
    whole = count_whole(wanted.inside)
    shares = []
    for rows in torch.arange(len(wanted.inside)).split(part):
        trunk = see(rows)
        heat, logit = network.decode(trunk.encoding), network.judge(trunk.inside)
        maps, inside = (one[rows].to(heat.device) for one in wanted)
        loss = vtd_loss(heat, logit, maps, inside, whole=whole, inout_weight=inout_weight)
        backward(loss.total)
        shares.append(loss)
    return _add_up(shares)


def learn_block(
    network: VtdTemporal,
    see: See,
    wanted: Wanted,
    *,
    batch_sizes: Sequence[int],
    state: State | None,
    part: int,
    backward: Backward,
    inout_weight: float = INOUT_WEIGHT,
) -> tuple[Loss, State]:
    """Add up the gradients of one block of video, its tracks dealt to parts.

    Parameters
    ----------
    network
        VTD for video.
    see
        As in `learn_pictures`.
    wanted
        What it is to answer, of the whole block.
    batch_sizes
        Tracks at each time step, never growing.
    state
        Of the tracks after the block before; None at their beginning.
    part
        Most tracks in the network at once.
    backward, inout_weight
        As in `learn_pictures`.

    Returns
    -------
    tuple
        The loss of the whole block and the state after it, both detached.
    """
    whole = count_whole(wanted.inside)
    shares, states = [], []
    for piece in cut_tracks(batch_sizes, part):
        heat, logit, after = answer_piece(network, see, piece, state)
        maps, inside = (one[piece.rows].to(heat.device) for one in wanted)
        loss = vtd_loss(heat, logit, maps, inside, whole=whole, inout_weight=inout_weight)
        backward(loss.total)
        shares.append(loss)
        states.append(after)
    return _add_up(shares), join_states(states)


def answer_piece(
    network: VtdTemporal, see: See, piece: Piece, state: State | None
) -> tuple[torch.Tensor, torch.Tensor, State]:
    """Return heat maps ``[n, 1, 64, 64]``, logits ``[n, 1]`` and state of some tracks of a block."""
    trunk = see(piece.rows)
    encoding, after = network.remember(trunk.encoding, piece.batch_sizes, take_state(state, piece))
    return network.decode(encoding), network.judge(trunk.inside), after


def learn_people(
    network: GazeLle,
    see: Callable[[torch.Tensor], torch.Tensor],
    boxes: Sequence[torch.Tensor],
    wanted: Wanted,
    *,
    part: int,
    backward: Backward,
    inout_weight: float = 1.0,
) -> Loss:
    """Add up the gradients of a batch of pictures for Gaze-LLE, each with its people.

    Parameters
    ----------
    network
        Gaze-LLE with or without its judgement of inside.
    see
        Pictures of the batch ``[n]`` to the backbone's tokens ``[n, C, h, w]``, on the network's device: computed, or
        baked.
    boxes
        Head boxes of each picture, fractions ``x0 y0 x1 y1``, ``[p, 4]``.
    wanted
        What it is to answer, people of all pictures one after the other.
    part
        Most pictures in the network at once.
    backward, inout_weight
        As in `learn_pictures`.

    Returns
    -------
    Loss
        Of the whole batch, detached.
    """
    whole = count_whole(wanted.inside)
    shares, start = [], 0
    for pictures in torch.arange(len(boxes)).split(part):
        own = [boxes[place] for place in pictures.tolist()]
        rows = slice(start, start := start + sum(map(len, own)))
        heat, score = network.decode(see(pictures), own)
        maps, inside = (one[rows].to(heat.device) for one in wanted)
        loss = gazelle_loss(heat, score, maps, inside, whole=whole, inout_weight=inout_weight)
        backward(loss.total)
        shares.append(loss)
    return _add_up(shares)


def _add_up(shares: Sequence[Loss]) -> Loss:
    return Loss(*(torch.stack([one.detach() for one in part]).sum() for part in zip(*shares, strict=True)))
