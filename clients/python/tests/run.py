"""Runs all tests here, each file in a process of its own, and ends with a line that counts them.

    python tests/run.py [PATTERN]     only tests whose names contain the pattern

The hub is `target/debug/synchub`, or what SYNCHUB_BINARY names.
"""

import pathlib
import re
import subprocess
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).parent


def main():
    began = time.monotonic()
    runs = []
    for path in sorted(HERE.glob("test_*.py")):
        command = [sys.executable, "-B", "-m", "unittest", "discover", "-v", "-s", HERE, "-t", HERE, "-p", path.name]
        for pattern in sys.argv[1:]:
            command += ["-k", pattern]
        output = tempfile.TemporaryFile()
        runs.append((output, subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT)))
    counts = {"tests": 0, "failures": 0, "errors": 0, "skipped": 0}
    broken = 0
    for output, process in runs:
        process.wait()
        output.seek(0)
        text = output.read().decode(errors="replace")
        print(text)
        total = re.search(r"^Ran (\d+) tests? in", text, re.MULTILINE)
        named = {name: int(count) for name, count in re.findall(r"(failures|errors|skipped)=(\d+)", text[-200:])}
        for name, count in {"tests": int(total[1]) if total else 0, **named}.items():
            counts[name] += count
        # 5: no test was chosen from this file.
        broken += process.returncode not in (0, 5) and not named.get("failures") and not named.get("errors")
    failed = counts["failures"] + counts["errors"] + broken
    passed = max(0, counts["tests"] - failed - counts["skipped"])
    print(f"test result: {'FAILED' if failed else 'ok'}. {passed} passed; {failed} failed;"
          f" {counts['skipped']} skipped; in {time.monotonic() - began:.1f} s")
    sys.exit(1 if failed else 0)


main()
