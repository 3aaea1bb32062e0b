"""What `train` names: whole parts, adapters, patterns of tensors."""

from typing import Any

import pytest
from plans import changed, mistakes

from omnikit.plan.patterns import matching, problem, similar
from omnikit.plan.tuning import Lora, Tuning

LAYERS = [f"model.layers.{number}.{name}.weight" for number in range(12) for name in ("norm", "attention.out", "mlp")]
NAMES = ["model.embed_tokens.weight", *LAYERS, "model.norm.weight", "lm_head.weight"]
PLACE = "stages.understand.train.backbone"


@pytest.mark.parametrize(("pattern", "covered"), [
    ("lm_head", ["lm_head.weight"]),
    ("model.norm", ["model.norm.weight"]),
    ("layers[-1:]", LAYERS[-3:]),
    ("layers[-1]", LAYERS[-3:]),
    ("layers[:2]", LAYERS[:6]),
    ("layers[10:]", LAYERS[30:]),
    ("layers[::11].mlp", [LAYERS[2], LAYERS[35]]),
    ("layers.1", LAYERS[3:6]),
    ("embed*", ["model.embed_tokens.weight"]),
    ("nor?", [*LAYERS[::3], "model.norm.weight"]),
    ("layers[20:]", []),
    ("norm.bias", []),
    ("nor", []),
])
def test_a_pattern_covers_what_lies_below_it_at_any_depth(pattern: str, covered: list[str]) -> None:
    assert matching(pattern, NAMES) == covered


@pytest.mark.parametrize("pattern", [
    "", "layers[", "layers[]", "layers[a:]", "layers[-]", "layers[::0]", "a..b", "layers[1:2]]", "a b"])
def test_what_is_no_pattern_is_refused(pattern: str) -> None:
    assert problem(pattern) == "is not a pattern; a pattern is a dotted path such as norm*, layers[-4:] or layers[0].attention"


def test_the_most_similar_name_is_found() -> None:
    assert similar("layrs[-4:]", NAMES) == " Did you mean 'layers'?"


@pytest.mark.parametrize(("value", "tuning"), [
    ("lora", Tuning(Lora())),
    ({"lora": {}}, Tuning(Lora())),
    ({"lora": {"rank": 4, "alpha": 8, "targets": ["q_proj"]}}, Tuning(Lora(4, 8.0, targets=("q_proj",)))),
    ({"norm*": "full", "layers[-4:]": {"mlp": "full"}}, Tuning(None, ("norm*", "layers[-4:].mlp"))),
    ({"lora": {"rank": 4}, "embed_tokens": "full", "norm*": None}, Tuning(Lora(4), ("embed_tokens",))),
], ids=["word", "empty", "settings", "patterns", "both"])
def test_a_part_is_tuned_as_its_value_states(fitting: dict[str, Any], value: object, tuning: Tuning) -> None:
    plan = changed(fitting, {PLACE: value}).stages["understand"]
    assert "backbone" in plan.trained
    assert plan.tuning == {"backbone": tuning}


def test_a_branch_may_have_adapters_in_all_of_its_parts(fitting: dict[str, Any]) -> None:
    plan = changed(fitting, {"stages.understand.train": {"audio": "lora"}}).stages["understand"]
    assert plan.tuning == {"audio.encoder": Tuning(Lora()), "audio.projector": Tuning(Lora())}


def test_whole_parts_have_no_tuning(fitting: dict[str, Any]) -> None:
    assert changed(fitting, {PLACE: "full"}).stages["understand"].tuning == {}


def test_null_leaves_a_part_out(fitting: dict[str, Any]) -> None:
    assert "backbone" not in changed(fitting, {PLACE: None}).stages["understand"].trained


def test_the_table_of_stages_names_what_is_tuned(fitting: dict[str, Any]) -> None:
    assert "backbone (lora 16)" in repr(changed(fitting, {PLACE: "lora"}))


@pytest.mark.parametrize(("value", "sentence"), [
    ({"lora": {"rank": 0}}, f"{PLACE}.lora: rank is 0, but must be at least 1."),
    ({"lora": {"alpha": 0}}, f"{PLACE}.lora: alpha is 0, but must be above 0, and finite."),
    ({"lora": {"dropout": 1}}, f"{PLACE}.lora: dropout is 1, but must be at least 0 and below 1."),
    ({"lora": {"rnk": 4}}, f"{PLACE}.lora.rnk is not a field of Lora. Did you mean 'rank'? It has: alpha, dora, dropout,"
                           " load_in, rank, rslora, targets."),
    ({"lora": {"targets": "all"}}, f"{PLACE}.lora: targets is 'all', but must be auto or a list of patterns, for example"
                                   " [q_proj, v_proj]."),
    ({"lora": {"targets": ["q["]}}, f"{PLACE}.lora: targets holds 'q[', which is not a pattern; a pattern is a dotted path such"
                                    " as norm*, layers[-4:] or layers[0].attention."),
    ({"lora": {"load_in": "2bit"}}, f"{PLACE}.lora.load_in is '2bit', but must be one of 8bit, 4bit. Did you mean '8bit'?"),
    ({"lora": {"load_in": "4bit", "dora": True}},
     f"{PLACE}.lora: dora is true, but needs the exact matrices; leave load_in out."),
    ({"lora": "r16"}, f"{PLACE}.lora is 'r16', but must be a mapping, for example {{rank: 16, alpha: 32}}, or {{}}."),
    ({"norm*": "lora"}, f"{PLACE}.norm* is 'lora', but tensors of a part are trained themselves: write full; name the layers"
                        " of adapters in lora.targets."),
    ({"layers[": "full"}, f"{PLACE}.layers[ is not a pattern; a pattern is a dotted path such as norm*, layers[-4:] or"
                          " layers[0].attention."),
    ({"norm*": None}, f"{PLACE} leaves everything out, but must be full, lora, or a mapping of lora and patterns,"
                      " {lora: {rank: 16}, \"norm*\": full}; leave a frozen part out."),
], ids=["rank", "alpha", "dropout", "field", "targets", "pattern", "load_in", "dora", "lora", "word", "brackets", "nothing"])
def test_what_cannot_be_read_is_one_sentence(fitting: dict[str, Any], value: object, sentence: str) -> None:
    assert mistakes(fitting, {PLACE: value}) == [sentence]


def test_units_are_fitted_as_a_whole(fitting: dict[str, Any]) -> None:
    changes = {"stages.understand.objective": "units", "stages.understand.train": {"speech": {"codec": "lora"}}}
    assert mistakes(fitting, changes)[0] == (
        "stages.understand.train.speech.codec names pieces of the part, but objective units fits a codec by the codec's own"
        " method; write speech.codec: full.")
