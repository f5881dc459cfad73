# The pipeline as a graph: one rule per notebook; the same file runs on a laptop and, from a profile, on a cluster.
#
#   snakemake -c2 --config study=infant_engagement experiment=sample
#   snakemake -c2 --config experiments="infant_engagement/sample gaze_target/sample"    (side by side, as `make demo`)
#   snakemake --profile profiles/slurm --config study=infant_engagement experiment=sample      (docs/cluster.md)
#
# A stage is made again when its own settings, its raw files or a receipt before it change, and snakemake says which.
# Only the receipt is declared as output: stages keep their own artefacts and resume from them.
import shlex
import sys
from pathlib import Path

import yaml

from nbpkg import runs
from nbpkg.errors import SettingsError
from nbpkg.runs.graph import NODES, SHARED, input_folder, own_steps, reads_of, settings_of
from nbpkg.runs.graph import split_step, step_folder, worker_folder
from nbpkg.settings.experiment import read_file
from nbpkg.settings.site import read_site
from nbpkg.studies import protocol

ONE = f"{config.get('study', 'infant_engagement')}/{config.get('experiment', 'sample')}"
NAMES = config.get("experiments", ONE).split()
FILES = [config["file"]] if config.get("file") else [f"params/{name}.yaml" for name in NAMES]
# What the site says; given with --config, values inside braces come as text.
LAUNCH = {key: yaml.safe_load(value) if isinstance(value, str) else value for key, value in config.get("launch", {}).items()}
CHANGES = {f"launch.{key}": "" if value is None else value for key, value in LAUNCH.items()}
SITE = read_site(config.get("site"))
OPTIONS = " ".join(f"-p {key} {shlex.quote(str(value))}" for key, value in CHANGES.items())
# Not among `params`, so that other workers or another Python make nothing anew. With exec, signals reach the runner first.
RUN = f"exec {'python' if SITE and SITE.image else sys.executable} -m nbpkg run -f {{input.file}}"
RUN += " {input.notebook} {log.notebook} --log $(dirname {log.notebook})/log.txt {params.phase} {OPTIONS}"
# Where several experiments run side by side, each line says whose it is.
WHOSE = "2> >(exec sed -u 's|^|{rule}: |' >&2)" if len(FILES) > 1 else ""

if SITE and SITE.image:

    container: SITE.image


def read_experiment(file):
    """Study and experiment of a parameter file, with what the site says."""
    values = read_file(Path(file))
    try:
        return protocol.check_values({**values, "overrides": {**(values.get("overrides") or {}), **CHANGES}})
    except SettingsError as error:
        raise SettingsError(str(error), where=file) from error


def name_of(step):
    """Name of the rule of a step, e.g. 05_train_final."""
    stage, phase = split_step(step)
    return f"{NODES[stage].folder}_{phase}".rstrip("_")


def phase_of(step):
    """What tells the notebook its phase."""
    phase = split_step(step)[1]
    return f"-p phase {phase}" if phase else ""


def inputs_of(file, step):
    """What a step of the experiment in this file reads."""
    study, experiment = EXPERIMENTS[file]
    stage, _ = split_step(step)
    return {
        "file": ancient(file),
        "notebook": ancient(f"notebooks/{NODES[stage].notebook}.ipynb"),
        "receipts": [input_folder(experiment, earlier) / "receipt.json" for earlier in reads_of(experiment, step)],
        "raw": study.sources(stage, experiment),
    }


EXPERIMENTS = {file: read_experiment(file) for file in FILES}


rule all:
    default_target: True
    localrule: True
    input:
        [experiment.folder / "index.html" for _, experiment in EXPERIMENTS.values()],


for place, (file, (_, experiment)) in enumerate(EXPERIMENTS.items()):
    header = experiment.header
    prefix = f"{header.study}_{header.experiment}_" if len(FILES) > 1 else ""
    shared_settings = header.model_dump(include={"data", "seed", "threads", "inputs", "report"})

    for step in own_steps(experiment):
        workers = range(1, header.launch.search_workers + 1) if step in SHARED else ()
        threads_wanted = max(1, header.workers) if split_step(step)[0] in runs.PARALLEL else 1

        rule:
            name:
                f"{prefix}{name_of(step)}"
            input:
                **inputs_of(file, step),
                workers=[worker_folder(step_folder(experiment, step), k) / "ended" for k in workers],
            output:
                step_folder(experiment, step) / "receipt.json",
            params:
                settings=settings_of(experiment, step),
                shared=shared_settings,
                phase=phase_of(step),
            log:
                notebook=step_folder(experiment, step) / "executed.ipynb",  # log.txt beside it keeps all attempts
            threads: threads_wanted
            priority: -place
            resources:
                **(SITE.resources(name_of(step)) if SITE else {}),
            shell:
                f"{RUN} {WHOSE}"

        if workers:

            rule:
                name:
                    f"{prefix}{name_of(step)}_worker"
                input:
                    **inputs_of(file, step),
                output:
                    # Not the worker's receipt: in a job array the executor asks each task also for what the first one makes.
                    touch(step_folder(experiment, step) / "workers" / "{worker}" / "ended"),
                params:
                    settings=settings_of(experiment, step),
                    shared=shared_settings,
                    phase=phase_of(step),
                    number=lambda wildcards: int(wildcards.worker),
                log:
                    notebook=step_folder(experiment, step) / "workers" / "{worker}" / "executed.ipynb",
                threads: threads_wanted
                priority: -place
                resources:
                    **(SITE.resources(f"{name_of(step)}_worker") if SITE else {}),
                shell:
                    f"{RUN} -p launch.worker {{params.number}} {WHOSE}"

    rule:
        name:
            f"{prefix}report"
        localrule: True
        input:
            [step_folder(experiment, step) / "receipt.json" for step in own_steps(experiment)],
        output:
            experiment.folder / "index.html",
        params:
            folder=experiment.folder,
        priority: -place
        shell:
            f"{sys.executable} -m nbpkg report {{params.folder}}"
