"""A model of 0.6 billion parameters in bfloat16 loaded by omnikit against transformers' from_pretrained of the same files.

Each way has a process of its own, in turns; its processor time begins when all is imported and ends when each page of weights
was read. Four ways: transformers; a recipe that names the checkpoint; a run that holds the weights; that run copied to another
place, where each tensor is compared with the digest that it was written with, which takes what SHA-256 takes and has no limit.
"""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from bench_table import Measures

ROUNDS, LIMIT = 3, 1.2
SIZES = {"dim": 1536, "layers": 16, "heads": 12, "kv_heads": 4, "ffn": 6144, "vocabulary": 32000}
RECIPE = """# @package _global_
defaults: [/recipe, {{/backbone: llama_tiny_random}}, {{/text/head: lm}}, _self_]
backbone: {backbone}
"""
MEASURE = """
import json, sys, time
from pathlib import Path
import torch
from transformers import AutoModelForCausalLM
from transformers.models.llama import modeling_llama
from omnikit.plan.plan import make
from omnikit.recipe.compose import compose
from omnikit.store.load import build_model
import omnikit_hf.model
way, folder = sys.argv[1], Path(sys.argv[2])
torch.set_num_threads(1)
plan = make(compose(str(folder / "recipe.yaml")))
start = time.process_time()
if way == "transformers":
    model = AutoModelForCausalLM.from_pretrained(folder / "checkpoint", dtype=torch.bfloat16)
elif way == "recipe":
    model = build_model(plan)
else:
    model = build_model(plan, folder / way, {"backbone": "learn"})
seen = sum(int(p.detach().flatten().view(torch.uint8)[::4096].sum()) for p in model.parameters())
seconds = time.process_time() - start
peak = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
print(json.dumps([seconds, int(peak.split()[1]) / 1024, seen]))
"""
WRITE = """
import shutil, sys
from pathlib import Path
import torch
from omnikit.plan.plan import make
from omnikit.recipe.compose import compose
from omnikit.store import checkpoint
from omnikit.store.files import write_json
from omnikit.store.load import build_model
from omnikit.store.stage_folder import mark_done
folder = Path(sys.argv[1])
module = build_model(make(compose(str(folder / "fresh.yaml")))).get_submodule("backbone")
learn = folder / "run" / "learn"
learn.mkdir(parents=True)
checkpoint.save(learn / "weights.safetensors", {"backbone": module}, {})
write_json(learn / "manifest.json", {"trained": ["backbone"], "weights_after": {}, "hash": "0" * 16})
mark_done(learn)
shutil.copytree(folder / "run", folder / "copy")
from transformers import AutoModelForCausalLM
causal = AutoModelForCausalLM.from_config(module.model.config, dtype=torch.bfloat16)
causal.model, causal.lm_head = module.model, module.lm_head
causal.save_pretrained(folder / "checkpoint")
"""


def python(code: str, *arguments: str) -> str:
    return subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=True).stdout


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    values: dict[str, object] = {**SIZES, "dtype": "bfloat16"}
    (tmp_path / "fresh.yaml").write_text(RECIPE.format(backbone=json.dumps(values)))
    values["weights"] = str(tmp_path / "checkpoint")
    (tmp_path / "recipe.yaml").write_text(RECIPE.format(backbone=json.dumps(values)))
    python(WRITE, str(tmp_path))
    return tmp_path


def test_loading_costs_what_transformers_needs(measures: Measures, folder: Path) -> None:
    found: dict[str, list[list[float]]] = {"transformers": [], "recipe": [], "run": [], "copy": []}

    for _ in range(ROUNDS):
        for way, numbers in found.items():
            numbers.append(json.loads(python(MEASURE, way, str(folder)).splitlines()[-1]))
    assert len({seen for numbers in found.values() for _, _, seen in numbers}) == 1, "the same weights, whichever way"
    seconds, memory = ({way: [number[index] for number in numbers] for way, numbers in found.items()} for index in (0, 1))
    for way, limit in {"recipe": LIMIT, "run": LIMIT, "copy": None}.items():
        measures.ratio(f"loading a {way} / from_pretrained", seconds[way], seconds["transformers"], most=limit)
        measures.ratio(f"loading a {way} / from_pretrained, peak memory", memory[way], memory["transformers"], most=LIMIT)
