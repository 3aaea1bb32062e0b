"""README and docs/ say what works: command lines compose, recipes and the plugin too, links lead somewhere."""

import ast
import re
import runpy
import shlex
import sys
import tomllib
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import pytest
import torch

from omnikit import cli, registry
from omnikit.commands.eval import COLUMNS
from omnikit.commands.report import stage_table
from omnikit.contracts.specs import KINDS, ImageSpec
from omnikit.contracts.types import Signal
from omnikit.paths import recipe_files
from omnikit.plan.plan import make
from omnikit.recipe.compose import compose

ROOT = Path(__file__).parent.parent
GENERATED = re.compile(r"docs/(index\.md|recipes/.*|reference/.*|howto/plugins/.*)")  # by tools/make_reference.py
PAGES = [page for page in sorted([ROOT / "README.md", *ROOT.glob("docs/**/*.md"), *ROOT.glob("recipes/*/*.md"),
                                  *ROOT.glob("plugins/*/README.md")])
         if not GENERATED.fullmatch(page.relative_to(ROOT).as_posix())]
BLOCK = re.compile(r"^```([^\n]*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
TITLE = re.compile(r'title="([^"]+)"')
HOW_TO = ROOT / "docs" / "howto" / "write_a_plugin.md"
PRINTED = runpy.run_path(str(ROOT / "tools" / "printed_outputs.py"))
WRONG = ("whipser", "stride=7")  # lines that are shown with the message they give
HOSTS = re.compile(r"pypi\.org|pythonhosted|anaconda\.org|index-url|extra-index|npmjs|artifactory|/simple/", re.IGNORECASE)


def blocks(page: Path) -> list[tuple[str, str]]:
    """Give (what stands behind the backticks, content) of each code block."""
    return [(found.group(1), found.group(2)) for found in BLOCK.finditer(page.read_text(encoding="utf-8"))]


def command_lines() -> list[str]:
    """Give every omnikit command line of the pages, each once."""
    texts = [text.replace("\\\n", " ") for page in PAGES for info, text in blocks(page) if info in ("", "bash")]
    lines = [" ".join(line.split()) for text in texts for line in text.splitlines() if line.startswith("omnikit ")]
    return [line for line in dict.fromkeys(lines) if not any(word in line for word in WRONG)]


@pytest.fixture
def shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The current folder: it holds every file that the pages show, and the how-to's plugin is installed."""
    site = tmp_path / "site"
    for page in PAGES:
        for info, text in blocks(page):
            if title := TITLE.search(info):
                write((site if page == HOW_TO else tmp_path) / title.group(1), text)
    install(site)
    monkeypatch.syspath_prepend(str(site))
    monkeypatch.chdir(tmp_path)
    registry.forget()
    yield tmp_path
    for name in [name for name in sys.modules if name.startswith("omnikit_frames")]:
        del sys.modules[name]
    monkeypatch.undo()
    registry.forget()


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def install(site: Path) -> None:
    """Do what pip does with the how-to's package: write down what its pyproject.toml states, and its empty files."""
    project = tomllib.loads((site / "pyproject.toml").read_text())["project"]
    groups = [f"[{group}]\n" + "".join(f"{name} = {target}\n" for name, target in points.items())
              for group, points in project["entry-points"].items()]
    info = site / f"{project['name'].replace('-', '_')}-{project['version']}.dist-info"
    write(info / "entry_points.txt", "\n".join(groups))
    write(info / "METADATA", f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n")
    write(site / "omnikit_frames" / "__init__.py", "")
    write(site / "omnikit_frames" / "conf" / "__init__.py", "")


@pytest.mark.parametrize("line", command_lines())
def test_command_line_of_a_page_is_accepted(line: str, shown: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _, command, *rest = shlex.split(line)
    if command in ("train", "check") or (command == "show" and (rest[0] in recipe_files() or rest[0].endswith(".yaml"))):
        overrides = [word.partition(",")[0] if "-m" in rest else word for word in rest[1:] if "=" in word or word[0] in "+~"]
        flags = [word for word in rest[1:] if word.startswith("-")]
        make(compose(rest[0], overrides))
        assert_options(command, flags, capsys)
    elif command in ("list", "show", "completion"):
        assert cli.main([command, *rest]) == 0
    else:
        assert_options(command, [word for word in rest if word.startswith("-")], capsys)


def assert_options(command: str, flags: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """Hold flags against the command's help; an unknown command has none."""
    with pytest.raises(SystemExit):
        cli.main([command, "--help"])
    known = re.findall(r"(?<!\w)--?[a-z-]+", capsys.readouterr().out)
    assert set(flags) <= set(known)


def marked_blocks() -> list[tuple[str, str, str]]:
    """Give mark, command and text of every block that is said to be printed."""
    pages = [page.read_text(encoding="utf-8") for page in PRINTED["PAGES"]]
    return [found.group(1, 2, 4) for text in pages for found in PRINTED["MARKED"].finditer(text)]


@pytest.mark.parametrize(("mark", "command", "text"), marked_blocks(), ids=[command for _, command, _ in marked_blocks()])
def test_printed_block_is_what_the_command_prints_now(mark: str, command: str, text: str) -> None:
    assert PRINTED["printed"](command, errors=mark == "errors of") == text, "renew it with python tools/printed_outputs.py"


def tables_of_trainings() -> list[tuple[str, str, str]]:
    """Give command, recipe and lines of every table whose numbers come from a training."""
    mark = re.compile(r"^<!-- printed by training: omnikit (\w+) (\S+) -->\n```[^\n]*\n(.*?)\n(?:\n|```)",
                      re.MULTILINE | re.DOTALL)
    return [found.group(1, 2, 3) for page in PRINTED["PAGES"] for found in mark.finditer(page.read_text(encoding="utf-8"))]


@pytest.mark.parametrize(("command", "recipe", "table"), tables_of_trainings())
def test_table_of_a_training_has_the_columns_and_lines_that_are_printed_now(command: str, recipe: str, table: str) -> None:
    plan = make(compose(recipe))
    columns = {"train": re.split("  +", stage_table([]).strip()), "eval": ["data", "rows", *COLUMNS.values()]}[command]
    titles = {"train": plan.stages, "eval": plan.recipe.evaluate.data}[command]
    head, *lines = table.splitlines()
    assert set(re.split("  +", head.strip())) <= set(columns)
    assert [line.split()[0] for line in lines if not line.startswith("   ")] == list(titles)


@pytest.mark.parametrize("page", PRINTED["PAGES"], ids=lambda page: page.relative_to(ROOT).as_posix())
def test_every_block_of_printed_text_is_marked(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    plain = [found for found in BLOCK.finditer(text) if found.group(1) in ("", "text")
             and found.group(2).split()[0] not in ("omnikit", "make", "pip", "source")]
    unmarked = [found.group(2) for found in plain if not text[:found.start()].endswith(" -->\n")]
    assert unmarked == [], "write above it where it comes from: see tools/printed_outputs.py"


def drawn() -> list[tuple[str, Path]]:
    return [found for page in PRINTED["PAGES"] for found in PRINTED["diagrams"](page.read_text(encoding="utf-8"))]


@pytest.mark.parametrize(("command", "file"), drawn())
def test_diagram_of_a_page_is_what_its_command_draws_now(command: str, file: Path, tmp_path: Path) -> None:
    words = [str(tmp_path / "now.svg") if word.startswith("docs/assets") else word for word in shlex.split(command)[1:]]
    assert cli.main(words) == 0
    assert (tmp_path / "now.svg").read_text() == file.read_text(), "renew it with python tools/printed_outputs.py"


def test_tree_of_the_readme_is_there() -> None:
    tree = next(text for _, text in blocks(ROOT / "README.md") if text.startswith("omnikit/"))
    top = [line.split()[0] for line in tree.splitlines() if not line.startswith(" ")]
    below = [word for line in tree.splitlines() if line.startswith("  ") for word in re.split("   +", line.strip())[0].split()]
    paths = [*(word for word in [*top, "benchmarks/", "docs/", "tools/"]), *(f"omnikit/{word}" for word in below)]
    assert len(below) > 8 and [path for path in paths if not (ROOT / path).exists()] == []


def test_plugin_of_the_how_to_keeps_its_contract(shown: Path) -> None:
    plan = make(compose("llama_omni/tiny", ["audio/encoder=frames_100hz"]))
    encoder = plan.inputs["audio"].encoder
    with torch.random.fork_rng():
        torch.manual_seed(0)
        module, waves = encoder.build(), torch.randn(2, 4000)
    both = module(Signal(waves, torch.tensor([4000, 1000])))
    alone = module(Signal(waves[1:, :1000], torch.tensor([1000])))
    assert both.lengths.tolist() == [encoder.length(4000), encoder.length(1000)]
    torch.testing.assert_close(both.data[1:, :alone.lengths[0]], alone.data)  # the row beside it does not leak
    assert both.data.shape[2] == encoder.output.dim


def test_image_encoder_of_the_how_to_keeps_its_contract(shown: Path) -> None:
    config = import_module("omnikit_frames.config_patches").Patches()
    module = config.build()
    features = module(Signal(torch.zeros(3, 3, 64, 64), torch.ones(3, dtype=torch.long)))
    assert features.data.shape == (3, config.output.count, config.output.dim)
    assert features.lengths.tolist() == [config.length(1)] * 3
    assert isinstance(config.image_spec, ImageSpec)


def test_json_rows_of_the_how_to_are_read(tmp_path: Path) -> None:
    rows = next(text for info, text in blocks(ROOT / "docs" / "howto" / "add_a_dataset.md") if info == "json")
    write(tmp_path / "rows.jsonl", rows)
    (tmp_path / "q1.wav").touch()
    (tmp_path / "a1.wav").touch()
    reader = registry.component("reader", "messages_jsonl")(path=str(tmp_path / "rows.jsonl")).build()
    samples = [reader[index] for index in range(len(reader))]
    assert [sample.id for sample in samples] == ["q1", "q2"]
    assert samples[0].facts == {"kind": "addition"}
    assert samples[1].messages[1].content[0].text == "two plus two is four"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_python_of_a_page_uses_names_that_exist(page: Path) -> None:
    for _, text in filter(lambda block: block[0].startswith("python"), blocks(page)):
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("omnikit."):
                module = import_module(node.module)
                assert all(hasattr(module, alias.name) for alias in node.names)
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "omnikit":
                assert hasattr(import_module("omnikit"), node.attr)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_links_of_a_page_lead_to_files(page: Path) -> None:
    text = BLOCK.sub("", page.read_text(encoding="utf-8"))
    links = [link.partition("#")[0] for link in re.findall(r"\]\(([^)\s]+)\)", text) if "://" not in link]
    targets = [(page.parent / link).resolve() for link in links if link]
    missing = [target for target in targets if not target.exists()
               and not GENERATED.fullmatch(target.relative_to(ROOT).as_posix())]
    assert missing == []


@pytest.mark.parametrize("page", [*PAGES, ROOT / "Makefile", ROOT / "mkdocs.yml", ROOT / "requirements.lock"],
                         ids=lambda page: page.relative_to(ROOT).as_posix())
def test_page_names_no_package_registry(page: Path) -> None:
    assert HOSTS.findall(page.read_text(encoding="utf-8")) == []


def test_the_reference_describes_every_component() -> None:
    made = runpy.run_path(str(ROOT / "tools" / "make_reference.py"))["components"]()
    assert [line.removeprefix("### ") for line in made.splitlines() if line.startswith("### ")] == [
        name for kind in KINDS for name in registry.components(kind)]
