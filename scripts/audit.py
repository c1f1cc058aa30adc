"""Known vulnerabilities of the pinned packages, by pip-audit. `scripts/test` runs it.

Exit code 1: a package has a known vulnerability and there is a release without it. Where nobody can be asked (no network, no
advisory database behind the package index), it says so and passes: a gate must not fail because it is offline.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path

CONSTRAINTS = Path(__file__).resolve().parent / "constraints.txt"
SECONDS = 120


def audit() -> int:
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.json"
        command = [
            sys.executable, "-m", "pip_audit", "--progress-spinner", "off", "--disable-pip", "--no-deps",
            "--timeout", "10", "-r", str(CONSTRAINTS), "-f", "json", "-o", str(report),
        ]  # fmt: skip
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=False)
        except subprocess.TimeoutExpired:
            return skipped(f"no answer within {SECONDS} s")
        if not report.is_file():
            return skipped((done.stderr.strip().splitlines() or ["no report"])[-1])
        return judge(json.loads(report.read_text())["dependencies"])


def judge(packages: list[dict[str, object]]) -> int:
    audited = [package for package in packages if "skip_reason" not in package]
    if not audited:
        return skipped("the package index has no advisories")
    is_bad = False
    for package in audited:
        for found in package.get("vulns", []):  # type: ignore[attr-defined]
            fixed = ", ".join(found["fix_versions"])
            is_bad |= bool(fixed)
            print(
                f"{package['name']} {package['version']}: {found['id']}, {f'fixed in {fixed}' if fixed else 'no fix yet'}"
            )
    print(f"{len(audited)} of {len(packages)} pinned packages audited")
    return int(is_bad)


def skipped(why: str) -> int:
    print(f"skipped: {why[:200]}")
    return 0


if __name__ == "__main__":
    sys.exit(audit())
