"""Does a map show what the network uses? Deletion and insertion curves, and the parameter-randomisation test."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple, cast

import numpy as np
import pandas as pd
import torch
from numpy.typing import ArrayLike, NDArray
from scipy.stats import spearmanr
from torch import nn
from torchvision.transforms.v2 import functional as pictures

from nbpkg import seeding
from nbpkg.attention.explain.methods import Method, Options, find_method
from nbpkg.attention.explain.passes import as_array, at_rest, probability, run
from nbpkg.attention.explain.randomise import randomise
from nbpkg.attention.faithfulness_scores import MAP, RANDOM
from nbpkg.attention.machine import Explained, Look
from nbpkg.attention.maps import Values, enlarge
from nbpkg.errors import ExplainError
from nbpkg.models.device import Parts
from nbpkg.models.network import Net
from nbpkg.progress import Report

FILLS = ("mean", "blur")
BLUR = 0.1  # standard deviation of the blurred fill, share of the short side: shapes stay, faces and hands go

Explain = Callable[[nn.Module, torch.Tensor, int], Values]


class Curves(NamedTuple):
    """The probability of one class while a clip is taken apart (deletion) and put together (insertion).

    Parameters
    ----------
    share
        float64 ``[steps + 1]``, share of the clip's pixels removed or put in, 0 to 1.
    deletion, insertion
        float64 ``[steps + 1]``, probability when the places of the highest values go, or come, first. A faithful map
        makes the first fall early and the second rise early.
    random_deletion, random_insertion
        The same in random order, mean over orders.
    """

    share: NDArray[np.float64]
    deletion: NDArray[np.float64]
    insertion: NDArray[np.float64]
    random_deletion: NDArray[np.float64]
    random_insertion: NDArray[np.float64]

    def area(self, curve: str) -> float:
        """Return the area under one of the four curves, by trapezoids: its mean probability."""
        return float(np.trapezoid(getattr(self, curve), self.share))


class Stage(NamedTuple):
    """One stage of the parameter-randomisation test.

    Parameters
    ----------
    block
        Name of the block of layers made random here; empty for the network as it is.
    share
        Share of the blocks made random by now, 0 to 1.
    correlation
        Spearman's rank correlation of absolute values with the map of the trained network; NaN when undefined.
    reason
        Why it is undefined; empty otherwise.
    """

    block: str
    share: float
    correlation: float
    reason: str


def delete_and_insert(
    net: nn.Module,
    clip: torch.Tensor,
    values: ArrayLike,
    *,
    target: int,
    steps: int,
    fill: str,
    batch_size: int,
    seed: int,
    orders: int = 3,
) -> Curves:
    """Measure how the answer changes when a clip loses, or gains, the places of a map in order of their values.

    Parameters
    ----------
    net
        Gives raw scores ``[B, K]``; left as it was found.
    clip
        Normalised, ``[C, T, H, W]``, on the network's device.
    values
        The map ``[t, h, w]``, finite; higher is more important. It is enlarged to the clip by trilinear interpolation.
    target
        Class whose probability is measured.
    steps
        Number of equal shares in which pixels go, or come.
    fill
        What stands in for a pixel: ``mean``, 0 after normalisation, or ``blur``, the frame blurred by a tenth of its
        short side.
    batch_size
        Clips in the network at once.
    seed
        Of the random orders, and of ties, which are broken at random.
    orders
        Random orders averaged. Each is that of random numbers on the map's own grid, enlarged like the map, so that a
        coarse map is compared with equally coarse patches; a constant map is a random order.

    Raises
    ------
    ExplainError
        When the map is not finite or not ``[t, h, w]``, a setting is out of range, or the network lacks the class.

    Source
    ------
    Petsiuk, Das and Saenko, RISE, BMVC 2018; time counts as a third dimension here, and random orders are as coarse as
    the map.
    """
    grid = np.asarray(values, np.float32)
    _check(clip, grid, steps=steps, fill=fill, orders=orders)
    shape = (clip.shape[1], clip.shape[2], clip.shape[3])
    random = seeding.generator(seed, "faithfulness")
    ranked = [_rank(enlarge(grid, shape, "trilinear"), random, coarse=grid.shape)]
    ranked += [_rank(np.zeros(shape, np.float32), random, coarse=grid.shape) for _ in range(orders)]
    other = _fill(clip, fill)
    parts = Parts(batch_size)
    counts = np.round(np.linspace(0, np.prod(shape), steps + 1)).astype(np.int64)
    found = []
    with at_rest(net), torch.inference_mode():
        for ranks in ranked:
            order = torch.from_numpy(ranks).to(clip.device)
            for inside, outside in ((clip, other), (other, clip)):
                score = _Scorer(net, inside, outside, order, target)
                found.append(parts.run(score, torch.from_numpy(counts)).astype(np.float64))
    deletions, insertions = np.stack(found[0::2]), np.stack(found[1::2])
    share = counts / np.prod(shape)
    return Curves(share, deletions[0], insertions[0], deletions[1:].mean(axis=0), insertions[1:].mean(axis=0))


def randomisation(net: Net, explain: Callable[[nn.Module], Values], *, seed: int) -> list[Stage]:
    """Compare a map with the maps of the same network as ever more of its layers are made random, from the top down.

    A map that stays as it was does not depend on what the network has learnt.

    Parameters
    ----------
    net
        The trained network; copies are changed, not it.
    explain
        Gives the map of a network, always for the same clip and class.
    seed
        Of the random weights.

    Returns
    -------
    list of Stage
        The trained network (share 0, correlation 1), then one stage after each block of layers: the classifier first.

    Notes
    -----
    Weights come from the network's random twin of the same seed (`nbpkg.attention.explain.randomise`), which the last
    stage is.

    Source
    ------
    Adebayo et al., Sanity checks for saliency maps, NeurIPS 2018: cascading randomisation, absolute values.
    """
    first = explain(net)
    stages = [Stage("", 0.0, *_correlate(first, first))]
    other, twin = copy.deepcopy(net), cast("Net", randomise(net, seed=seed))
    blocks, drawn = list_blocks(other), list_blocks(twin)
    for number, ((name, block), (_, anew)) in enumerate(zip(blocks, drawn, strict=True), start=1):
        block.load_state_dict(anew.state_dict())
        share = number / len(blocks)
        try:
            stages.append(Stage(name, share, *_correlate(first, explain(other))))
        except ExplainError as error:  # e.g. a random network whose map is zero everywhere: a finding, not a failure
            stages.append(Stage(name, share, float("nan"), error.what))
    return stages


def list_blocks(net: Net) -> list[tuple[str, nn.Module]]:
    """Return the blocks of layers of a network from the classifier down to the stem, with their names.

    Blocks are the parts of the encoder as its authors divided it; a sequence that holds more than half of all weights
    is divided further.

    Examples
    --------
    >>> from nbpkg.models.network import build_network
    >>> [name for name, _ in list_blocks(build_network("small", "none", seed=0, size=24, frames=4))]
    ['classifier', 'layers.3', 'layers.2', 'layers.1', 'layers.0']
    """
    encoder = net.encoder.base_model
    blocks, total = list(encoder.named_children()), len(list(encoder.parameters()))
    for name, block in list(blocks):
        if isinstance(block, nn.Sequential | nn.ModuleList) and len(list(block.parameters())) > total / 2:
            place = blocks.index((name, block))
            blocks[place : place + 1] = [(f"{name}.{inner}", part) for inner, part in block.named_children()]
    weighty = [(name, block) for name, block in blocks if next(block.parameters(), None) is not None]
    return [("classifier", net.classifier), *reversed(weighty)]


def explain_by(methods: Sequence[str], options: Options) -> dict[str, Explain]:
    """Give each of `nbpkg.attention.explain.METHODS` as a function of network, clip and class; maps may be constant."""

    def bind(method: Method) -> Explain:
        return lambda net, clip, target: method.run(net, clip, [target], options)[target].values  # noqa: PD011 - no data frame

    return {name: bind(find_method(name)) for name in methods}


def measure_faithfulness(
    snippets: pd.DataFrame,
    networks: Mapping[tuple[str, str], Explained],
    methods: Mapping[str, Explain],
    *,
    look: Look,
    steps: int,
    fill: str,
    batch_size: int,
    seed: int,
    randomised: int,
) -> pd.DataFrame:
    """Test the maps of every method on every snippet, for the class on which the raters agree.

    Parameters
    ----------
    snippets
        Table ``snippets``; those of pairs without a network are left out.
    networks
        Of task and variable, e.g. from `nbpkg.training.answers.load_networks`.
    methods
        Each gives, from a network, a normalised clip ``[C, T, H, W]`` and a class, the map ``[t, h, w]``; see
        `explain_by`.
    look
        How a network sees a snippet, see `nbpkg.attention.machine.look_at_clips`.
    steps, fill, batch_size
        As in `delete_and_insert`.
    seed
        The experiment's seed.
    randomised
        Snippets of each pair for which the slower randomisation test is made as well: the first of every session, then
        the second ones, and so on. Only networks for clips are divided into blocks; for others give 0.

    Returns
    -------
    pandas.DataFrame
        Table ``faithfulness``: snippet_id, session, task, variable, method, test (deletion, insertion, randomisation),
        step (share of the pixels removed or put in, or of the blocks made random), value (probability, or Spearman
        correlation), note (``map`` or ``random order``; for randomisation the block made random at this step, and in
        brackets why a correlation is undefined).
    """
    tested = snippets[pd.MultiIndex.from_frame(snippets[["task", "variable"]]).isin(list(networks))]
    visits = tested.groupby(["task", "variable", "session"]).cumcount()
    turn = visits.groupby([tested["task"], tested["variable"]]).rank(method="first") - 1
    report = Report("test maps", total=len(tested) * len(methods), unit="map")
    rows: list[dict[str, object]] = []
    for snippet, place in zip(tested.to_dict("records"), turn.tolist(), strict=True):
        task, variable, name = str(snippet["task"]), str(snippet["variable"]), str(snippet["snippet_id"])
        target = int(snippet["label"])
        net, clip = look({str(key): value for key, value in snippet.items()}, networks[task, variable])
        own = {key: snippet[key] for key in ("snippet_id", "session", "task", "variable")}
        for method, explain in methods.items():
            seeds = seeding.child(seed, name, method), seeding.child(seed, "random network", task, variable)
            values = explain(net, clip, target)
            curves = delete_and_insert(
                net, clip, values, target=target, steps=steps, fill=fill, batch_size=batch_size, seed=seeds[0]
            )
            found = list(_list_curves(curves))
            if place < randomised and isinstance(net, Net):
                found += _list_stages(net, _fix(explain, clip, target), seeds[1])
            rows += [{**own, "method": method, **row} for row in found]
            report.step(note=name)
    report.close()
    columns = ["snippet_id", "session", "task", "variable", "method", "test", "step", "value", "note"]
    return pd.DataFrame(rows, columns=columns)


class _Scorer:
    """Gives the probability of the target when as many places as asked for, in order, are taken from another clip."""

    def __init__(
        self, net: nn.Module, clip: torch.Tensor, other: torch.Tensor, order: torch.Tensor, target: int
    ) -> None:
        self.net, self.clip, self.other, self.order, self.target = net, clip, other, order, target

    def __call__(self, counts: torch.Tensor) -> Values:
        is_taken = self.order < counts.to(self.order.device)[:, None, None, None]
        clips = torch.where(is_taken[:, None], self.other, self.clip)
        return as_array(probability(run(self.net, clips).double(), self.target))


def _check(clip: torch.Tensor, grid: Values, *, steps: int, fill: str, orders: int) -> None:
    if clip.ndim != 4 or grid.ndim != 3 or not grid.size or not np.isfinite(grid).all():
        raise ExplainError(
            f"A map {list(grid.shape)} cannot be tested on a clip {list(clip.shape)}.",
            expected="A clip [C, T, H, W] and a map [t, h, w] of finite numbers.",
            remedy="Give one clip and its map; a map that is not finite comes from a network that is not.",
        )
    if steps < 1 or orders < 1 or fill not in FILLS:
        raise ExplainError(
            f"Maps cannot be tested with {steps} steps, {orders} random orders, fill {fill!r}.",
            expected=f"At least 1 step and 1 order, and a fill of {' or '.join(FILLS)}.",
            remedy="Correct the settings.",
        )


def _rank(values: Values, random: np.random.Generator, *, coarse: tuple[int, ...]) -> NDArray[np.int64]:
    """Give the highest value number 0, and so on; equal ones follow in random patches of the map's grain."""
    noise = enlarge(random.random(coarse, np.float32), values.shape, "trilinear")
    order = np.lexsort((random.permutation(values.size), noise.ravel(), -values.ravel()))
    ranks = np.empty(values.size, np.int64)
    ranks[order] = np.arange(values.size)
    return ranks.reshape(values.shape)


