"""Where training begins: a published checkpoint, or a network of one's own with the preparation it was trained with."""

from __future__ import annotations

from nbpkg.errors import SettingsError, WeightsError
from nbpkg.models.valence.loading import load_published
from nbpkg.training.valence.material import ValenceMaterial
from nbpkg.training.valence.networks import Trained, load_trained
from nbpkg.training.valence.one_round import Start


def read_start(material: ValenceMaterial, name: str, *, setting: str) -> Start:
    """Read a file of weights in the data folder.

    Parameters
    ----------
    material
        Of which the data folder and the modalities count.
    name
        The file, relative to the data folder: a published checkpoint, or ``.safetensors`` with its card, as 05 writes.
    setting
        Name of the setting, for messages.

    Raises
    ------
    SettingsError
        When no data folder is known, or the file lies outside it.
    WeightsError
        When it cannot be read, or was trained with other modalities or another order.
    """
    if material.data is None:
        raise SettingsError(
            f"{setting} names the file {name!r}, and there is no data folder to look in.",
            remedy="Give the data folder along with the recordings.",
        )
    path = material.data / name
    if not path.resolve().is_relative_to(material.data.resolve()):
        raise SettingsError(
            f"{setting} is {name!r}, which lies outside the data folder.",
            expected="A file inside the data folder.",
            remedy="Copy the weights there.",
        )
    if path.suffix == ".safetensors" and path.with_suffix(".json").is_file():
        return start_from(load_trained(path), material, where=str(path))
    network = load_published(path, modalities=material.modalities)
    return Start(dict(network.state_dict()), None, str(path))


def start_from(trained: Trained, material: ValenceMaterial, *, where: str) -> Start:
    """Begin with a network of one's own.

    Raises
    ------
    WeightsError
        When it takes other modalities, or in another order.
    """
    if trained.shape.modalities != material.modalities:
        theirs, ours = ", ".join(trained.shape.modalities), ", ".join(material.modalities)
        raise WeightsError(
            f"The network takes {theirs}, the experiment {ours}.",
            where=where,
            expected="The same modalities in the same order.",
            remedy="Correct train.modalities, or begin with another network.",
        )
    return Start(dict(trained.network.state_dict()), trained.preparation, where)
