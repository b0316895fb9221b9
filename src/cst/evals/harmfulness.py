"""`AbsoluteHarmfulnessPredictor`: the reward models of Safety-Tuned LLaMAs, read by the classifier judge."""

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, final

from cst.errors import ModelError
from cst.evals.conversations import Turns, conversations
from cst.recipe_harm_judges import PRESETS, ClassifierSettings

if TYPE_CHECKING:
    from cst.models.loading import LoadedClassifier

ADVICE = {
    "redteam": "On the hub, redteam was last seen with its weights in a pickle only, which cst never opens. Use "
    "setup_name='redteam-osst', which its authors recommend; or convert the weights where you trust them, and give "
    "their folder as model_path.",
    "redteam-osst": "Where there is no network, give the folder of a copy as model_path.",
}
"""What to do where a set-up's own model can't be loaded."""


@final
class AbsoluteHarmfulnessPredictor:
    """One of the paper's two reward models, in float32 as there; the lower a score, the safer the answer.

    `device` is as in torch; by default a GPU if there is one. `model_path` is a folder or hub id to load in place of
    the set-up's own: a local copy, or a reward model of your own that reads conversations in the same way. Weights are
    read from safetensors alone.

    Raises:
        ModelError: There is no such set-up or no such device, or the model can't be loaded.
    """

    def __init__(
        self,
        setup_name: str = "redteam-osst",
        device: str | None = None,
        *,
        model_path: str | Path | None = None,
    ) -> None:
        if setup_name not in PRESETS:
            raise ModelError(
                f"setup_name={setup_name!r} is none of {', '.join(PRESETS)}. Name one of these; a reward model of "
                "your own comes besides, as model_path."
            )
        # A judge has sides to tell apart and needs a threshold; a reading has no use for it.
        given = {"kind": "classifier", "preset": setup_name, "threshold": 0.0, "device": device, "dtype": "float32"}
        own = {} if model_path is None else {"path": str(model_path)}
        self._settings = ClassifierSettings.model_validate({**given, **own})
        self._loaded = _loaded(self._settings, "" if own else ADVICE[setup_name])

    def predict(
        self,
        user_texts: str | Iterable[Turns],
        assistant_texts: str | Iterable[Turns],
        batch_size: int = 128,
        max_length: int = 512,
        show_progress: bool = True,
    ) -> list[float]:
        """The raw logit of each conversation, in order.

        An item of the lists is one turn, or the list of a conversation's turns; two strings are one conversation. A
        row over `max_length` tokens, or over what the model takes, is read without its oldest turns, then without the
        beginning of the question, and only then without the end of the answer; how many are is logged as a warning.

        Raises:
            DataError: The lists differ in length, or are empty, or an item is no text.
            ModelError: A score is no number, or `max_length` leaves no room for an answer.
            ValueError: `batch_size` isn't from 1 to 4096, or `max_length` is under 8.
        """
        from cst.evaluation.judges.classifier import ClassifierJudge

        talks = conversations(user_texts, assistant_texts)
        judge = ClassifierJudge(self._loaded, self._reading(batch_size, max_length))
        return [reading.score for reading in judge.readings(talks, shows_progress=show_progress)]

    def _reading(self, batch_size: int, max_length: int) -> ClassifierSettings:
        from cst.models.classifier_rows import longest_row

        longest = longest_row(self._loaded.tokenizer, self._loaded.model.config)
        shorter = max_length if longest is None else min(max_length, longest)
        given = {**self._settings.model_dump(), "batch_size": batch_size, "max_length": shorter}
        return ClassifierSettings.model_validate(given)


def _loaded(settings: ClassifierSettings, advice: str) -> "LoadedClassifier":
    from cst.models.loading import load_classifier

    try:
        return load_classifier(settings.path, dtype=settings.dtype, device=settings.device)
    except ModelError as error:
        raise ModelError(f"The reward model of {settings.preset} can't be used. {error} {advice}".rstrip()) from error
