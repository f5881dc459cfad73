"""Where a search is written down: Optuna's journal beside the results, or a database that is named by a URL.

Whatever it is, the turn of the workers is a lock in the folder of the search, and their leases are files.
"""

from __future__ import annotations

import logging
import os
import secrets
import warnings
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optuna
import sqlalchemy
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError, SQLAlchemyError

from nbpkg.errors import NbpkgError, SettingsError, StageError
from nbpkg.runs.files import new_file
from nbpkg.settings.launch import FROM_ENVIRONMENT
from nbpkg.training.journal import Journal, hold

FILE, NAME = "search.journal", "search.name"
VARIABLE = "NBPKG_SEARCH_STORAGE"
PATIENCE = 60  # seconds for which SQLite waits for another writer


@dataclass(frozen=True)
class Storage:
    """An open storage; made by `open_storage`.

    Parameters
    ----------
    folder
        The folder of the search.
    place
        The journal or the database, without a password.
    study
        Name of the search there.
    optuna
        Optuna's storage.
    journal
        The journal; None for a database.
    """

    folder: Path
    place: str
    study: str
    optuna: optuna.storages.BaseStorage
    journal: Journal | None

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Keep all other workers of the search out of the block."""
        with hold(turn_file(self.folder)), self.talk():
            yield

    def many(self) -> AbstractContextManager[None]:
        """Flush to disk once after the block."""
        return nullcontext() if self.journal is None else self.journal.many()

    @contextmanager
    def talk(self) -> Iterator[None]:
        """Use the storage in the block: Optuna keeps quiet, and what the database says is an error in words."""
        with _quiet():
            try:
                yield
            except (SQLAlchemyError, optuna.exceptions.StorageInternalError) as error:
                raise _say(error, self.place) from None
            finally:
                # No connection outlives its use: a training lasts for hours, and readers of clips are forked off here.
                if isinstance(self.optuna, optuna.storages.RDBStorage):
                    self.optuna.engine.dispose()


def turn_file(folder: Path) -> Path:
    """Return the file that is held by the worker whose turn it is."""
    return folder / f"{FILE}.turn"


def open_storage(folder: Path, name: str, *, url: str) -> Storage:
    """Open the storage of a search, or begin it; only while the turn of the search is held.

    Parameters
    ----------
    folder
        The folder of the search.
    name
        Name of the search.
    url
        Empty for the journal in the folder, a database URL, or ``environment`` for the one in NBPKG_SEARCH_STORAGE.

    Raises
    ------
    SettingsError
        When the variable is missing, the URL or its driver cannot be used, or the search was begun somewhere else.
    StageError
        When the journal or the database cannot be read.
    """
    here = folder / NAME
    begun = FILE if (folder / FILE).is_file() else "a database" if here.is_file() else ""
    if begun and (begun == FILE) != (not url):
        raise SettingsError(
            f"launch.storage is {'empty' if not url else 'a database'}, but the search was begun in {begun}.",
            where=str(folder),
            expected="One storage for all workers, from the first to the last.",
            remedy="Set launch.storage as it was, or choose another experiment name.",
        )
    if not url:
        return _open_journal(folder, name)
    if not here.is_file():  # unique, whatever else the database holds; the path is there for people
        with new_file(here) as temporary:
            temporary.write_text(f"{_describe(folder)} {secrets.token_hex(8)}\n", encoding="utf-8")
    return _open_database(folder, here.read_text(encoding="utf-8").strip(), _resolve(url))


def find_storage(folder: Path, name: str, *, url: str) -> Storage | None:
    """Open the storage of a search to look at it; None when the search has not begun, and nothing is changed."""
    begun = any((folder / file).is_file() for file in (FILE, NAME))
    return open_storage(folder, name, url=url) if begun else None


def _open_journal(folder: Path, name: str) -> Storage:
    with _quiet():
        try:
            journal = Journal(folder / FILE)
            return Storage(folder, str(journal.path), name, optuna.storages.JournalStorage(journal), journal)
        except (ValueError, KeyError) as error:
            raise StageError(
                f"The journal of the search cannot be read: {error}.",
                where=str(folder / FILE),
                expected="One complete record on each line.",
                remedy="Bring the file back from a copy, or move it away to begin the search again.",
            ) from None


def _open_database(folder: Path, name: str, url: sqlalchemy.URL) -> Storage:
    place = url.set(password=None, query={}).render_as_string()
    how: dict[str, Any] = {"connect_args": {"timeout": PATIENCE}} if url.get_backend_name() == "sqlite" else {}
    with _quiet():
        try:
            database = optuna.storages.RDBStorage(url.render_as_string(hide_password=False), engine_kwargs=how)
        except (ImportError, NoSuchModuleError):
            raise SettingsError(
                f"The Python package for databases of the kind {url.drivername!r} is not installed.",
                where=place,
                remedy="Install the one that SQLAlchemy names for it, e.g. psycopg for postgresql+psycopg://.",
            ) from None
        except (SQLAlchemyError, optuna.exceptions.StorageInternalError, RuntimeError) as error:
            raise _say(error, place) from None
    return Storage(folder, place, name, database, None)


def _resolve(url: str) -> sqlalchemy.URL:
    """Return the URL that is meant."""
    text = os.environ.get(VARIABLE, "") if url == FROM_ENVIRONMENT else url
    if not text:
        raise SettingsError(
            f"launch.storage is {FROM_ENVIRONMENT!r}, but there is no variable {VARIABLE}.",
            expected="The URL of a database in it, for every worker.",
            remedy=f"Write 'export {VARIABLE}=postgresql://…' into the job script, or clear launch.storage.",
        )
    try:
        return sqlalchemy.make_url(text)
    except ArgumentError:
        raise SettingsError(
            "The URL of the database cannot be read.",  # without it: it may hold a password
            where=VARIABLE if url == FROM_ENVIRONMENT else "launch.storage",
            expected="Such as postgresql://user@host/name or sqlite:////shared/search.db.",
        ) from None


def _say(error: Exception, place: str) -> NbpkgError:
    """Say in words what the database says, one line of it; the driver's own words hold no password."""
    cause = error.__cause__ if isinstance(error, optuna.exceptions.StorageInternalError) else error
    words = str(cause.orig if isinstance(cause, DBAPIError) else cause).strip().splitlines() or ["no reason given"]
    return StageError(
        f"The database of the search cannot be used: {words[0]}.",
        where=place,
        expected="A database that this machine reaches and may write.",
        remedy="Check the URL, the account and the network, and start this worker again; it goes on with what is left.",
    )


def _describe(folder: Path) -> str:
    """Name a search for people: study, experiment, stage, run, task and variable, which are the ends of its path."""
    return "/".join(folder.resolve().parts[1:][-9:])[-400:]  # a study's name has at most 512 letters


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep Optuna from announcing studies, and that its journal is new, which it has been since 2022."""
    logger = logging.getLogger("optuna")
    level = logger.level
    logger.setLevel(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            yield
    finally:
        logger.setLevel(level)
