# The pipeline as a graph: one rule per notebook; the same file runs on a laptop and, from a profile, on a cluster.
#
#   snakemake -c2 --config study=infant_engagement experiment=sample
#   snakemake --profile profiles/slurm --config study=infant_engagement experiment=sample      (docs/cluster.md)
#
# A stage is made again when its own settings, its raw files or a receipt before it change, and snakemake says which.
# Only the receipt is declared as output: stages keep their own artefacts and resume from them.
import shlex
import sys
from pathlib import Path

import yaml

from nbpkg import runs
from nbpkg.runs.graph import NODES, SHARED, input_folder, own_steps, reads_of, settings_of
from nbpkg.runs.graph import split_step, step_folder, worker_folder
from nbpkg.settings.experiment import read_file
from nbpkg.settings.site import read_site
from nbpkg.studies import protocol

FILE = config.get("file", f"params/{config.get('study', 'infant_engagement')}/{config.get('experiment', 'sample')}.yaml")
# What the site says; given with --config, values inside braces come as text.
LAUNCH = {key: yaml.safe_load(value) if isinstance(value, str) else value for key, value in config.get("launch", {}).items()}
CHANGES = {f"launch.{key}": "" if value is None else value for key, value in LAUNCH.items()}
VALUES = read_file(Path(FILE))
VALUES["overrides"] = {**(VALUES.get("overrides") or {}), **CHANGES}
STUDY, EXPERIMENT = protocol.check_values(VALUES)
SHARED_SETTINGS = EXPERIMENT.header.model_dump(include={"data", "seed", "threads", "inputs", "report"})
WORKERS = range(1, EXPERIMENT.header.launch.search_workers + 1)
STEPS = own_steps(EXPERIMENT)
SITE = read_site(config.get("site"))
# Not among `params`, so that other workers or another Python make nothing anew. With exec, signals reach the runner first.
RUN = f"exec {'python' if SITE and SITE.image else sys.executable} -m nbpkg run -f {FILE}"
OPTIONS = " ".join(f"-p {key} {shlex.quote(str(value))}" for key, value in CHANGES.items())

if SITE and SITE.image:

    container: SITE.image


localrules:
    all,
    report,


def name_of(step):
    """Name of the rule of a step, e.g. 05_train_final."""
    stage, phase = split_step(step)
    return f"{NODES[stage].folder}_{phase}".rstrip("_")


def phase_of(step):
    """What tells the notebook its phase."""
    phase = split_step(step)[1]
    return f"-p phase {phase}" if phase else ""


def inputs_of(step):
    """What a step reads."""
    stage, _ = split_step(step)
    return {
        "notebook": ancient(f"notebooks/{NODES[stage].notebook}.ipynb"),
        "receipts": [input_folder(EXPERIMENT, earlier) / "receipt.json" for earlier in reads_of(EXPERIMENT, step)],
        "raw": STUDY.sources(stage, EXPERIMENT),
    }


rule all:
    default_target: True
    input:
        EXPERIMENT.folder / "index.html",


for step in STEPS:
    rule:
        name:
            name_of(step)
        input:
            **inputs_of(step),
            workers=[worker_folder(step_folder(EXPERIMENT, step), k) / "ended" for k in WORKERS if step in SHARED],
        output:
            step_folder(EXPERIMENT, step) / "receipt.json",
        params:
            settings=settings_of(EXPERIMENT, step),
            shared=SHARED_SETTINGS,
            phase=phase_of(step),
        log:
            notebook=step_folder(EXPERIMENT, step) / "executed.ipynb",  # log.txt beside it keeps all attempts
        threads: max(1, EXPERIMENT.header.workers) if split_step(step)[0] in runs.PARALLEL else 1
        resources:
            **(SITE.resources(name_of(step)) if SITE else {}),
        shell:
            "{RUN} {input.notebook} {log.notebook} --log $(dirname {log.notebook})/log.txt {params.phase} {OPTIONS}"

    if step in SHARED and WORKERS:

        rule:
            name:
                f"{name_of(step)}_worker"
            input:
                **inputs_of(step),
            output:
                # Not the worker's receipt: in a job array the executor asks each task also for what the first one makes.
                touch(step_folder(EXPERIMENT, step) / "workers" / "{worker}" / "ended"),
            params:
                settings=settings_of(EXPERIMENT, step),
                shared=SHARED_SETTINGS,
                phase=phase_of(step),
                number=lambda wildcards: int(wildcards.worker),
            log:
                notebook=step_folder(EXPERIMENT, step) / "workers" / "{worker}" / "executed.ipynb",
            threads: max(1, EXPERIMENT.header.workers)
            resources:
                **(SITE.resources(f"{name_of(step)}_worker") if SITE else {}),
            shell:
                "{RUN} {input.notebook} {log.notebook} --log $(dirname {log.notebook})/log.txt {params.phase} {OPTIONS} "
                "-p launch.worker {params.number}"


rule report:
    input:
        [step_folder(EXPERIMENT, step) / "receipt.json" for step in STEPS],
    output:
        EXPERIMENT.folder / "index.html",
    params:
        folder=EXPERIMENT.folder,
    shell:
        f"{sys.executable} -m nbpkg report {{params.folder}}"
