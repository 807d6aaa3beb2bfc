# Two commands matter: `make demo` runs the main job end to end, `make test` passes the tests. Both build .venv first.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
EXTRAS := yolo,classifier,npu,openvino,tensorrt,data,ray,text,text-openvino,tensorboard,dev
STAMP := $(VENV)/.installed
OUT ?= runs/demo

# Containers like to set it. Every child would compile PyTorch anew then: the tests took twice as long.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: setup demo check test test-fast bench bccd constraints clean

setup: $(STAMP)

$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(0 if (3, 11) <= v < (3, 14) else f"deploytk needs Python 3.11 to 3.13, this is {v[0]}.{v[1]}: make PYTHON=python3.12 ...")'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check 'uv==0.13.8'
	$(BIN)/uv pip install --quiet --python $(BIN)/python -e '.[$(EXTRAS)]' -c constraints.txt
	touch $(STAMP)

# Draws a small labelled set, trains on it, exports to the NPU, benches, judges, and says which report to open.
demo: setup
	$(BIN)/deploytk demo-data $(OUT)/data
	$(BIN)/deploytk run quickstart --data $(OUT)/data/data.yaml --out $(OUT)/run

check: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo

# Two processes: the tests wait for children most of the time. The tests of a file share what they have made, so they stay together.
# One thread of OpenMP in each: more than there are cores wait for each other busily (bench/LOG.md).
# A process that crashes is not begun anew: xdist then ends in an error of its own and no longer says which test it was.
PYTEST := OMP_NUM_THREADS=1 $(BIN)/pytest -q -n 2 --dist loadfile --no-loadscope-reorder --max-worker-restart 0

test: check
	$(PYTEST)

test-fast: setup
	$(PYTEST) -m 'not e2e and not gpu'

# Beside the peers, the suite, and the verdict on drawn and recorded series; then docs/performance.md. Half an hour on two
# cores, to be left alone meanwhile: what is timed comes first, what is only computed last.
bench: setup
	$(BIN)/python bench/models.py
	$(BIN)/python bench/peers/startup.py --rounds 10
	$(BIN)/python bench/peers/overhead.py
	$(BIN)/python bench/peers/benchmark_app.py
	$(BIN)/python bench/peers/search.py
	$(BIN)/python bench/peers/ultralytics_benchmark.py
	@if $(BIN)/python -c 'import mlperf_loadgen' 2>/dev/null; then \
		$(BIN)/python bench/peers/loadgen.py runs/models/mobilenetv3-small.onnx --rounds 4 --seconds 6; \
	else echo 'LoadGen is not installed (it has wheels for CPython 3.11 on Linux only): not measured'; fi
	$(BIN)/python bench/peers/regression.py
	$(BIN)/python bench/peers/suite.py
	$(BIN)/python bench/peers/guard.py
	@if test -f runs/bccd-relu/model.pt; then $(BIN)/python bench/peers/int8.py; \
	else echo 'int8.py needs runs/bccd-relu (make bccd): not measured'; fi
	@if test -f runs/bccd-relu/model.pt && test -f runs/omniglot/model.onnx; then $(BIN)/python bench/peers/int8_table.py; \
	else echo 'int8_table.py needs runs/bccd-relu (make bccd) and runs/omniglot (bench/peers/omniglot.py): not measured'; fi
	$(BIN)/python bench/peers/calibration_memory.py --data $(DATA)
	$(BIN)/python bench/peers/loader.py
	$(BIN)/python bench/peers/manifest.py
	$(BIN)/python bench/peers/pipeline.py
	$(BIN)/python bench/verdict_simulation.py
	$(BIN)/python bench/verdict_replay.py
	$(BIN)/python bench/peers/page.py

# The README's table: three networks on real images (DATA: the BCCD_Dataset folder, Pascal VOC). About an hour on two cores.
DATA ?= ../shared/data/bccd_voc
bccd: setup
	for v in silu relu leaky; do \
		$(BIN)/deploytk run bench/suites/bccd/bccd-$$v.yaml --data $(DATA) --out runs/bccd-$$v; \
	done; \
	$(BIN)/deploytk compare runs/bccd-silu runs/bccd-relu runs/bccd-leaky; \
	$(BIN)/python bench/suites/bccd/results.py runs/bccd-silu runs/bccd-relu runs/bccd-leaky

# Resolve all pinned versions again (every extra together, Python 3.11 to 3.13, no index addresses).
constraints: setup
	$(BIN)/uv pip compile pyproject.toml --all-extras --universal --python-version 3.11 --upgrade --quiet \
		--no-header --no-annotate --no-emit-index-url -o constraints.txt

clean:
	rm -rf $(VENV) runs
