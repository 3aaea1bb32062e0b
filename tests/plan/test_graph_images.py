"""Branches that see: what they take, and what is wrong with how they see."""

from dataclasses import dataclass, replace

import pytest
from seeing import Eye, Nerve

from omnikit.contracts.specs import FeatureSpec, PictureSpec, SignalSpec
from omnikit.plan.graph import _unseen
from omnikit.plan.plan import Inlet


@dataclass(frozen=True)
class Blind(Eye):
    pictures: None = None


@dataclass(frozen=True)
class Wrong(Eye):
    @property
    def pictures(self) -> PictureSpec:
        return PictureSpec(8, fit="stretch")


@dataclass(frozen=True)
class Filming(Eye):
    input = SignalSpec("video", None, (3, 8, 8))


def inlet(eye: Eye, count: int = 4) -> Inlet:
    return Inlet("vision", eye, eye.output, Nerve(), FeatureSpec(24, count=count))


def test_what_sees_pictures_sees_films() -> None:
    assert inlet(Eye()).media == ("image", "video")
    assert not list(_unseen(inlet(Eye())))


@pytest.mark.parametrize(("wired", "sentence"), [
    (inlet(Blind()), "takes image, but has no `pictures`, which says how pictures become its input; give it a"
                     " PictureSpec."),
    (inlet(Filming()), "takes video, but films come frame by frame to a branch that takes image; let its `input`"
                       " say image."),
    (inlet(Eye(PictureSpec(16))), "takes images of shape (3, 8, 8), but its `pictures` cuts tiles of (3, 16, 16);"
                                  " give both the same size."),
    (inlet(Eye(PictureSpec(8, pooled=(4, 9, 1)))), "pools frames to 9 and 1 vectors, but a frame has 4; that must"
                                                   " be a square and at least as many."),
    (inlet(Eye(PictureSpec(8, pooled=(4, 4, 1))), 5), "pools frames to 4 and 1 vectors, but a frame has 5; that"
                                                      " must be a square and at least as many."),
], ids=["no pictures", "video", "size", "more vectors", "no square"])
def test_one_misfit_is_one_sentence(wired: Inlet, sentence: str) -> None:
    assert list(_unseen(wired)) == [f"vision.encoder {sentence}"]


def test_impossible_pictures_are_a_misfit_of_the_recipe() -> None:
    wrong = Inlet("vision", Wrong.__new__(Wrong), FeatureSpec(12, count=4), Nerve(), FeatureSpec(24, count=4))
    assert list(_unseen(wrong)) == ["vision.encoder: fit is 'stretch', but must be crop or pad."]


def test_a_branch_without_projector_may_pool() -> None:
    assert not list(_unseen(replace(inlet(Eye(PictureSpec(8, pooled=(4, 9, 1)))), projected=None)))
