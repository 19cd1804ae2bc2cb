"""The plan is made at every call of snakemake, so it must load fast and without torch.

Processor seconds are counted, which other work on the machine does not stretch as it does the clock.
"""

from __future__ import annotations

import subprocess
import sys

CODE = """
import sys, time
start = time.process_time()
import mpno.plan
print(time.process_time() - start, *sorted({"torch", "numpy", "pandas", "h5py", "scipy"} & set(sys.modules)))
"""


def test_the_plan_loads_no_torch_and_takes_under_half_a_second() -> None:
    seconds = []
    for _ in range(4):
        done = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, check=True)
        took, *heavy = done.stdout.split()
        assert heavy == []
        seconds.append(float(took))
    assert min(seconds) < 0.5, f"importing mpno.plan took {min(seconds):.2f} s at best"
