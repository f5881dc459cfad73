"""Each kind of network behind one interface: a frame and its head boxes in, maps and in/out logits out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from nbpkg.datasets.gaze.boxes import WIDENED, check_boxes, clamp, cut_face, widen
from nbpkg.datasets.gaze.items import Pixels, Preparation
from nbpkg.datasets.gaze.maps import head_rectangles
from nbpkg.datasets.gaze.people import prepare_picture
from nbpkg.errors import SettingsError
from nbpkg.models.gaze.convlstm import State
from nbpkg.models.gaze.gazelle import GazeLle
from nbpkg.models.gaze.vtd import VtdSpatial, VtdTemporal
from nbpkg.models.gaze.weights import GazeNetwork

Picture = NDArray[np.uint8]
Boxes = NDArray[np.float64]
Compat = Literal["none", "reference"]


class Looks(NamedTuple):
    """What a network needs of one frame, made before its turn comes.

    Parameters
    ----------
    number
        The frame.
    people
        Their names, in order.
    tensors
        On the CPU, as the network's `prepare` made them.
    """

    number: int
    people: tuple[str, ...]
    tensors: tuple[torch.Tensor, ...]


class Answers(NamedTuple):
    """Answers for the people of some frames, one after the other.

    Parameters
    ----------
    heat
        ``[P, 64, 64]``.
    logit
        ``[P]``, positive for a target inside the frame; NaN when the network does not say.
    """

    heat: torch.Tensor
    logit: torch.Tensor


class Gazer(Protocol):
    """A network that can be asked where people look."""

    method: str

    def prepare(self, picture: Picture, boxes: Boxes) -> tuple[torch.Tensor, ...]:
        """Make tensors of one frame and its head boxes; called from several threads."""

    def answer(self, looks: Sequence[Looks], tensors: Sequence[torch.Tensor]) -> Answers:
        """Answer for frames in order, of which `tensors` are joined on the device."""


@dataclass
class Vtd:
    """VTD, frame by frame or with a memory for each person.

    Parameters
    ----------
    network
        In evaluation mode, on its device.
    method
        Name written into the results.
    compat
        ``reference`` prepares frames as the published demo does.
    step
        Frames from one look to the next; the memory of a person begins anew where this is exceeded.
    """

    network: VtdSpatial | VtdTemporal
    method: str
    compat: Compat = "none"
    step: int = 1
    _memory: dict[str, tuple[int, State]] = field(default_factory=dict)

    @property
    def how(self) -> Preparation:
        """Boxes are widened for the spatial network only, as each was trained."""
        spatial = isinstance(self.network, VtdSpatial)
        return Preparation(
            size=self.network.size.size,
            widened=WIDENED if spatial else 0.0,
            rounded_face=spatial,
            compat=self.compat,
        )

    def prepare(self, picture: Picture, boxes: Boxes) -> tuple[torch.Tensor, ...]:
        """Make scene and faces of the network's size, and the cells of the heads: see `Pixels`."""
        how, size = self.how, np.array([picture.shape[1], picture.shape[0]], np.float64)
        sound = boxes if self.compat == "reference" else check_boxes(boxes, size).boxes
        heads = widen(sound, how.widened) if how.widened else sound
        image = Image.fromarray(picture)
        scene = np.asarray(image.resize((how.size, how.size), Image.Resampling.BILINEAR))
        faces = [cut_face(image, box, size=how.size, compat=how.compat, rounded=how.rounded_face) for box in heads]
        cells = head_rectangles(heads, size, size=how.size, compat=how.compat)
        scenes = torch.from_numpy(scene.copy()).expand(len(boxes), *scene.shape)
        return scenes, torch.from_numpy(np.stack([np.asarray(face) for face in faces])), torch.from_numpy(cells)

    def answer(self, looks: Sequence[Looks], tensors: Sequence[torch.Tensor]) -> Answers:
        """Run the trunk for all at once, and the memory, if there is one, person by person in order."""
        scene, face, cells = tensors
        inputs = Pixels(scene, face, cells).make_inputs(scene.device)
        trunk = self.network.trunk(inputs.scene, inputs.head, inputs.face)
        encoding = trunk.encoding
        if isinstance(self.network, VtdTemporal):
            encoding = self._remember(self.network, encoding, looks)
        return Answers(self.network.decode(encoding)[:, 0], self.network.judge(trunk.inside)[:, 0])

    def _remember(self, network: VtdTemporal, encoding: torch.Tensor, looks: Sequence[Looks]) -> torch.Tensor:
        """Go through stretches in which the same people are seen without a gap."""
        parts, row = [], 0
        for stretch in self._stretches(looks):
            people, steps = stretch[0].people, len(stretch)
            count = len(people) * steps
            state = self._recall(people, stretch[0].number, like=encoding)
            out, state = network.remember(encoding[row : row + count], [len(people)] * steps, state)
            parts.append(out)
            row += count
            for place, person in enumerate(people):
                own = (state[0][:, place : place + 1], state[1][:, place : place + 1])
                self._memory[person] = (stretch[-1].number, own)
        # whoever was missed in the last frame will begin anew, so that memory does not grow with the number of people
        last = looks[-1].number
        self._memory = {person: kept for person, kept in self._memory.items() if kept[0] == last}
        return torch.cat(parts) if parts else encoding

    def _stretches(self, looks: Sequence[Looks]) -> list[list[Looks]]:
        found: list[list[Looks]] = []
        for look in looks:
            before = found[-1][-1] if found else None
            if before and before.people == look.people and look.number - before.number == self.step:
                found[-1].append(look)
            elif look.people:
                found.append([look])
        return found

    def _recall(self, people: Sequence[str], number: int, *, like: torch.Tensor) -> State | None:
        """Return what is remembered of people, zeros for whom nothing is or who were missed."""
        kept = [self._memory.get(person) for person in people]
        states = [one[1] if one and number - one[0] == self.step else None for one in kept]
        known = next((state for state in states if state), None)
        if known is None:
            return None
        whole = [state or (torch.zeros_like(known[0]), torch.zeros_like(known[1])) for state in states]
        return torch.cat([state[0] for state in whole], 1).to(like), torch.cat([state[1] for state in whole], 1).to(
            like
        )


