# The pipeline as a graph: one rule per notebook; the same file runs on a laptop and, from a profile, on a cluster.
#
#   snakemake -c2 --config study=infant_engagement experiment=sample
#
# A stage is made again when its own settings, its raw files or a receipt before it change, and snakemake says which.
# Only the receipt is declared as output: stages keep their own artefacts and resume from them.
import sys
from pathlib import Path

from nbpkg import runs
from nbpkg.runs.graph import NODES, input_folder, own_steps, reads_of, settings_of, split_step, step_folder
from nbpkg.settings.experiment import read_file
from nbpkg.studies import protocol

FILE = config.get("file", f"params/{config.get('study', 'infant_engagement')}/{config.get('experiment', 'sample')}.yaml")
VALUES = read_file(Path(FILE))
STUDY, EXPERIMENT = protocol.check_values(VALUES)
SHARED = EXPERIMENT.header.model_dump(include={"data", "seed", "threads", "inputs", "report"})
STEPS = own_steps(EXPERIMENT)


rule all:
    default_target: True
    input:
        EXPERIMENT.folder / "index.html",


for step in STEPS:
    stage, phase = split_step(step)

    rule:
        name:
            f"{NODES[stage].folder}_{phase}".rstrip("_")
        input:
            notebook=ancient(f"notebooks/{NODES[stage].notebook}.ipynb"),
            receipts=[input_folder(EXPERIMENT, earlier) / "receipt.json" for earlier in reads_of(EXPERIMENT, step)],
            raw=STUDY.sources(stage, EXPERIMENT),
        output:
            step_folder(EXPERIMENT, step) / "receipt.json",
        params:
            settings=settings_of(EXPERIMENT, step),
            shared=SHARED,
            python=sys.executable,
            file=FILE,
            phase=f"-p phase {phase}" if phase else "",
        log:
            notebook=step_folder(EXPERIMENT, step) / "executed.ipynb",
            text=step_folder(EXPERIMENT, step) / "log.txt",
        threads: max(1, EXPERIMENT.header.workers) if stage in runs.PARALLEL else 1
        shell:
            "{params.python} -m nbpkg run {input.notebook} {log.notebook} -f {params.file} {params.phase} 2>&1 | tee {log.text}"


rule report:
    input:
        [step_folder(EXPERIMENT, step) / "receipt.json" for step in STEPS],
    output:
        EXPERIMENT.folder / "index.html",
    params:
        python=sys.executable,
        folder=EXPERIMENT.folder,
    shell:
        "{params.python} -m nbpkg report {params.folder}"
