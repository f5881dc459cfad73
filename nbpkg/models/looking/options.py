"""How large a network over windows is, and what it looks at."""

from __future__ import annotations

from dataclasses import dataclass
from typing import get_args

from nbpkg.errors import Problem, SettingsError, raise_all
from nbpkg.models.looking.backbone import EncoderName


@dataclass(frozen=True)
class WindowNetworkOptions:
    """Sizes and parts of a network over windows; the defaults are those of the published networks.

    Parameters
    ----------
    encoder
        Network of a crop: ``resnet18`` or ``small``.
    hidden
        Width of the LSTM's state in each direction.
    head, landmarks
        Of GazePose: whether queries come from the head pose and from the landmarks, or are learnt.
    split
        Degrees of a row of the head's tables.
    dsplit, csplit
        Side of a landmark's cell in crop sides; step of its confidence.
    dmodel
        Width of a token, a multiple of `heads` and of 4.
    heads, feedforward
        Of the attention; width between both linear layers.
    encoder_layers, decoder_layers
        How many.
    dropout
        Share that the transformer drops in training.
    train_tables
        Whether the landmarks' tables are trained; False is as published, where they stay random.

    Raises
    ------
    SettingsError
        Listing every value out of its range.
    """

    encoder: EncoderName = "resnet18"
    hidden: int = 256
    head: bool = True
    landmarks: bool = True
    split: float = 1.0
    dsplit: float = 0.1
    csplit: float = 0.1
    dmodel: int = 512
    heads: int = 8
    feedforward: int = 2048
    encoder_layers: int = 6
    decoder_layers: int = 6
    dropout: float = 0.1
    train_tables: bool = True

    def __post_init__(self) -> None:
        problems = [
            Problem(f"{name} is {value}.", expected=f"A whole number from {least}.")
            for name, value, least in self._counts()
            if isinstance(value, bool) or not isinstance(value, int) or value < least
        ]
        problems += [
            Problem(f"{name} is {value}.", expected=f"A number above 0, up to {most}.")
            for name, value, most in (("split", self.split, 90), ("dsplit", self.dsplit, 4), ("csplit", self.csplit, 1))
            if not 0 < value <= most
        ]
        if not 0 <= self.dropout < 1:
            problems.append(Problem(f"dropout is {self.dropout}.", expected="A share from 0 up to, not including, 1."))
        if self.encoder not in get_args(EncoderName):
            problems.append(Problem(f"encoder is {self.encoder!r}.", expected=f"One of {get_args(EncoderName)}."))
        if not problems and (self.dmodel % self.heads or self.dmodel % 4):
            problems.append(
                Problem(f"dmodel is {self.dmodel}.", expected=f"A multiple of 4 and of the {self.heads} heads.")
            )
        raise_all(problems, SettingsError, summary="sizes of the network cannot be used.")

    def _counts(self) -> list[tuple[str, int, int]]:
        """Name, value and least value of what is counted."""
        return [
            ("hidden", self.hidden, 2),
            ("dmodel", self.dmodel, 4),
            ("heads", self.heads, 1),
            ("feedforward", self.feedforward, 1),
            ("encoder_layers", self.encoder_layers, 0),
            ("decoder_layers", self.decoder_layers, 1),
        ]
