"""Positions of a sample in the backbone, counted from its text and the headers of its files. Decodes no medium."""

from omnikit.contracts.types import ContentPart, Sample
from omnikit.data.batch.collate import Collator
from omnikit.data.batch.signals import as_medium, count_tiles, question_media, recorded_samples
from omnikit.data.text.templates import render
from omnikit.data.text.tokenise import encode
from omnikit.errors import DataError
from omnikit.plan.plan import InputBranch


class LengthCounter:
    """Counts as a collator does; a file that cannot be read counts 0, the collator names it."""

    def __init__(self, collator: Collator) -> None:
        self.collator = collator

    def __call__(self, sample: Sample) -> int:
        """Give the positions of a sample; raises DataError, which names it, where its text cannot be rendered.

        Where no head needs the backbone, they are the features that the encoders give.
        """
        if not self.collator.uses_backbone:
            return sum(self._media_positions(part) for part in question_media(sample))
        template, tokenizer = self.collator.plan.template, self.collator.tokenizer
        assert template and tokenizer, "a plan with a backbone has both"
        try:
            segments = render(sample.messages, template)
        except DataError as error:
            raise DataError(f"Row {sample.id}: {error}", kind=error.kind) from error
        return sum(self._media_positions(span.media) if span.media else len(span.ids)
                   for span in encode(segments, template, tokenizer))

    def _media_positions(self, part: ContentPart) -> int:
        readers = [input_branch for input_branch in self.collator.input_branches if part.type in input_branch.media]
        try:
            return sum(self._positions(part, reader) for reader in readers)
        except (ValueError, DataError):
            return 0


    def _positions(self, part: ContentPart, input_branch: InputBranch) -> int:
        length = input_branch.positions if self.collator.uses_backbone else input_branch.encoder.length
        if part.type == "audio":
            return length(recorded_samples(part, int(input_branch.encoder.input.rate or 0), input_branch.clip,
                                           limits=self.collator.plan.recipe.media))
        if input_branch.image_spec is None:
            return length(1)
        spec, each, limits = input_branch.image_spec, length(1), self.collator.plan.recipe.media
        tiles = count_tiles(part, spec, limits)
        if input_branch.joins_media and self.collator.uses_backbone:
            return input_branch.medium_length(as_medium(part, spec, tiles, limits)) if input_branch.is_spliced else 0
        if part.type == "video" and self.collator.uses_backbone:
            return sum(spec.frame_count(tile, each) for tile in range(tiles))
        return tiles * each
