# The pipeline as a graph: one rule per notebook; the same file runs on a laptop and, from a profile, on a cluster.
#
#   snakemake -c2 --config study=infant_engagement experiment=sample
#
# A stage is made again when its own settings, its raw files or a receipt before it change, and snakemake says which.
# Only the receipt is declared as output: stages keep their own artefacts and resume from them.
import sys
from pathlib import Path

from nbpkg import runs
from nbpkg.runs.graph import input_folder, own_stages, stage_folder
from nbpkg.settings.experiment import read_file
from nbpkg.studies import protocol

FILE = config.get("file", f"params/{config.get('study', 'infant_engagement')}/{config.get('experiment', 'sample')}.yaml")
VALUES = read_file(Path(FILE))
STUDY, EXPERIMENT = protocol.check_values(VALUES)
SHARED = EXPERIMENT.header.model_dump(include={"data", "seed", "threads", "phase", "inputs", "report"})
STAGES = own_stages(EXPERIMENT)


rule all:
    default_target: True
    input:
        EXPERIMENT.folder / "index.html",


for stage in STAGES:

    rule:
        name:
            runs.NODES[stage].folder
        input:
            notebook=ancient(f"notebooks/{runs.NODES[stage].notebook}.ipynb"),
            receipts=[input_folder(EXPERIMENT, earlier) / "receipt.json" for earlier in runs.NODES[stage].reads],
            raw=STUDY.sources(stage, EXPERIMENT),
        output:
            stage_folder(EXPERIMENT, stage) / "receipt.json",
        params:
            settings=EXPERIMENT.stages[stage].model_dump(mode="json"),
            shared=SHARED,
            python=sys.executable,
            file=FILE,
        log:
            notebook=stage_folder(EXPERIMENT, stage) / "executed.ipynb",
            text=stage_folder(EXPERIMENT, stage) / "log.txt",
        threads: max(1, EXPERIMENT.header.workers) if stage in runs.PARALLEL else 1
        shell:
            "{params.python} -m nbpkg run {input.notebook} {log.notebook} -f {params.file} 2>&1 | tee {log.text}"


rule report:
    input:
        [stage_folder(EXPERIMENT, stage) / "receipt.json" for stage in STAGES],
    output:
        EXPERIMENT.folder / "index.html",
    params:
        python=sys.executable,
        folder=EXPERIMENT.folder,
    shell:
        "{params.python} -m nbpkg report {params.folder}"
