"""How large a network over sequences is, and what it forgets on purpose while it learns."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from nbpkg.errors import Problem, SettingsError, raise_all

# What the published network drops of the features themselves; other modalities get OTHER_DROPOUT.
PUBLISHED_DROPOUT: Mapping[str, float] = {"audio": 0.1, "text": 0.1, "v_sub": 0.2, "v_act": 0.2}
OTHER_DROPOUT = 0.1


@dataclass(frozen=True)
class NetworkOptions:
    """Sizes and dropout of a network over sequences; the defaults are those of the published networks.

    Parameters
    ----------
    embed
        Width of a modality's embedding, and of the features for late fusion.
    hidden
        Width of the LSTM's state, or of the transformer's inner layer. ``None``: the network's own, 512 for
        ``combined_lstm`` and ``visual_lstm``, 256 for ``text_lstm``, twice `embed` for ``cross_modal``.
    layers
        Layers of the LSTM or of the transformer. ``None``: 1, for ``cross_modal`` 2.
    attention_steps
        Steps over which ``combined_lstm`` looks back, its own step among them.
    dropout
        Modality to the share that is dropped in training, before the first layer that differs between modalities
        (``text_lstm`` drops whole seconds behind its LSTM, ``visual_lstm`` single values there and once more before
        its last layer). What is not named keeps its default: that of `PUBLISHED_DROPOUT`, else 0.1; ``text_lstm``
        0.2; ``visual_lstm`` 0.5.
    both_directions
        Whether ``visual_lstm`` also reads from the end and adds up both directions.
    heads
        Attention heads of ``cross_modal``, a divisor of `embed`.
    window
        Steps before and after its own that a step of ``cross_modal`` sees in one layer.
    modality_dropout
        Probability with which ``cross_modal`` hides a whole modality of a sequence in training; one always stays.
    block_dropout
        Dropout inside the blocks of ``cross_modal``.

    Raises
    ------
    SettingsError
        Listing every value out of its range.
    """

    embed: int = 128
    hidden: int | None = None
    layers: int | None = None
    attention_steps: int = 3
    dropout: Mapping[str, float] | None = None
    both_directions: bool = False
    heads: int = 4
    window: int = 10
    modality_dropout: float = 0.2
    block_dropout: float = 0.1

    def __post_init__(self) -> None:
        problems = [
            Problem(f"{name} is {value}.", expected=f"A whole number from {least}.")
            for name, value, least in self._counts()
            if isinstance(value, bool) or not isinstance(value, int) or value < least
        ]
        problems += [
            Problem(f"{name} is {value}.", expected="A share from 0 up to, not including, 1.")
            for name, value in self._shares()
            if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 1
        ]
        raise_all(problems, SettingsError, summary="sizes of the network cannot be used.")

    def _counts(self) -> list[tuple[str, int, int]]:
        """Name, value and least value of what is counted."""
        counts = [("embed", self.embed, 1), ("attention_steps", self.attention_steps, 1), ("heads", self.heads, 1)]
        counts += [("window", self.window, 0)]
        return counts + [
            (name, value, 1) for name, value in (("hidden", self.hidden), ("layers", self.layers)) if value is not None
        ]

    def _shares(self) -> list[tuple[str, float]]:
        shares = [("modality_dropout", self.modality_dropout), ("block_dropout", self.block_dropout)]
        return shares + [(f"dropout of {modality}", share) for modality, share in (self.dropout or {}).items()]

    def dropout_of(self, modality: str, *, default: float | None = None) -> float:
        """Return the share dropped of a modality.

        Parameters
        ----------
        modality
            Its name.
        default
            The network's own share, where it is not that of the published fusion network.
        """
        own = PUBLISHED_DROPOUT.get(modality, OTHER_DROPOUT) if default is None else default
        return float((self.dropout or {}).get(modality, own))
