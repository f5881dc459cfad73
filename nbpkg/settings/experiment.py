"""One experiment: a parameter file or the parameters cell of a notebook, checked as a whole.

Papermill accepts misspelt names, wrong types and stale values and exits 0, so the first working cell of each
notebook comes here; everything wrong is listed at once, before anything is computed.
"""

from __future__ import annotations

import ast
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar, get_args

import yaml
from pydantic import BaseModel, Field, ValidationError

from nbpkg.errors import Problem, SettingsError, raise_all
from nbpkg.settings.base import InputChoice, Name, ReportSettings, Settings
from nbpkg.settings.launch import LaunchSettings

Model = TypeVar("Model", bound=BaseModel)

STAGES = ("parse", "prepare", "stratify", "bake", "train", "evaluate", "paint", "compare")
OPTIONAL = ("paint", "compare")  # stages that an experiment runs only if it states settings for them: people must paint

PARAMETERS_CELL = """\
study = "infant_engagement"  # which study: a module of nbpkg/studies
experiment = "sample"  # which experiment: names params/<study>/<experiment>.yaml and the output folder
data = "data/infant_engagement/sample"  # folder of the raw data
outputs = "outputs"  # folder that receives everything we make
seed = 0  # seeds everything
device = "auto"  # auto, cpu, cuda or cuda:N
workers = 2  # processes working side by side
threads = 2  # threads of torch; part of the result's identity
phase = ""  # which run of a stage that runs several times
inputs = {}  # stage: experiment whose finished stage is used instead of this one's
report = {}  # frames: pixelated, full or none
launch = {}  # how many processes share the work: search workers, processes of one training
parse = {}  # settings of each stage; all empty means: take them from the experiment's file
prepare = {}
stratify = {}
bake = {}
train = {}
evaluate = {}
paint = {}
compare = {}
overrides = {}  # single settings to change, e.g. {"train.class_weights": False}
"""


class Header(Settings):
    """What holds for all stages of an experiment."""

    study: Name = Field(description="study: a module of nbpkg/studies")
    experiment: Name = Field(description="experiment: names the output folder")
    data: str = Field(min_length=1, description="folder of the raw data, relative to the project or absolute")
    outputs: str = Field("outputs", min_length=1, description="folder that receives everything we make")
    seed: int = Field(0, ge=0, lt=2**31, description="seeds everything")
    device: str = Field(
        "auto", pattern=r"^(auto|cpu|cuda(:\d+)?)$", description="where networks run: auto, cpu, cuda or cuda:N"
    )
    workers: int = Field(2, ge=0, le=256, description="processes working side by side; 0 works in the kernel itself")
    threads: int = Field(2, ge=1, le=256, description="threads of torch; part of the result's identity")
    phase: str = Field("", pattern=r"^[a-z0-9_-]*$", description="which run of a stage that runs several times")
    inputs: dict[str, str | InputChoice] = Field(
        default_factory=dict,
        description="stage: experiment whose finished stage is used instead of this one's; model: experiment whose "
        "network training begins with; system_<name>: experiment whose answers are evaluated with this one's",
    )
    report: ReportSettings = Field(default_factory=ReportSettings, description="what reports may show")
    launch: LaunchSettings = Field(default_factory=LaunchSettings, description="how many processes share the work")


@dataclass(frozen=True)
class Experiment:
    """A checked experiment.

    Parameters
    ----------
    header
        What holds for all stages.
    stages
        Settings of each stage the study knows, by stage name.
    root
        Project folder to which relative paths belong.
    kind
        What is learnt: ``clips`` (a class for each clip), ``heatmap`` (a place in each frame) or ``sequence`` (a value
        for each second).
    """

    header: Header
    stages: Mapping[str, BaseModel]
    root: Path
    kind: str = "clips"

    @property
    def data(self) -> Path:
        """Folder of the raw data."""
        return self.root / self.header.data

    def of(self, stage: str, model: type[Model]) -> Model:
        """Return the settings of a stage as the type the study gave it."""
        settings = self.stages[stage]
        if not isinstance(settings, model):
            raise SettingsError(f"Stage {stage!r} has {type(settings).__name__}, not {model.__name__}.")
        return settings

    @property
    def folder(self) -> Path:
        """Folder of the experiment's outputs."""
        return self.root / self.header.outputs / self.header.study / self.header.experiment


def project_root() -> Path:
    """Find the project: ``NBPKG_ROOT``, or the nearest folder upwards that holds ``notebooks`` and ``params``.

    A notebook runs in its caller's folder under papermill but in its own folder in JupyterLab; relative paths
    mean the same in both.
    """
    if "NBPKG_ROOT" in os.environ:
        return Path(os.environ["NBPKG_ROOT"])
    here = Path.cwd()
    for folder in (here, *here.parents):
        if (folder / "notebooks").is_dir() and (folder / "params").is_dir():
            return folder
    return here


