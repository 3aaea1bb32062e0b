"""The page of each recipe of a published system, and the table of all systems.

    python tools/gallery.py            writes recipes/survey/README.md, and README.md and wiring.svg of each system

What a page states is in the recipe: the first lines of its full.yaml, its wiring, and its parts' parameters, counted without
weights. survey_systems.yaml lists all systems, with what those without a recipe lack.
"""

import gc
from pathlib import Path
from typing import Any

import yaml

import omnikit
from omnikit.plan.diagram import draw
from omnikit.plan.plan import Plan
from omnikit.plan.tables import stages_table, wiring_table
from omnikit.store.parameters import parameter_counts

ROOT = Path(__file__).parents[1]
RECIPES = ROOT / "recipes"
GALLERY = RECIPES / "survey" / "README.md"
SYSTEMS = ROOT / "tools" / "survey_systems.yaml"
HEAD = """\
# Gallery of systems

Each system as a recipe: its parts with the sizes that were published (`full`), and the same parts at sizes that two cores
train in seconds (`tiny`). A test checks every `full` one, and trains every `tiny` one for three steps and asks it a question.
`omnikit list recipe` has them by family; `python tools/gallery.py` writes this page.

- **complete**: every part of the model that answers is a component here.
- **differs**: it runs; its page names what stands for a part that is not here, or works otherwise.
- **lacks**: what it needs first.
"""


def facts(system: str) -> dict[str, str]:
    """Give what the first lines of a recipe state: its title and sentence, Family, State, Public and Differs."""
    lines = (RECIPES / "survey" / system / "full.yaml").read_text(encoding="utf-8").splitlines()
    comments = [line.removeprefix("# ") for line in lines if line.startswith("# ")]
    found = {"title": comments[1]}
    return found | {key: text for key, _, text in (line.partition(": ") for line in comments) if key in (
        "Family", "State", "Public", "Differs")}


def page(system: str, plan: Plan) -> str:
    """Give the page of a system."""
    stated, name = facts(system), f"survey/{system}"
    title, _, sentence = stated["title"].partition("): ")
    return f"""\
# {title.partition(" (")[0]}

{sentence[0].upper()}{sentence[1:]} {title.partition(" (")[2].replace("arXiv ", "arXiv:")}.

![Parts and what flows between them](wiring.svg)

```text
{wiring_table(plan, parameter_counts(plan))}
{stages_table(plan)}```

- **Public**: {stated["Public"]}
- **Differs**: {stated["Differs"]}

```
omnikit check {name}/full
omnikit train {name}/tiny
```

Facts are those of the paper and of the published code and files, where there are some; no weights were loaded here.
"""


def state(entry: dict[str, Any]) -> str:
    """Give the state of a system in a row of the table."""
    if "lacks" in entry:
        return f"lacks {entry['lacks']}"
    if not entry["recipe"].startswith("survey/"):
        return "complete"
    return facts(Path(entry["recipe"]).name)["State"].rstrip(".")


def link(entry: dict[str, Any]) -> str:
    """Give a system's name, with a link to its page."""
    if "lacks" in entry:
        return str(entry["name"])
    path = f"{Path(entry['recipe']).name}/README.md"
    path = path if entry["recipe"].startswith("survey/") else f"../{path}"
    also = f", [variant]({Path(entry['also']).name}/README.md)" if "also" in entry else ""
    return f"[{entry['name']}]({path}){also}: `{entry['recipe']}/full`"


def gallery(systems: list[dict[str, Any]]) -> str:
    """Give the table of all systems by family, and how many have a recipe."""
    text = [HEAD, f"{sum('recipe' in each for each in systems)} of {len(systems)} systems have recipes.\n"]
    for family in sorted({each["family"] for each in systems}):
        rows = [f"| {link(each)} | arXiv:{each['paper']} | {state(each)} |" for each in systems if each["family"] == family]
        head = [f"## {family[0].upper()}{family[1:]}\n", "| system | paper | state |", "|---|---|---|"]
        text.append("\n".join([*head, *rows, ""]))
    return "\n".join(text)


def files() -> dict[Path, str]:
    """Give every file that is generated, with its content."""
    systems = yaml.safe_load(SYSTEMS.read_text(encoding="utf-8"))
    recipes = [each[key] for each in systems for key in ("recipe", "also") if key in each]
    named = {Path(recipe).name for recipe in recipes if recipe.startswith("survey/")}
    folders = {path.parent.name for path in (RECIPES / "survey").glob("*/full.yaml")}
    if named != folders:
        raise SystemExit(f"{SYSTEMS.name} and recipes/survey differ in {', '.join(sorted(named ^ folders))}.")
    found = {GALLERY: gallery(systems)}
    for system in sorted(folders):
        gc.freeze()  # the count of parameters collects garbage part by part, which takes longer the more modules are imported
        plan = omnikit.check(f"survey/{system}/full")
        found[RECIPES / "survey" / system / "README.md"] = page(system, plan)
        found[RECIPES / "survey" / system / "wiring.svg"] = draw(plan)
    gc.unfreeze()
    return found


if __name__ == "__main__":
    for path, content in files().items():
        path.write_text(content, encoding="utf-8")
