"""How long importing takes. Target: `import nbpkg` under 0.3 s, without torch."""

from __future__ import annotations

import statistics
import subprocess
import sys

from bench.common import show

WHAT = {
    "import nbpkg": "import nbpkg",
    "what the Snakefile loads": "from nbpkg import runs, tables; from nbpkg.studies import protocol",
    "torch, for comparison": "import torch",
}


def main() -> list[dict]:
    rows = []
    for name, code in WHAT.items():
        timed = f"import sys, time; t = time.time(); {code}; print(time.time() - t, 'torch' in sys.modules)"
        done = [subprocess.run([sys.executable, "-c", timed], capture_output=True, text=True) for _ in range(3)]
        seconds = statistics.median(float(run.stdout.split()[0]) for run in done)
        rows.append({"import": name, "seconds": round(seconds, 3), "loads torch": done[0].stdout.split()[1]})
    show("Import time (median of 3)", rows)
    return rows


if __name__ == "__main__":
    main()
