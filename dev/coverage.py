#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Prints how much of each source file the tests run that need no control plane: dev/coverage.py [FILE…]

Unit, component, architecture and contract tests, of all crates. With files, only these are printed; the tests
are the same. Files of tests and of the testkit are left out. Files under the bound are listed once more at the
end; CONTRIBUTING.md says for each of them why.

LLVM reads the counters: its programs must be of the compiler's major version. They are taken from LLVM_COV
and LLVM_PROFDATA, from rustup's component llvm-tools, or from the system's packages (llvm-cov-22 for LLVM 22).
"""

import json
import os
import pathlib
import re
import shutil
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
BOUND = 70.0
TESTS = re.compile(r"(_tests\.rs|/tests/|/testkit/|/examples/|^tests/|^examples/)")


def ask(*command):
    return subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True).stdout


def llvm():
    """llvm-cov and llvm-profdata of the compiler's LLVM, as variables for cargo llvm-cov."""
    if os.environ.get("LLVM_COV") and os.environ.get("LLVM_PROFDATA"):
        return {}
    about = dict(line.split(": ", 1) for line in ask("rustc", "-vV").splitlines() if ": " in line)
    component = pathlib.Path(ask("rustc", "--print", "sysroot").strip(), "lib/rustlib", about["host"], "bin")
    if (component / "llvm-cov").exists():
        return {}
    major = about["LLVM version"].split(".")[0]
    found = {name: shutil.which(f"llvm-{name}-{major}") for name in ("cov", "profdata")}
    if not all(found.values()):
        sys.exit(
            f"coverage: llvm-cov and llvm-profdata of LLVM {major} are missing. Either brings them:\n"
            f"  rustup component add llvm-tools\n"
            f"  apt-get install llvm-{major}\n"
            f"or set LLVM_COV and LLVM_PROFDATA"
        )
    return {"LLVM_COV": found["cov"], "LLVM_PROFDATA": found["profdata"]}


def main():
    environment = os.environ | llvm()
    tool = ask("dev/cargo-tool.sh", "cargo-llvm-cov").strip()
    environment["PATH"] = f"{tool}{os.pathsep}{environment['PATH']}"
    # Without the model test, which explores states by the million.
    run = ["--locked", "--workspace", "--no-report", "--no-fail-fast", "--lib", "--bins"]
    run += ["--test", "architecture", "--test", "contracts", "--", "--quiet"]
    clean = ["cargo", "llvm-cov", "clean", "--profraw-only"]
    subprocess.run(clean, cwd=ROOT, env=environment, check=True)
    code = subprocess.run(["cargo", "llvm-cov", *run], cwd=ROOT, env=environment).returncode
    if code:
        sys.exit("coverage: the tests failed")
    report = ["cargo", "llvm-cov", "report", "--json", "--summary-only"]
    output = subprocess.run(report, cwd=ROOT, env=environment, check=True, stdout=subprocess.PIPE).stdout
    rows = []
    for file in json.loads(output)["data"][0]["files"]:
        name = os.path.relpath(file["filename"], ROOT)
        lines = file["summary"]["lines"]
        if not TESTS.search(name) and lines["count"]:
            rows.append((name, lines["covered"], lines["count"]))
    rows.sort()
    shown = [row for row in rows if len(sys.argv) == 1 or row[0] in sys.argv[1:]]
    for name, covered, count in shown:
        print(f"{100 * covered / count:6.1f} %  {covered:5} of {count:5}  {name}")
    covered, count = (sum(row[n] for row in rows) for n in (1, 2))
    print(f"{100 * covered / count:6.1f} %  {covered:5} of {count:5}  all {len(rows)} files")
    explained = (ROOT / "CONTRIBUTING.md").read_text()
    low = [(100 * covered / count, name) for name, covered, count in shown if 100 * covered / count < BOUND]
    print(f"coverage: {len(low)} files under {BOUND:.0f} %")
    for share, name in sorted(low):
        why = "" if f"`{name}`" in explained else "  (CONTRIBUTING.md does not say why)"
        print(f"{share:6.1f} %  {name}{why}")


if __name__ == "__main__":
    main()