def read_file(path: Path) -> dict[str, Any]:
    """Read a parameter file, refusing duplicate keys and anything that is no plain data.

    Raises
    ------
    SettingsError
        When the file is missing, is no YAML, repeats a key or holds something other than keys and values.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(
            f"The parameter file cannot be read: {error}.", where=str(path), remedy="Check the path and the file."
        ) from None
    try:
        values = yaml.load(text, Loader=_StrictLoader)  # noqa: S506 - a subclass of the safe loader
    except yaml.YAMLError as error:
        raise SettingsError(
            f"The parameter file is no valid YAML: {error}", where=str(path), remedy="Correct the line named above."
        ) from None
    if not isinstance(values, dict):
        raise SettingsError(
            "The parameter file holds no keys.", where=str(path), remedy="Start from params/<study>/sample.yaml."
        )
    return values


def read_cell(variables: Mapping[str, Any]) -> dict[str, Any]:
    """Collect the values of a notebook's parameters cell and of what papermill injected after it.

    Parameters
    ----------
    variables
        ``globals()`` of the notebook.

    Returns
    -------
    dict
        As a parameter file would give it. When no stage has settings, as in a notebook opened in JupyterLab, they
        come from the experiment's file, and the cell changes only what it states differently from the stored one.

    Raises
    ------
    SettingsError
        When the cell or the injected parameters set a name that is no parameter.
    """
    stock = _assignments(PARAMETERS_CELL)
    known = set(stock)
    unknown = {name for source in variables.get("In", []) for name in _parameter_names(source)} - known
    if unknown:
        problems = [_unknown_key(name, sorted(known)) for name in sorted(unknown)]
        raise_all(problems, SettingsError, summary="parameters cannot be used")
    cell = {name: variables[name] for name in stock if name in variables}
    if any(cell.get(stage) for stage in STAGES):
        return cell
    path = project_root() / "params" / str(cell["study"]) / f"{cell['experiment']}.yaml"
    changed = {name: value for name, value in cell.items() if value != stock[name]}
    return {**read_file(path), **changed}


def was_injected(variables: Mapping[str, Any]) -> bool:
    """Tell whether papermill put parameters into this notebook, so that nobody is at a front end."""
    return any(source.startswith("# Parameters") for source in variables.get("In", []))


def resolve(
    values: Mapping[str, Any],
    models: Mapping[str, type[BaseModel]],
    *,
    root: Path | None = None,
    kind: str = "clips",
    find_conflicts: Callable[[Mapping[str, BaseModel]], list[str]] = lambda _: [],
) -> Experiment:
    """Check all values of an experiment and fill in the defaults.

    Parameters
    ----------
    values
        As read by `read_file` or `read_cell`: header keys, a mapping for each stage, and ``overrides``.
    models
        The study's settings model for each stage.
    root
        Project folder; found by `project_root` when not given.
    kind
        What the study learns, as in `Experiment`.
    find_conflicts
        Names contradictions between the stages whose settings are in order.

    Raises
    ------
    SettingsError
        Listing every unknown key, wrong type, value out of range and contradiction.
    """
    values, problems = _apply_overrides(values)
    known = [*Header.model_fields, *STAGES]
    problems += [_unknown_key(str(key), known) for key in values if key not in known]
    for stage in STAGES:
        if stage not in models and values.get(stage):
            problems.append(Problem(f"{stage}: this study has no such stage yet.", remedy=f"Remove {stage!r}."))
    header_values = {key: values[key] for key in Header.model_fields if key in values}
    header = validated(Header, header_values, "", problems)
    wanted = {name: model for name, model in models.items() if name not in OPTIONAL or values.get(name)}
    stages = {name: validated(model, values.get(name) or {}, name, problems) for name, model in wanted.items()}
    if isinstance(header, Header):
        for stage in header.inputs:
            if stage not in models and stage != "model" and not stage.startswith("system_"):
                problems.append(_unknown_key(f"inputs.{stage}", [*models, "model", "system_<name>"]))
    checked = {name: found for name, found in stages.items() if found is not None}
    problems += [Problem(text) for text in find_conflicts(checked)]
    raise_all(problems, SettingsError, summary="the experiment's parameters cannot be used")
    return Experiment(_certain(header), checked, root or project_root(), kind)


def _certain(header: BaseModel | None) -> Header:
    if not isinstance(header, Header):
        raise SettingsError("The experiment's parameters cannot be used.")
    return header


def _apply_overrides(values: Mapping[str, Any]) -> tuple[dict[str, Any], list[Problem]]:
    """Copy the values and set each dotted key of ``overrides`` in the copy."""
    result = {key: dict(value) if isinstance(value, dict) else value for key, value in values.items()}
    problems = []
    overrides = result.pop("overrides", None) or {}
    if not isinstance(overrides, dict):
        return result, [Problem("overrides holds no keys.", expected="A mapping such as {train.class_weights: false}.")]
    for key, value in overrides.items():
        *path, last = str(key).split(".")
        place = result
        for part in path:
            inner = place.get(part)
            place[part] = dict(inner) if isinstance(inner, dict) else {} if inner is None else inner
            if not isinstance(place[part], dict):
                problems.append(Problem(f"overrides: {key!r} goes through {part!r}, which holds no keys."))
                break
            place = place[part]
        else:
            place[last] = value
    return result, problems


def validated(model: type[BaseModel], values: object, prefix: str, problems: list[Problem]) -> BaseModel | None:
    """Return values as a group of settings; None after adding to `problems`, in words, all that is wrong with them."""
    if not isinstance(values, Mapping):
        problems.append(Problem(f"{prefix}: {values!r} holds no keys.", expected="A mapping of settings."))
        return None
    try:
        return model.model_validate(dict(values))
    except ValidationError as error:
        problems.extend(_in_words(detail, model, prefix) for detail in error.errors(include_url=False))
        return None


def _in_words(detail: Any, model: type[BaseModel], prefix: str) -> Problem:
    """Say one of pydantic's findings as one of our problems."""
    place = ".".join(str(part) for part in (*([prefix] if prefix else []), *detail["loc"]))
    given = detail["input"]
    if detail["type"] == "extra_forbidden":
        group = place.removesuffix(str(detail["loc"][-1]))
        return _unknown_key(place, [f"{group}{name}" for name in _group_at(model, detail["loc"][:-1]).model_fields])
    if detail["type"] == "missing":
        return Problem(f"{place} is missing.", remedy="Add it; docs/params.md says what it means.")
    message = detail["msg"].removeprefix("Value error, ").removeprefix("Assertion failed, ")
    if detail["type"].startswith("float_") and isinstance(given, str):
        return Problem(f"{place} is the text {given!r}.", expected="A number.", remedy=_number_hint(given))
    what = f"{place}: {message}." if detail["type"] == "value_error" else f"{place} is {given!r}: {message}."
    return Problem(what.replace("..", "."))


