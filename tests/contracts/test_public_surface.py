"""What plugins import stays as it is, unless the interface's version changes."""

from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_public_surface_is_the_recorded_one() -> None:
    spec = spec_from_file_location("public_surface", ROOT / "tools" / "public_surface.py")
    assert spec and spec.loader
    tool = module_from_spec(spec)
    spec.loader.exec_module(tool)
    before, now = set(tool.FILE.read_text(encoding="utf-8").splitlines()), set(tool.surface().splitlines())
    gone, new = "\n".join(sorted(before - now)), "\n".join(sorted(now - before))
    assert before == now, (f"What plugins may import has changed.\nGone:\n{gone}\nNew:\n{new}\nWhat is gone breaks plugins:"
                           " deprecate it for a minor version, or raise the major one (omnikit.contracts.interface). Then"
                           " record it: python tools/public_surface.py")