def _fill(clip: torch.Tensor, fill: str) -> torch.Tensor:
    if fill == "mean":
        return torch.zeros_like(clip)
    sigma = max(BLUR * min(clip.shape[-2:]), 0.5)
    side = 2 * min(int(np.ceil(3 * sigma)), min(clip.shape[-2:]) - 1) + 1
    blurred: torch.Tensor = pictures.gaussian_blur(clip.movedim(1, 0), [side, side], [sigma, sigma]).movedim(0, 1)
    return blurred


def _correlate(one: ArrayLike, two: ArrayLike) -> tuple[float, str]:
    """Correlate the ranks of absolute values, equal ones ranked alike; say why where that is undefined."""
    strengths = [np.abs(np.asarray(values, np.float64)).ravel() for values in (one, two)]
    if any(np.ptp(strength) == 0 for strength in strengths):
        return float("nan"), "the map is the same everywhere"
    return float(spearmanr(*strengths).statistic), ""


def _fix(explain: Explain, clip: torch.Tensor, target: int) -> Callable[[nn.Module], Values]:
    return lambda net: explain(net, clip, target)


def _list_curves(curves: Curves) -> Iterator[dict[str, object]]:
    for test in ("deletion", "insertion"):
        for note, curve in ((MAP, getattr(curves, test)), (RANDOM, getattr(curves, f"random_{test}"))):
            for step, value in zip(curves.share.tolist(), curve.tolist(), strict=True):
                yield {"test": test, "step": step, "value": value, "note": note}


def _list_stages(net: Net, explain: Callable[[nn.Module], Values], seed: int) -> Iterator[dict[str, object]]:
    for stage in randomisation(net, explain, seed=seed):
        note = f"{stage.block} ({stage.reason})" if stage.reason else stage.block
        yield {"test": "randomisation", "step": stage.share, "value": stage.correlation, "note": note}