def _group_at(model: type[BaseModel], place: Sequence[int | str]) -> type[BaseModel]:
    """Return the group of settings that a place lies in; names of a mapping and positions in a list lead no deeper."""
    for part in place:
        field = model.model_fields.get(str(part))
        model = (_group_in(field.annotation) if field is not None else None) or model
    return model


def _group_in(kind: Any) -> type[BaseModel] | None:
    """Return the group of settings in a type such as ``dict[str, Group]``, if there is one."""
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        return kind
    return next((found for inner in get_args(kind) if (found := _group_in(inner)) is not None), None)


def _number_hint(text: str) -> str:
    try:
        number = float(text)
    except ValueError:
        return "Write a number without quotes."
    return f"YAML reads this as text; write {number!r} with a decimal point, as in 1.0e-3."


def _unknown_key(place: str, known: Sequence[str]) -> Problem:
    from difflib import get_close_matches

    names = {key.rpartition(".")[2]: key for key in known}  # what lies before is the same and says nothing
    close = get_close_matches(place.rpartition(".")[2], names, n=1)
    remedy = f"Did you mean {names[close[0]]!r}?" if close else f"Known keys: {', '.join(known)}."
    return Problem(f"{place} is no known key.", remedy=remedy)


def _parameter_names(source: str) -> set[str]:
    """Names set by a cell, if it is a parameters cell: nothing but assignments, and injected or setting ``study``."""
    try:
        statements = ast.parse(source).body
    except SyntaxError:
        return set()
    if not statements or not all(isinstance(statement, ast.Assign) for statement in statements):
        return set()
    assigned = [target for s in statements if isinstance(s, ast.Assign) for target in s.targets]
    names = {target.id for target in assigned if isinstance(target, ast.Name)}
    return names if source.startswith("# Parameters") or "study" in names else set()


def _assignments(source: str) -> dict[str, Any]:
    statements = [s for s in ast.parse(source).body if isinstance(s, ast.Assign)]
    return {s.targets[0].id: ast.literal_eval(s.value) for s in statements if isinstance(s.targets[0], ast.Name)}


class _StrictLoader(yaml.SafeLoader):
    """A YAML loader that refuses to let a later key silently replace an earlier one."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[object] = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if not isinstance(key, str):
                problem = f"the key {key!r} is no text; put it in quotes (YAML reads on, off, yes, no and numbers so)"
                raise yaml.constructor.ConstructorError(None, None, problem, key_node.start_mark)
            if key in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key {key!r} stands twice", key_node.start_mark
                )
            seen.add(key)
        return super().construct_mapping(node, deep=deep)
