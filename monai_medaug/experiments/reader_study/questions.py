"""What readers are asked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from monai_medaug.core.arguments import choice

PREFERENCE, RATING = "preference", "rating"
_LONGEST = 200  # characters


def require_short_text(name: str, text: object, longest: int = _LONGEST) -> str:
    """A text that is neither empty nor too long for its place.

    Raises:
        ValueError: it is.
    """
    if not isinstance(text, str) or not text.strip() or len(text) > longest:
        said = f"one of {len(text)} characters" if isinstance(text, str) else type(text).__name__
        raise ValueError(f"{name} must be a text of 1 to {longest} characters, got {said}")
    return text


@dataclass(frozen=True)
class ReaderQuestion:
    """A question about a pair of images or about each image.

    Attributes:
        text: as the reader sees it, up to 200 characters.
        kind: ``"preference"``, one answer for a pair: A, no difference, or B; ``"rating"``, one for each image.
        labels: of a rating's 2 to 9 steps, from worst to best.

    Raises:
        ValueError: an argument is not of this kind.

    Example:
        >>> ReaderQuestion("The vessels are sharp", labels=("no", "rather not", "rather", "yes")).kind
        'rating'
    """

    text: str
    kind: str = RATING
    labels: Sequence[str] = ("unusable", "poor", "sufficient", "good", "excellent")

    def __post_init__(self) -> None:
        choice("kind", self.kind, (PREFERENCE, RATING))
        require_short_text("text", self.text)
        object.__setattr__(self, "labels", tuple(self.labels))
        if isinstance(self.labels, str) or not 2 <= len(self.labels) <= 9:
            raise ValueError(f"labels must be 2 to 9 texts, got {len(self.labels)}")
        for label in self.labels:
            require_short_text("labels", label)

    @property
    def steps(self) -> int:
        """How many answers there are."""
        return 3 if self.kind == PREFERENCE else len(self.labels)


DEFAULT_QUESTIONS = (
    ReaderQuestion("Which image do you prefer for diagnosis?", PREFERENCE),
    ReaderQuestion("How good is the image for diagnosis?"),
)


def checked_questions(questions: Sequence[ReaderQuestion] | None, pairs: bool) -> tuple[ReaderQuestion, ...]:
    """The questions to ask: of single images, ratings alone.

    Raises:
        TypeError: one is no question.
        ValueError: none, too many, or a preference where there is no pair.

    Example:
        >>> [question.kind for question in checked_questions(None, pairs=False)]
        ['rating']
    """
    if questions is None:
        return tuple(q for q in DEFAULT_QUESTIONS if pairs or q.kind == RATING)
    asked = tuple(questions)
    if not 1 <= len(asked) <= 6:
        raise ValueError(f"questions must be 1 to 6, got {len(asked)}")
    for question in asked:
        if not isinstance(question, ReaderQuestion):
            raise TypeError(f"questions must hold ReaderQuestion, got {type(question).__name__}")
        if question.kind == PREFERENCE and not pairs:
            raise ValueError("questions must be ratings where images are shown one by one, got a preference")
    return asked
