"""Which weights a run has, where stages branch; and what is read, drawn and hashed for them."""

import json
import shutil
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from doubles import make_plan, stages, write_tokenizer
from safetensors.torch import load_file, save_file
from torch.utils._python_dispatch import TorchDispatchMode

from omnikit.contracts.types import LazyTensor
from omnikit.errors import RunError
from omnikit.inference.session import build, restore
from omnikit.model import OmniModel
from omnikit.plan.plan import Plan
from omnikit.recipe.recipe import Stage
from omnikit.store import checkpoint, safetensors_writer
from omnikit.store import hashes as store_hashes
from omnikit.store import tensors as store_tensors
from omnikit.store.checkpoint import hashes as stored_hashes
from omnikit.store.hashes import hashes
from omnikit.store.imports import held
from omnikit.store.lineage import lineage
from omnikit.store.load import blueprint, build_model, empty_part, run_tensors
from omnikit.store.runs import WEIGHTS
from omnikit.store.tensors import metadata
from omnikit.training.stage import run_stages


def branching(seed: int = 0) -> dict[str, Stage]:
    """a trains the backbone, b trains it again, c starts from a and trains the projector."""
    understand = stages(1)["understand"]
    a = replace(understand, train={"backbone": "full"})
    return {"units": stages(1)["units"], "a": a, "b": replace(a, after="a"),
            "c": replace(understand, train={"audio": {"projector": "full"}}, init_from="a")}


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Plan, Path]:
    folder = tmp_path_factory.mktemp("branching")
    plan = make_plan(write_tokenizer(folder), only=branching())
    run_stages(plan, folder / "run", "")
    return plan, folder / "run"


def test_a_branch_s_backbone_is_its_parent_s_bit_for_bit(trained: tuple[Plan, Path]) -> None:
    plan, run = trained
    loaded = restore(plan, run).model.cpu().get_submodule("backbone").state_dict()
    a, b = ({name.removeprefix("backbone."): tensor for name, tensor in load_file(run / stage / WEIGHTS).items()}
            for stage in "ab")
    assert all(torch.equal(loaded[name], a[name]) for name in a) and not all(torch.equal(a[name], b[name]) for name in a)


def test_lineage_follows_after_and_init_from(trained: tuple[Plan, Path]) -> None:
    plan, run = trained
    assert lineage(plan, run) == {"speech.codec": "units", "backbone": "a", "audio.projector": "c"}
    assert lineage(plan, run, "b") == {"speech.codec": "units", "backbone": "b"}


def test_a_sibling_need_not_be_finished(trained: tuple[Plan, Path], tmp_path: Path) -> None:
    plan, run = trained
    shutil.copytree(run, tmp_path / "run")
    shutil.rmtree(tmp_path / "run" / "b")
    assert hashes(restore(plan, tmp_path / "run").model) == hashes(restore(plan, run).model)


def test_a_parent_that_was_replaced_is_refused(trained: tuple[Plan, Path], tmp_path: Path) -> None:
    plan, run = trained
    shutil.copytree(run, tmp_path / "run")
    shutil.copyfile(run / "b" / WEIGHTS, tmp_path / "run" / "a" / WEIGHTS)
    with pytest.raises(RunError, match=r"c/weights.safetensors was trained beside backbone with weights of hash \w+, but here"):
        restore(plan, tmp_path / "run")


def test_an_altered_hash_in_a_header_is_refused(trained: tuple[Plan, Path], tmp_path: Path) -> None:
    plan, run = trained
    shutil.copytree(run, tmp_path / "run")
    path = tmp_path / "run" / "c" / WEIGHTS
    header = metadata(path)
    frozen = {**json.loads(header["frozen"]), "audio.encoder": "beef"}
    save_file(load_file(path), path, {**header, "frozen": json.dumps(frozen)})
    with pytest.raises(RunError, match=r"trained beside audio.encoder with weights of hash beef"):
        restore(plan, tmp_path / "run")


def test_parts_alone_need_their_own_stages_alone(trained: tuple[Plan, Path], tmp_path: Path) -> None:
    plan, run = trained
    shutil.copytree(run / "units", tmp_path / "units")
    origins = lineage(plan, tmp_path, parts=["speech.codec"])
    model = build_model(plan, tmp_path, origins, parts=["speech.codec"])
    assert hashes(model) == {"speech.codec": stored_hashes(run / "units" / WEIGHTS)[0]["speech.codec"]}


def test_changing_a_loaded_model_leaves_the_file_alone(trained: tuple[Plan, Path]) -> None:
    plan, run = trained
    before = (run / "a" / WEIGHTS).read_bytes()
    model = build_model(plan, run, lineage(plan, run))
    with torch.no_grad():
        for weights in model.parameters():
            weights.add_(1)
    assert (run / "a" / WEIGHTS).read_bytes() == before


def test_run_tensors_are_those_of_the_session(trained: tuple[Plan, Path]) -> None:
    plan, run = trained
    held = {part: {name: tensor.read() for name, tensor in named.items()} for part, named in run_tensors(plan, run).items()}
    parts = restore(plan, run).model.cpu().parts()
    assert all(torch.equal(module.state_dict()[name], tensor) for part, module in parts.items()
               for name, tensor in held[part].items())


def test_an_empty_part_has_no_values_but_the_names_and_shapes(trained: tuple[Plan, Path]) -> None:
    plan, _ = trained
    part, real = empty_part(plan, "backbone"), build(plan).model.get_submodule("backbone")
    assert all(tensor.is_meta for tensor in part.state_dict().values())
    assert {name: tensor.shape for name, tensor in blueprint(plan, "backbone").items()} == {
        name: tuple(tensor.shape) for name, tensor in real.state_dict().items()}


