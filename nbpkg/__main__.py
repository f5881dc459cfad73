"""The command line: ``python -m nbpkg run|sample|check|report|new-study|gaze|looking|params|docs``."""

from __future__ import annotations

import argparse
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from nbpkg.errors import NbpkgError, SettingsError
from nbpkg.gaze.command import add_gaze_command
from nbpkg.metrics.looking.command import add_looking_command
from nbpkg.progress import log_to, say


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status; an error of ours is said in words, without a call stack."""
    options = _parser().parse_args(arguments)
    try:
        return int(options.command(options))
    except NbpkgError as error:
        say(f"{type(error).__name__}: {error}")
        return 1
    except KeyboardInterrupt:  # before `run` takes the signals, or in a command that has nothing to save
        return 128 + signal.SIGINT


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m nbpkg", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    run = commands.add_parser("run", help="execute one notebook with a parameter file")
    run.add_argument("notebook", type=Path, help="e.g. notebooks/05_train.ipynb")
    run.add_argument("output", type=Path, nargs="?", help="executed copy; by default in the stage's folder")
    run.add_argument("-f", "--file", type=Path, required=True, help="parameter file")
    run.add_argument("-p", "--set", nargs=2, action="append", default=[], metavar=("KEY", "VALUE"), dest="changes")
    run.add_argument("--log", type=Path, help="file that receives what is said, beside the screen")
    run.set_defaults(command=_run)

    sample = commands.add_parser("sample", help="generate a study's sample data")
    sample.add_argument("study")
    sample.add_argument("folder", type=Path, nargs="?", help="by default data/<study>/sample")
    sample.add_argument("--seed", type=int, default=0)
    sample.set_defaults(command=_sample)

    check = commands.add_parser("check", help="check a parameter file and what its finished stages wrote")
    check.add_argument("-f", "--file", type=Path, required=True, help="parameter file")
    check.add_argument("--old", action="store_true", help="list earlier runs that could be deleted")
    check.set_defaults(command=_check)

    report = commands.add_parser("report", help="write the index of reports")
    report.add_argument("outputs", type=Path, nargs="?", default=Path("outputs"))
    report.set_defaults(command=_report)

    new_study = commands.add_parser("new-study", help="write a study that runs at once, to be changed into your own")
    new_study.add_argument("name", help="e.g. shared_reading: lower-case letters, digits and '_'")
    new_study.add_argument(
        "--kind", default="clips", help="what it learns: clips (default), heatmap, sequence, people or tracks"
    )
    new_study.set_defaults(command=_new_study)

    params = commands.add_parser("params", help="rewrite the comments of a parameter file")
    params.add_argument("file", type=Path)
    params.set_defaults(command=_params)

    add_gaze_command(commands)
    add_looking_command(commands)

    docs = commands.add_parser("docs", help="write docs/tables.md and docs/params.md")
    docs.add_argument("folder", type=Path, nargs="?", default=Path("docs"))
    docs.set_defaults(command=_docs)
    return parser


def _values(options: argparse.Namespace) -> dict[str, Any]:
    """Read the parameter file and put changes from the command line into its overrides."""
    import yaml

    from nbpkg.settings.experiment import read_file

    values = read_file(options.file)
    changes = {key: yaml.safe_load(value) for key, value in getattr(options, "changes", [])}
    return {**values, "overrides": {**(values.get("overrides") or {}), **changes}}


def _run(options: argparse.Namespace) -> int:
    from nbpkg import runner
    from nbpkg.studies import protocol

    if not options.notebook.is_file():
        raise SettingsError("There is no such notebook.", where=str(options.notebook), remedy="Check the path.")
    values = _values(options)
    _, experiment = protocol.check_values(values)
    with log_to(options.log):
        return runner.run_notebook(options.notebook, options.output, values, experiment)


def _sample(options: argparse.Namespace) -> int:
    import importlib

    from nbpkg.studies import protocol

    protocol.load(options.study)
    folder = options.folder or Path("data") / options.study / "sample"
    module = importlib.import_module(f"nbpkg.sample.{options.study}")
    module.make_sample(folder, seed=options.seed)
    say(f"Sample data of {options.study}: {folder}")
    return 0


def _check(options: argparse.Namespace) -> int:
    from nbpkg.runs import graph, inspect
    from nbpkg.studies import protocol

    _, experiment = protocol.check_values(_values(options))
    say(f"{options.file}: settings are in order.")
    status = 0
    for name in graph.own_steps(experiment):
        text, intact = inspect.state_in_words(experiment, name)
        say(text)
        status = status if intact else 1
        if options.old:
            for folder in inspect.older_runs(experiment, name):
                say(f"  older run: {folder}")
    return status


def _report(options: argparse.Namespace) -> int:
    from nbpkg import report

    say(f"Index of reports: {report.write_index(options.outputs)}")
    return 0


def _new_study(options: argparse.Namespace) -> int:
    from nbpkg.scaffold.write import checkout, new_study

    root = checkout()
    written = new_study(options.name, kind=options.kind, root=root)
    _docs(argparse.Namespace(folder=root / "docs"))
    say(
        "\n".join(
            ["Written:", *(f"  {path.relative_to(root)}" for path in written), "docs/params.md lists its settings."]
        )
    )
    say(
        f"Now: python -m nbpkg sample {options.name}, then "
        f"snakemake -c2 --config study={options.name} experiment=sample; docs/adding_a_study.md goes on from there."
    )
    return 0


def _params(options: argparse.Namespace) -> int:
    from nbpkg.settings.document import write_yaml
    from nbpkg.settings.experiment import read_file
    from nbpkg.studies import protocol

    values = read_file(options.file)
    study, _ = protocol.check_values(values)
    title = f"{study.card.title}: experiment {values['experiment']}"
    options.file.write_text(write_yaml(values, study.settings, title=title), encoding="utf-8")
    return 0


def _docs(options: argparse.Namespace) -> int:
    from nbpkg import tables
    from nbpkg.settings import document
    from nbpkg.studies import protocol

    (options.folder / "tables.md").write_text(tables.describe(), encoding="utf-8")
    models = {name: protocol.load(name).settings for name in protocol.names()}
    (options.folder / "params.md").write_text(document.describe(models), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
