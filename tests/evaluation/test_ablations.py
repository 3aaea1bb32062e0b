"""Other rows' media in a question."""

from doubles import speak

from omnikit.contracts.types import ContentPart, Message, Sample
from omnikit.data.batch.signals import question_media
from omnikit.evaluation.ablations import modality, shuffled_audio, shuffled_visual, state_of


def row(name: str, answer: str, *media: ContentPart, kind: str = "color", state: str | None = None) -> Sample:
    asked = Message("user", (*media, ContentPart("text", text="what")))
    return Sample(name, (asked, Message("assistant", (ContentPart("text", text=answer),), state)), {"kind": kind})


def image(name: str) -> ContentPart:
    return ContentPart("image", path=f"{name}.png")


def audio(words: str) -> ContentPart:
    return ContentPart("audio", text=words, audio=speak("one"))


def test_shuffled_image_is_of_a_row_of_the_same_kind_with_another_answer() -> None:
    samples = [row("a", "red", image("a")), row("b", "red", image("b")), row("c", "blue", image("c")),
               row("d", "two", image("d"), kind="count"), row("e", "six", image("e"), kind="count")]
    found = [question_media(sample)[0].path for sample in shuffled_visual(samples, "image") if sample]
    assert found == ["c.png", "c.png", "a.png", "e.png", "d.png"]


def test_row_that_has_no_such_other_is_left_out() -> None:
    samples = [row("a", "red", image("a")), row("b", "red", image("b")), row("c", "blue"),
               row("d", "blue", image("d"), kind="shape")]
    assert shuffled_visual(samples, "image") == [None] * 4 and shuffled_visual(samples, "video") == [None] * 4


def test_all_images_of_a_question_are_shuffled_and_its_audio_stays() -> None:
    samples = [row("a", "red", image("a"), image("b"), audio("x")), row("c", "blue", image("c"), audio("y"))]
    first = shuffled_visual(samples, "image")[0]
    assert first and [part.path or part.text for part in question_media(first)] == ["c.png", "c.png", "x"]


def test_noise_takes_no_part_in_ablations() -> None:
    samples = [row("a", "red", audio("x")), row("n", "hm", audio("n"), state="noise"), row("b", "blue", audio("y"))]
    others = shuffled_audio(samples)
    assert others[1] is None and [question_media(sample)[0].text for sample in others if sample] == ["y", "x"]


def test_state_and_modality_of_a_question() -> None:
    spoken, noisy = row("a", "red", image("a"), audio("x")), row("n", "hm", audio("n"), state="noise")
    assert [state_of(sample) for sample in (spoken, noisy, row("t", "one"))] == ["audio", "noise", "text"]
    assert [modality(sample) for sample in (spoken, row("t", "one"))] == ["image, audio, text", "text"]
