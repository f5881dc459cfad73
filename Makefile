# Thin on purpose: every target is one readable line or two.
# Byte code is kept even where the environment says no, as in many containers: without it `import lightning` takes 10 s of CPU.
export PYTHONDONTWRITEBYTECODE :=
PYTHON ?= python3
BIN := .venv/bin
# Twice the two cores we plan for: notebooks mostly use one core, and those that may use two then run side by side.
CORES ?= 4
APPTAINER ?= apptainer
# Side by side in one graph, what takes longest first; it waits where one begins with what another made.
DEMO = infant_engagement/sample joint_engagement/sample gaze_target/sample looking_at_me/sample valence_fusion/sample valence_fusion/sample_atv
# Further networks of the same studies, which the tests look at, too: video, another architecture, clips.
MORE = gaze_target/sample_gazelle joint_engagement/sample_clips gaze_target/sample_video
BASE ?= python:3.12-slim
IMAGE ?= nbpkg.sif
PYTEST = $(BIN)/python -m pytest
SNAKEMAKE = $(BIN)/snakemake -c$(CORES) --rerun-triggers mtime input params --rerun-incomplete --quiet rules host

.PHONY: demo more test units-test browser-test slurm-test lint style types lab bench chaos docs lock container clean

# Nothing comes in but what the lock names by hash: uv, all extras, and the tools that build what has no wheel.
INSTALL = $(BIN)/uv pip install --quiet --python $(BIN)/python --build-constraints requirements.lock

.venv/.ready: pyproject.toml requirements.lock
	$(PYTHON) -m venv .venv
	sed -n '/^uv==/,/[^\\]$$/p' requirements.lock | $(BIN)/python -m pip install --quiet --require-hashes -r /dev/stdin
	$(INSTALL) --require-hashes -r requirements.lock
	$(INSTALL) --no-deps -e . && touch $@

demo: .venv/.ready  ## the main job on the embedded sample data, from raw files to an index of reports
	printf '%s\n' $(patsubst %/,%,$(sort $(dir $(DEMO)))) | xargs -n1 -P2 $(BIN)/python -m nbpkg sample
	$(SNAKEMAKE) --config experiments="$(DEMO)"
	$(BIN)/python -m nbpkg report outputs

more: demo  ## further experiments, which the tests look at
	$(SNAKEMAKE) --config experiments="$(DEMO) $(MORE)"
	$(BIN)/python -m nbpkg report outputs

# A browser and a cluster mostly wait, so their tests run beside the others; what they say comes when they are done.
test: style  ## everything that must hold
	$(MAKE) --no-print-directory demo DEMO="$(DEMO) $(MORE)"
	$(MAKE) --no-print-directory -k -j4 units-test browser-test slurm-test types

# Threads that wait asleep: beside other tests, spinning ones took four times the CPU.
units-test browser-test slurm-test chaos: export OMP_WAIT_POLICY = PASSIVE

units-test:
	OMP_NUM_THREADS=1 $(PYTEST) -n 3 --dist loadfile --ignore=tests/browser --ignore=tests/cluster/test_slurm.py

browser-test: .venv/.ready  ## the painter and the notebooks in JupyterLab
	$(PYTEST) tests/browser > .browser.log 2>&1; code=$$?; cat .browser.log; exit $$code

slurm-test: .venv/.ready  ## the sample experiment on a real one-node SLURM; after `make demo`
	$(PYTEST) tests/cluster/test_slurm.py > .slurm.log 2>&1; code=$$?; cat .slurm.log; exit $$code

lint: style types

style: .venv/.ready
	$(BIN)/ruff format --check . && $(BIN)/ruff check .

types: .venv/.ready
	$(BIN)/mypy && $(BIN)/lint-imports

lab: .venv/.ready
	$(BIN)/jupyter lab --notebook-dir=.

bench: .venv/.ready  ## side by side, in one run; needs the ffmpeg command
	$(BIN)/python -m bench

chaos: .venv/.ready  ## dozens of random kills instead of three
	NBPKG_KILLS=50 $(PYTEST) -k kill tests/test_runner_kill.py tests/training/test_workers.py
	NBPKG_KILLS=20 $(PYTEST) -k kill --ignore=tests/test_runner_kill.py --ignore=tests/training/test_workers.py

docs: .venv/.ready
	$(BIN)/python -m nbpkg docs

lock: .venv/.ready  ## requirements.lock after pyproject.toml changed; versions move only with `make lock UPGRADE=--upgrade`
	$(BIN)/uv pip compile --quiet --universal --generate-hashes --no-emit-index-url --no-header --no-annotate --all-extras \
	$(UPGRADE) -o requirements.lock pyproject.toml

container:  ## an image for a cluster; BASE is an image's name or a local .sif, e.g. with the site's mirror in it
	$(APPTAINER) build --force --build-arg BOOTSTRAP=$(if $(wildcard $(BASE)),localimage,docker) --build-arg BASE=$(BASE) \
	$(IMAGE) container.def

clean:
	rm -rf .venv .snakemake outputs/index.html $(foreach study,$(sort $(dir $(DEMO))),outputs/$(study) data/$(study)sample)
