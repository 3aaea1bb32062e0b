"""OmniModel: wiring, splice, alignment and what is not computed."""

from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import pytest
import torch
from doubles import EchoDataset, EchoReader, FakeEncoder, FakeHead, make_asr, make_plan, write_tokenizer

from omnikit.contracts.types import Batch
from omnikit.data.batch.codes import Codes
from omnikit.data.batch.collate import Collator
from omnikit.errors import DataError, PlanError
from omnikit.model import OmniModel
from omnikit.plan.plan import Plan
from omnikit.splice import LengthChecks
from omnikit.store.hashes import hashes
from omnikit.taps import Taps
from omnikit.training.trainable.freeze import freeze

WANTED = ("text", "speech", "transcript")


@pytest.fixture
def plan(tmp_path: Path) -> Plan:
    return make_plan(write_tokenizer(tmp_path))


@pytest.fixture
def model(plan: Plan) -> OmniModel:
    return OmniModel(plan).eval()


def make_batch(model: OmniModel, indices: list[int], wanted: tuple[str, ...] = WANTED, textual: int = 0) -> Batch:
    reader = EchoReader(EchoDataset(textual=textual))
    return Collator(model.plan, wanted, {"speech": Codes(model.codec("speech"), 100)})([reader[i] for i in indices])


def test_state_dict_names_start_with_part_paths(model: OmniModel) -> None:
    paths = set(model.plan.parts())
    assert all(any(name.startswith(f"{path}.") for path in paths) for name in model.state_dict())


def test_parts_can_be_left_out(plan: Plan) -> None:
    assert list(OmniModel(plan, ("audio.encoder", "transcript.head")).parts()) == ["audio.encoder", "transcript.head"]


def test_a_part_starts_the_same_whatever_stands_beside_it(plan: Plan) -> None:
    whole, alone = hashes(OmniModel(plan)), hashes(OmniModel(plan, ("speech.head",)))
    assert alone["speech.head"] == whole["speech.head"]


def test_another_seed_starts_elsewhere(plan: Plan) -> None:
    other = replace(plan, recipe=replace(plan.recipe, seed=1))
    assert hashes(OmniModel(plan))["backbone"] != hashes(OmniModel(other))["backbone"]


def test_building_leaves_the_generator_alone(plan: Plan) -> None:
    torch.manual_seed(3)
    expected = torch.rand(1)
    torch.manual_seed(3)
    OmniModel(plan)
    assert torch.equal(torch.rand(1), expected)


@pytest.mark.parametrize("branch", WANTED)
def test_loss_of_a_batch_is_the_mean_over_its_targets(model: OmniModel, branch: str) -> None:
    # The rows say one to three words, so padding stands where it could leak.
    together = make_batch(model, [0, 1, 2, 3])
    alone = [make_batch(model, [i]) for i in range(4)]
    weights = torch.stack([batch.targets[branch].lengths.sum().float() for batch in alone])
    losses = torch.stack([model.losses(batch, [branch])[branch] for batch in alone])
    expected = (losses * weights).sum() / weights.sum()
    torch.testing.assert_close(model.losses(together, [branch])[branch], expected, atol=1e-5, rtol=1e-5)  # float32 sums


def test_hidden_of_a_row_alone_equals_the_row_in_a_mixed_batch(model: OmniModel) -> None:
    mixed, alone = make_batch(model, [0, 1, 2], textual=3), make_batch(model, [1], textual=3)
    length = int(alone.lengths[0])
    assert mixed.tokens.shape[1] > length and mixed.rows["audio"] == [1, 2]  # row 0 is text only, row 2 is longer
    torch.testing.assert_close(Taps(model, mixed).hidden[1, :length], Taps(model, alone).hidden[0], atol=1e-5, rtol=1e-5)


def test_batch_without_audio_has_no_transcript_loss(model: OmniModel) -> None:
    assert set(model.losses(make_batch(model, [0, 1], textual=1), WANTED)) == {"text", "speech"}


def test_splice_puts_projected_vectors_at_slots_and_embeddings_elsewhere(model: OmniModel) -> None:
    batch = make_batch(model, [0, 1])
    taps = Taps(model, batch)
    flat, slots = taps.inputs.flatten(0, 1), batch.slots["audio"]
    projected = taps.point("audio.projector").data
    torch.testing.assert_close(flat[slots], torch.cat([projected[0, :1], projected[1, :2]]))
    unspliced = torch.ones(len(flat), dtype=torch.bool)
    unspliced[slots] = False
    torch.testing.assert_close(flat[unspliced], model.language_model().embed(batch.tokens).flatten(0, 1)[unspliced])


@pytest.mark.parametrize(("alignment", "back"), [("predicts", 1), ("reads", 0)])
def test_states_are_gathered_by_alignment(tmp_path: Path, alignment: str, back: int) -> None:
    model = OmniModel(make_plan(write_tokenizer(tmp_path), alignment=alignment)).eval()
    batch = make_batch(model, [1])
    taps = Taps(model, batch)
    # <bos> <user> [2 vectors] <bot> one two <end>: the answer stands at 5, 6, 7.
    assert batch.answers.tolist() == [[5, 6, 7]]
    features = taps.features(model.plan.outputs["speech"])
    torch.testing.assert_close(features.data[0], taps.hidden[0, 5 - back: 8 - back])