@dataclass
class Gazelle:
    """Gaze-LLE: a frame is encoded once for all its people.

    Parameters
    ----------
    network
        In evaluation mode, on its device.
    method
        Name written into the results.
    """

    network: GazeLle
    method: str

    def prepare(self, picture: Picture, boxes: Boxes) -> tuple[torch.Tensor, ...]:
        """Bring the frame to the network's size; heads are cut to it and become fractions, NaN where unknown."""
        size = np.array([picture.shape[1], picture.shape[0]], np.float64)
        heads = boxes.copy()
        known = np.isfinite(boxes).all(axis=1)
        heads[known] = clamp(check_boxes(boxes[known], size).boxes, size)
        scene = prepare_picture(picture, size=self.network.size.size)
        return scene[None], torch.from_numpy(heads / np.tile(size, 2))

    def answer(self, looks: Sequence[Looks], tensors: Sequence[torch.Tensor]) -> Answers:
        """Encode each frame once, then ask for every person."""
        scenes, boxes = tensors
        groups = boxes.cpu().split([len(look.people) for look in looks])
        heat, inside = self.network.decode(self.network.encode(scenes), groups)
        logit = torch.full_like(heat[:, 0, 0], torch.nan) if inside is None else torch.logit(inside)
        return Answers(heat, logit)


def wrap_network(network: GazeNetwork, method: str, *, compat: Compat = "none", step: int = 1) -> Vtd | Gazelle:
    """Put a network behind the interface that `nbpkg.gaze.predict` asks.

    Parameters
    ----------
    network
        From `nbpkg.models.gaze.weights.build_gaze_model`.
    method
        Name written into the results.
    compat, step
        As for `Vtd`.

    Raises
    ------
    SettingsError
        When the network is of neither kind.
    """
    network.eval()
    if isinstance(network, GazeLle):
        return Gazelle(network, method)
    if isinstance(network, VtdSpatial | VtdTemporal):
        return Vtd(network, method, compat, step)
    raise SettingsError(f"A {type(network).__name__} says nothing of gaze.", expected="VTD or Gaze-LLE.")
