"""Sound as openSMILE's emobase set: 988 numbers for each second, every second on its own.

Source: Eyben, Wöllmer & Schuller, openSMILE, ACM Multimedia 2010; emobase as cheem-omg-empathy used it, with frames
centred on their times. The packaged set differs only in that its frames begin there, which changes nearly all values.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from nbpkg.errors import MediaError, Problem, SettingsError, StageError
from nbpkg.features.rows import Features
from nbpkg.features.sound import read_sound

TIME_COLUMNS = ("frameIndex", "frameTime")
SHORTEST_S = 0.1  # of a window: enough frames for deltas and their functionals
_SECTION = re.compile(rb"^\[[^\]]*:cFramer\][^\[]*", re.MULTILINE)
_LEFT = re.compile(rb"^(\s*frameCenterSpecial\s*=\s*)left\b", re.MULTILINE)
_CONFIG = "emobase/emobase.conf"
_SOURCE, _SINK = "shared/standard_external_wave_input.conf.inc", "shared/standard_external_data_output_single.conf.inc"
_SOURCE_NAME, _SINK_NAME = "extsource", "extsink"


def emobase_seconds(
    path: Path, *, seconds: float = 1.0, time_columns: bool = False, partial: Literal["drop", "keep"] = "keep"
) -> Features:
    """Describe the sound of a recording, second by second.

    Parameters
    ----------
    path
        A video or sound file; its first sound track is mixed to one channel at its own rate.
    seconds
        Length of a window, from 0.1.
    time_columns
        Put ``frameIndex`` and ``frameTime`` before the features, as the published files have them: they tell a network
        the time, which is a shortcut, but published checkpoints need them.
    partial
        What becomes of a last window that is cut short: ``keep`` describes what there is of it when that is at least
        half a window; ``drop`` leaves it out, as published.

    Returns
    -------
    Features
        988 columns, or 990 with the time.

    Raises
    ------
    StageError
        When openSMILE is not installed, or does not run.
    MediaError
        When there is no sound that can be read.
    SettingsError
        When windows are too short to be described.
    """
    if seconds < SHORTEST_S:
        raise SettingsError(
            f"Sound cannot be described in windows of {seconds} s.",
            expected=f"At least {SHORTEST_S} s.",
            remedy="Correct the length of a step.",
        )
    sound = read_sound(path)
    windows, problems = cut_windows(sound.samples, int(seconds * sound.rate), partial=partial, name=path.name)
    if not windows:
        raise MediaError(
            f"{path.name!r} holds only {len(sound.samples) / sound.rate:.2f} s of sound.",
            where=str(path),
            expected=f"At least a window of {seconds} s.",
            remedy="Use the whole recording, or leave this session out.",
        )
    with Emobase(sound.rate) as describe:
        found = [describe(window) for window in windows]
        names = list(describe.names)
    rows = np.stack([values for _, values in found])
    if time_columns:
        starts = np.array([[number, time + number * seconds] for number, (time, _) in enumerate(found)])
        rows, names = np.hstack([starts.astype(np.float32), rows]), [*TIME_COLUMNS, *names]
    return Features(rows, names, [*sound.problems, *problems])


def cut_windows(
    samples: NDArray[np.int16], width: int, *, partial: Literal["drop", "keep"], name: str
) -> tuple[list[NDArray[np.int16]], list[Problem]]:
    """Cut sound into windows of `width` samples (see `emobase_seconds`), saying what became of the rest."""
    count, rest = divmod(len(samples), width)
    kept = partial == "keep" and 2 * rest >= width
    windows = [samples[number * width : (number + 1) * width] for number in range(count + kept)]
    if not rest:
        return windows, []
    fate = "described by what there is of it" if kept else "left out"
    what = f"Of the last window only {rest / width:.0%} are there; it is {fate}."
    return windows, [Problem(what, file=name, severity="repaired" if kept else "warning")]


class Emobase:
    """openSMILE with the emobase set, set up once for many windows; a context manager.

    The state of openSMILE is reset between windows, so that each is described as if by a process of its own, to the
    last bit, without its start.

    Parameters
    ----------
    rate
        Samples per second.

    Attributes
    ----------
    names
        Of the 988 features.
    """

    def __init__(self, rate: int) -> None:
        self.rate, self.names = rate, [""]
        self._fresh = True

    def __enter__(self) -> Emobase:
        self._library, root = load_library()
        self._engine = self._library.OpenSMILE()
        options = {
            "source": str(root / _SOURCE),
            "sink": str(root / _SINK),
            "sinkLevel": "func",
            "sampleRate": self.rate,
            "nBits": 16,
        }
        with _centred_copy(root / _CONFIG) as config, self._speaking():
            self._engine.initialize(config, options, loglevel=0)
            count = self._engine.external_sink_get_num_elements(_SINK_NAME)
            self.names = [self._engine.external_sink_get_element_name(_SINK_NAME, place) for place in range(count)]
        return self

    def __exit__(self, *_: object) -> None:
        self._engine.free()

    def __call__(self, window: NDArray[np.int16]) -> tuple[float, NDArray[np.float32]]:
        """Return openSMILE's time of a window's description, seconds, and the features ``[988]``."""
        found: list[tuple[float, NDArray[np.float32]]] = []

        def collect(values: NDArray[np.float32], facts: Any) -> None:
            found.append((facts.time, values.reshape(-1).copy()))

        with self._speaking():
            if not self._fresh:
                self._engine.reset()
            self._fresh = False
            self._engine.external_sink_set_callback_ex(_SINK_NAME, collect)
            self._engine.external_audio_source_write_data(_SOURCE_NAME, window.astype("<i2").tobytes())
            self._engine.external_audio_source_set_eoi(_SOURCE_NAME)
            self._engine.run()
        if len(found) != 1:
            raise StageError(
                f"openSMILE gave {len(found)} descriptions of a window of {len(window)} samples at {self.rate}/s.",
                expected="One.",
                remedy="Check that the sound is longer than a tenth of a second and sampled at 8000 Hz or more.",
            )
        return found[0]

    @contextmanager
    def _speaking(self) -> Iterator[None]:
        """Turn openSMILE's numbered errors into ours."""
        try:
            yield
        except self._library.OpenSmileException as error:
            raise StageError(
                f"openSMILE does not run: {error}.",
                expected="The version that `pip install nbpkg[audio]` brings.",
                remedy="Install it again, or use features made elsewhere.",
            ) from None


