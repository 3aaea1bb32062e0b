"""The gallery's pages are what tools/gallery.py writes, and no recipe of a system takes longer to check than a second."""

import subprocess
import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[2]


def test_pages_are_the_generated_ones() -> None:
    spec = spec_from_file_location("gallery", ROOT / "tools" / "gallery.py")
    assert spec and spec.loader
    tool = module_from_spec(spec)
    spec.loader.exec_module(tool)
    stale = [path for path, content in tool.files().items() if path.read_text(encoding="utf-8") != content]
    assert stale == [], "python tools/gallery.py"


def test_every_system_is_in_the_table_once() -> None:
    systems = yaml.safe_load((ROOT / "tools" / "survey_systems.yaml").read_text(encoding="utf-8"))
    assert len(systems) == 37 == len({each["name"] for each in systems})
    assert all(("recipe" in each) != ("lacks" in each) for each in systems)


def test_check_of_a_system_imports_no_torch() -> None:
    code = ("import sys, omnikit; omnikit.check('survey/flamingo/full'); omnikit.check('survey/salmonn/tiny');"
            " print(*(name for name in ('torch', 'transformers', 'numpy') if name in sys.modules))")
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split() == []
