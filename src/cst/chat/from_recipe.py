"""From a recipe's `chat_models` to models to talk to, whose calls are journalled."""

from collections.abc import Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from cst.chat.base import ChatModel
from cst.chat.journalled import Journalled
from cst.journal import Journal
from cst.recipe.models import ChatModelSettings, LocalChatSettings

if TYPE_CHECKING:
    from cst.models.loading import LoadedModel


@contextmanager
def chat_model_of(name: str, settings: ChatModelSettings, journal: Journal) -> Generator[Journalled]:
    """The chat model of that name, until the block ends; what it imports is what it needs.

    Raises:
        RecipeError: The environment doesn't hold the key that an endpoint's settings name.
        ModelError: A local model can't be loaded.
    """
    if isinstance(settings, LocalChatSettings):
        yield Journalled(_local(name, settings), journal)
        return
    from cst.chat.endpoint import Endpoint

    with Endpoint(settings, name=name) as endpoint:
        yield Journalled(endpoint, journal, prices=settings.prices)


def loaded_of(settings: LocalChatSettings) -> "LoadedModel":
    """The weights, tokenizer and renderer of a model in this process.

    Raises:
        ModelError: It can't be loaded.
    """
    from cst.models.loading import load_model

    return load_model(
        settings.path,
        dtype=settings.dtype,
        device=settings.device,
        system_policy=settings.system_policy,
        chat_template=settings.chat_template,
    )


def _local(name: str, settings: LocalChatSettings) -> ChatModel:
    from cst.chat.local import LocalChat

    return LocalChat(loaded_of(settings), name=name, batch_size=settings.batch_size)
