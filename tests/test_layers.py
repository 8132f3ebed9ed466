"""The layers of the architecture, and what may load on ``import mmalign``."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]


def run(*code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, *code], cwd=ROOT, capture_output=True, text=True, check=False)


def test_contracts_of_import_linter_are_kept():
    result = run("-c", "from importlinter.cli import lint_imports_command; lint_imports_command()")
    assert result.returncode == 0, result.stdout + result.stderr


def test_contracts_see_the_linked_folders():
    result = run("-c", "import grimp; print(*grimp.build_graph('mmalign', cache_dir=None).modules)")
    assert {"mmalign.rewards", "mmalign.pipelines"} <= set(result.stdout.split()), result.stderr


def test_importing_the_package_loads_no_heavy_library():
    result = run("-c", "import sys, mmalign; print(*sys.modules)")
    assert result.returncode == 0, result.stderr
    assert not {"torch", "diffusers", "transformers", "gradio", "pydantic"} & set(result.stdout.split())