def test_losses_take_the_states_of_training_alignment(tmp_path: Path) -> None:
    model = OmniModel(make_plan(write_tokenizer(tmp_path))).eval()
    taps, output = Taps(model, make_batch(model, [1])), model.plan.outputs["speech"]
    reading = replace(output, head=FakeHead("hidden", "codes", "predicts", training_alignment="reads"))
    torch.testing.assert_close(taps.features(reading).data[0], taps.hidden[0, 5:8])


def test_logits_are_computed_at_answers_only(model: OmniModel, monkeypatch: pytest.MonkeyPatch) -> None:
    shapes = []
    backbone = model.get_submodule("backbone")
    original = backbone.logits
    monkeypatch.setattr(backbone, "logits", lambda hidden: shapes.append(hidden.shape) or original(hidden))
    model.losses(make_batch(model, [0, 1]), ["text"])
    assert shapes == [(2, 3, 24)]


def test_listening_runs_neither_projector_nor_backbone(plan: Plan) -> None:
    model = OmniModel(plan, plan.stages["listen"].used)
    batch = Collator(plan, ["transcript"])([EchoReader(EchoDataset())[1]])
    assert batch.tokens.shape == (0, 0)
    assert set(model.losses(batch, ["transcript"])) == {"transcript"}


def test_asr_model_has_no_backbone(tmp_path: Path) -> None:
    plan = make_asr(write_tokenizer(tmp_path))
    batch = Collator(plan, ["transcript"])([EchoReader(EchoDataset())[1]])
    assert OmniModel(plan).losses(batch, ["transcript"])["transcript"].isfinite()


def test_no_graph_grows_upstream_of_what_is_trained(model: OmniModel) -> None:
    freeze(model, ("speech.head",))
    batch = make_batch(model, [0, 1])
    taps = Taps(model, batch)
    assert not taps.hidden.requires_grad
    assert model.losses(batch, ["speech"])["speech"].requires_grad


def test_encoder_runs_once_for_all_heads(model: OmniModel) -> None:
    calls: list[int] = []
    model.get_submodule("audio.encoder").register_forward_hook(lambda *_: calls.append(1))
    model.losses(make_batch(model, [0, 1]), WANTED)
    assert len(calls) == 1


def test_wrong_count_names_the_row(tmp_path: Path) -> None:
    model = OmniModel(make_plan(write_tokenizer(tmp_path), encoder=FakeEncoder(extra_length=1)))
    with pytest.raises(DataError, match=r"Row row0: audio\.encoder \(double\) gives 1 features, but its `length` gives 2; fix"):
        model.losses(make_batch(model, [0, 1], ("text",)), ["text"])


def test_wrong_length_is_found_where_nothing_is_spliced(tmp_path: Path) -> None:
    model = OmniModel(make_plan(write_tokenizer(tmp_path), encoder=FakeEncoder(extra_length=-1)))
    with pytest.raises(DataError, match=r"Row row1: audio\.encoder \(double\) gives 2 features, but its `length` gives 1"):
        model.losses(make_batch(model, [1], ("transcript",)), ["transcript"])


def test_wrong_rate_is_found_where_nothing_is_spliced(plan: Plan) -> None:
    lying = replace(plan.inputs["audio"], encoded=replace(plan.inputs["audio"].encoded, rate=Fraction(50)))
    model = OmniModel(replace(plan, inputs={"audio": lying}))
    sentence = r"audio\.encoder \(double\) gives features at 20 Hz, but its `output` states 50 Hz; fix"
    with pytest.raises(PlanError, match=sentence):
        model.losses(make_batch(model, [1], ("transcript",)), ["transcript"])


def test_wrong_dim_is_found_where_nothing_is_spliced(plan: Plan) -> None:
    lying = replace(plan.inputs["audio"], encoded=replace(plan.inputs["audio"].encoded, dim=17))
    model = OmniModel(plan)
    model.plan = replace(plan, inputs={"audio": lying})
    sentence = r"audio\.encoder \(double\) gives features of hidden size 16, but its `output` states 17; fix"
    with pytest.raises(PlanError, match=sentence):
        model.losses(make_batch(model, [1], ("transcript",)), ["transcript"])


def test_wrong_width_of_the_backbone_is_found(plan: Plan) -> None:
    model = OmniModel(plan)
    model.plan = replace(plan, backbone=replace(plan.backbone, dim=25))
    sentence = r"backbone \(double\) gives embeddings of hidden size 24, but its contract states 25; fix"
    with pytest.raises(PlanError, match=sentence):
        model.losses(make_batch(model, [1], ("text",)), ["text"])


def test_an_accelerator_is_waited_for_seldom() -> None:
    checks = LengthChecks()
    waits = [checks.due("audio.encoder", torch.device("cuda")) for _ in range(1000)]
    assert [index + 1 for index, waited in enumerate(waits) if waited] == [1, 2, 3, 500, 1000]
    assert all(checks.due("audio.encoder", torch.device("cpu")) for _ in range(10))