@pytest.mark.parametrize(("device", "words"), [
    ("cuda:99", r"device is 'cuda:99', but this machine has"), ("gpu", "device is 'gpu', which torch does not know"),
    ("meta", "device is 'meta', but this machine has")])
def test_a_wrong_device_is_one_sentence(trained: tuple[Plan, Path], device: str, words: str) -> None:
    with pytest.raises(RunError, match=words):
        build(trained[0], device=device)


def test_a_wrong_dtype_is_one_sentence(trained: tuple[Plan, Path]) -> None:
    with pytest.raises(RunError, match="dtype is 'bf16', but must be float32, bfloat16 or float16"):
        restore(*trained, dtype="bf16")


def test_dtype_is_that_of_the_backbone(trained: tuple[Plan, Path]) -> None:
    parts = restore(*trained, device="cpu", dtype="bfloat16").model.parts()
    assert {weights.dtype for weights in parts["backbone"].parameters()} == {torch.bfloat16}
    assert {weights.dtype for weights in parts["audio.projector"].parameters()} == {torch.float32}


class Spy(TorchDispatchMode):
    """Counts draws of random numbers while models are built, and how often each stored tensor is read and hashed."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        super().__init__()
        self.draws: list[str] = []
        self.reads: Counter[str] = Counter()
        self.digests = 0
        built, opened, digest = OmniModel.__init__, store_tensors.safetensors_file, store_hashes.tensor_digest

        def watched(model: OmniModel, *args: object, **options: object) -> None:
            with self:
                built(model, *args, **options)  # type: ignore[arg-type]

        def listed(path: Path, advice: str = "") -> dict[str, LazyTensor]:
            return {name: replace(tensor, read=self.counted(f"{path.parent.name}/{name}", tensor))
                    for name, tensor in opened(path, advice).items()}

        def digested(tensor: torch.Tensor) -> str:
            self.digests += 1
            return digest(tensor)

        monkeypatch.setattr(OmniModel, "__init__", watched)
        monkeypatch.setattr(checkpoint, "safetensors_file", listed)
        for module in (checkpoint, store_hashes, safetensors_writer):
            monkeypatch.setattr(module, "tensor_digest", digested)

    def counted(self, name: str, tensor: LazyTensor) -> Callable[[], torch.Tensor]:
        def read() -> torch.Tensor:
            self.reads[name] += 1
            return tensor.read()

        return read

    def __torch_dispatch__(self, func: torch._ops.OpOverload, types: object, args: tuple[object, ...] = (),
                           kwargs: dict[str, object] | None = None) -> object:
        found = func(*args, **(kwargs or {}))
        drawn = torch.Tag.nondeterministic_seeded in func.tags
        self.draws += [str(func)] if drawn and isinstance(found, torch.Tensor) and not found.is_meta else []
        return found


@pytest.fixture
def finished(tmp_path: Path) -> tuple[Plan, Path]:
    """A run of which every part with weights was trained, in several stages."""
    plan = make_plan(write_tokenizer(tmp_path), steps=1)
    run_stages(plan, tmp_path / "run", "")
    return plan, tmp_path / "run"


def tensors_of(plan: Plan, run: Path) -> dict[str, int]:
    """Give each stored tensor of a run's lineage, once."""
    return {f"{stage}/{name}": 1 for part, stage in lineage(plan, run).items()
            for name in load_file(run / stage / WEIGHTS) if name.startswith(f"{part}.")}


def test_loading_draws_nothing_reads_each_tensor_once_and_hashes_none(
    finished: tuple[Plan, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    spy = Spy(monkeypatch)
    restore(*finished)
    assert (spy.draws, dict(spy.reads)) == ([], tensors_of(*finished))
    assert spy.digests == 0, "the files are those that were written"


def test_a_byte_altered_in_place_is_found(finished: tuple[Plan, Path]) -> None:
    plan, run = finished
    stage = list(plan.stages)[-1]
    with (run / stage / WEIGHTS).open("r+b") as file:
        file.seek(-1, 2)
        last = file.read(1)
        file.seek(-1, 2)
        file.write(bytes([last[0] ^ 1]))
    with pytest.raises(RunError, match="the file was altered"):
        restore(plan, run)


def test_of_a_copied_run_each_tensor_is_hashed_once(finished: tuple[Plan, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    plan, run = finished
    copied = shutil.copytree(run, run.with_name("copied"))
    spy = Spy(monkeypatch)
    restore(plan, copied)
    assert (spy.draws, dict(spy.reads)) == ([], tensors_of(plan, copied))
    assert spy.digests == len(spy.reads)


def test_a_part_that_no_stage_trained_is_drawn(trained: tuple[Plan, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    spy = Spy(monkeypatch)
    restore(*trained)
    assert spy.draws


def test_exporting_reads_each_tensor_once_and_hashes_none(finished: tuple[Plan, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    spy = Spy(monkeypatch)
    for tensor in [tensor for named in held(*finished).values() for tensor in named.values()]:
        tensor.read()
    assert (spy.draws, dict(spy.reads)) == ([], tensors_of(*finished))
    assert spy.digests == 0


def test_the_last_stage_reads_its_parents_tensors_once(finished: tuple[Plan, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    plan, run = finished
    shutil.rmtree(run / "speak")
    spy = Spy(monkeypatch)
    run_stages(plan, run, "")
    stage, written = plan.stages["speak"], load_file(run / "speak" / WEIGHTS)
    assert set(spy.reads.values()) == {1} and {name.partition("/")[0] for name in spy.reads} == set(stage.origins.values())
    fresh = len(written)  # what it trains begins as random numbers: hashed before, and while it is written
    assert spy.digests == len(spy.reads) + fresh * 2  # a frozen tensor afterwards, as the proof that it is the same