def load_library() -> tuple[Any, Path]:
    """Return openSMILE's Python layer and the folder of its configurations.

    Raises
    ------
    StageError
        When it is not installed or cannot be loaded.
    """
    try:
        import opensmile.core.lib as library  # type: ignore[import-untyped, import-not-found]  # an extra
    except (ImportError, OSError, RuntimeError) as error:
        raise StageError(
            f"openSMILE, which describes sound, cannot be loaded: {error}.",
            expected="The package opensmile, which is free for research and so is not installed with everything else.",
            remedy="Run `pip install nbpkg[audio]`, or use features made elsewhere (kind 'table').",
        ) from None
    return library, Path(library.__file__).parent / "config"


def centre_frames(config: bytes) -> bytes:
    """Return an openSMILE configuration whose framers centre frames on their times instead of beginning there.

    Raises
    ------
    StageError
        When it has no two framers that begin frames there, so that it is another configuration than we know.
    """
    changed = 0

    def centre(section: re.Match[bytes]) -> bytes:
        nonlocal changed
        text, count = _LEFT.subn(rb"\1center", section.group())
        changed += count
        return text

    result = _SECTION.sub(centre, config)
    if changed != 2:
        raise StageError(
            f"openSMILE's emobase.conf has {changed} framers to be centred.",
            expected="Two, of 25 ms and 40 ms.",
            remedy="Install the version that `pip install nbpkg[audio]` brings.",
        )
    return result


@contextmanager
def _centred_copy(config: Path) -> Iterator[str]:
    """Give the path of a changed copy; what it includes is named by options, with full paths."""
    with tempfile.TemporaryDirectory(prefix="nbpkg_") as folder:
        copy = Path(folder) / config.name
        if not (str(copy).isascii() and str(config).isascii()):
            raise StageError(
                "openSMILE opens no paths with letters beyond ASCII.",
                where=f"{config} and {copy}",
                remedy="Set the environment variable TMPDIR, or install Python, at a path of plain letters.",
            )
        copy.write_bytes(centre_frames(config.read_bytes()))
        yield str(copy)
