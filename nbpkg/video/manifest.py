"""The manifest of one prepared session: written last, it says that the session is done and from what."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from fractions import Fraction
from pathlib import Path, PurePosixPath

import av
import cv2

from nbpkg.errors import Problem
from nbpkg.video.albums import ViewRecipe
from nbpkg.video.convert import VIDEO, Converted, Recipe
from nbpkg.video.files import hash_file, sync_and_close
from nbpkg.video.probe import MediaFacts

MANIFEST = "manifest.json"
_VERSION = 1


def write(
    folder: Path, *, session: str, source: str, facts: MediaFacts, recipe: Recipe | ViewRecipe, made: Converted
) -> dict:
    """Write what a folder holds and what it was made from; all other files must be complete.

    Parameters
    ----------
    folder
        The session's folder.
    session, source
        Session, and name of its source file or folder; no path, which would differ between machines.
    facts, recipe, made
        What went in, what was asked, what came out.
    """
    files = {path.name: {"bytes": path.stat().st_size, "sha256": hash_file(path)} for path in sorted(folder.iterdir())}
    content = {
        "version": _VERSION,
        "session": session,
        "recipe": _plain(asdict(recipe)),
        "source": {"file": source, **_plain(asdict(facts)), "decoded": made.decoded},
        "output": {"shape": list(made.store.shape), "frames_sha256": made.store.sha256, "files": files},
        "amiss": made.amiss,
        "tools": {
            "av": av.__version__,
            "opencv": cv2.__version__,
            "libavcodec": list(av.library_versions["libavcodec"]),
        },
    }
    with (folder / MANIFEST).open("w", encoding="utf-8") as stream:
        json.dump(content, stream, indent=1, ensure_ascii=False)
        sync_and_close(stream)
    return content


def read_finished(folder: Path, source_sha256: str, recipe: Recipe | ViewRecipe) -> dict | None:
    """Return the manifest of a session that is finished, current and whole; else None: it is to be made again."""
    try:
        content: dict = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        wanted = (_VERSION, source_sha256, _plain(asdict(recipe)))
        if (content["version"], content["source"]["sha256"], content["recipe"]) != wanted:
            return None
        for name, facts in content["output"]["files"].items():
            path = folder / PurePosixPath(name).name
            if path.stat().st_size != facts["bytes"] or hash_file(path) != facts["sha256"]:
                return None
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
    return content


def problems(content: Mapping) -> list[Problem]:
    """Return the repairs that a manifest names."""
    source = content["source"]["file"]
    return [Problem(text, file=source, severity="repaired") for text in content["amiss"]]


def media_row(content: Mapping, *, base: str, places: Mapping[str, str]) -> dict[str, object]:
    """Return the row of table ``media`` for a manifest.

    Parameters
    ----------
    content
        The manifest.
    base
        The folder of all sessions, as the table is to name it.
    places
        Each session's source, as the table is to name it.
    """
    session, source, output = content["session"], content["source"], content["output"]
    fps = Fraction(content["recipe"]["fps"])
    frames, height, width, _ = output["shape"]
    store = PurePosixPath(Path(base).as_posix()) / session
    return {
        "session": session,
        "store": str(store),
        "video": str(store / VIDEO) if VIDEO in output["files"] else "",
        "source": places[session],
        "frames": frames,
        "fps_num": fps.numerator,
        "fps_den": fps.denominator,
        "width": width,
        "height": height,
        "duration_ms": max(1, int(Fraction(source["duration"]) * 1000)),
        "source_frames": source["decoded"],
        "source_fps": float(Fraction(source["fps"])),
        "source_width": source["width"],
        "source_height": source["height"],
        "source_codec": source["codec"],
        "source_rotation": source["rotation"],
        "source_variable_rate": source["variable_rate"],
        "bytes": sum(facts["bytes"] for name, facts in output["files"].items() if name != VIDEO),
        "source_bytes": source["bytes"],
        "sha256": output["frames_sha256"],
        "source_sha256": source["sha256"],
    }


def _plain(values: Mapping[str, object]) -> dict[str, object]:
    """Write fractions as text, exactly."""
    return {name: str(value) if isinstance(value, Fraction) else value for name, value in values.items()}
