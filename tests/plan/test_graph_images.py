"""Image branches: what they take, and what is wrong with their images."""

from dataclasses import dataclass, replace

import pytest
from vision_doubles import FakeImageEncoder, FakeImageProjector

from omnikit.contracts.specs import FeatureSpec, ImageSpec, SignalSpec
from omnikit.plan.graph import _unseen
from omnikit.plan.plan import InputBranch


@dataclass(frozen=True)
class Blind(FakeImageEncoder):
    image_spec: None = None


@dataclass(frozen=True)
class Wrong(FakeImageEncoder):
    @property
    def image_spec(self) -> ImageSpec:
        return ImageSpec(8, fit="squeeze")


@dataclass(frozen=True)
class Filming(FakeImageEncoder):
    input = SignalSpec("video", None, (3, 8, 8))


def input_branch(eye: FakeImageEncoder, count: int = 4) -> InputBranch:
    return InputBranch("vision", eye, eye.output, FakeImageProjector(), FeatureSpec(24, count=count))


def test_what_takes_images_takes_videos() -> None:
    assert input_branch(FakeImageEncoder()).media == ("image", "video")
    assert not list(_unseen(input_branch(FakeImageEncoder())))


@pytest.mark.parametrize(("wired", "sentence"), [
    (input_branch(Blind()), "takes image, but has no `image_spec`, which describes how images become its input; give it an"
                     " ImageSpec."),
    (input_branch(Filming()), "takes video, but videos come frame by frame to a branch that takes image; let its `input`"
                       " be image."),
    (input_branch(FakeImageEncoder(ImageSpec(16))),
     "takes images of shape (3, 8, 8), but its `image_spec` cuts (3, 16, 16);"
                                  " give both the same size."),
    (input_branch(FakeImageEncoder(ImageSpec(8, pooled=(4, 9, 1)))),
     "pools frames to 9 and 1 vectors, but a frame has 4; that must"
                                                   " be a square and at least as many."),
    (input_branch(FakeImageEncoder(ImageSpec(8, pooled=(4, 4, 1))), 5),
     "pools frames to 4 and 1 vectors, but a frame has 5; that"
                                                      " must be a square and at least as many."),
], ids=["no images", "video", "size", "more vectors", "no square"])
def test_one_misfit_is_one_sentence(wired: InputBranch, sentence: str) -> None:
    assert list(_unseen(wired)) == [f"vision.encoder {sentence}"]


def test_impossible_image_specs_are_a_misfit_of_the_recipe() -> None:
    wrong = InputBranch("vision", Wrong.__new__(Wrong), FeatureSpec(12, count=4), FakeImageProjector(),
                        FeatureSpec(24, count=4))
    assert list(_unseen(wrong)) == ["vision.encoder: fit is 'squeeze', but must be one of crop, pad, stretch, corner."]


def test_a_branch_without_projector_may_pool() -> None:
    assert not list(_unseen(replace(input_branch(FakeImageEncoder(ImageSpec(8, pooled=(4, 9, 1)))), projected=None)))
