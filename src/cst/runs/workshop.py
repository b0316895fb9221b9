"""From a recipe's words to the things they name: prompts, configurations, models, judges.

Models are loaded when they are first asked for, the start model once. A command makes one workshop and passes it on.
"""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, final

from cst.chat.budget import FREE, Budget
from cst.chat.journal import Journal
from cst.errors import RecipeError
from cst.preferences.rows import quarantine_file
from cst.preferences.selection import prompts_of, under_configurations
from cst.preferences.sources import Reading, stream_preferences, stream_prompts, without_held_out, without_repeats
from cst.preferences.splits import hold_out
from cst.recipe import Recipe
from cst.recipe.data import DataFile, PreferenceFile, PromptFile, PromptSource
from cst.recipe.judges import ModerationSettings
from cst.recipe.models import ChatModelSettings, LocalChatSettings, ModelSettings, Prices
from cst.records import Preference, Prompt, SafetyConfiguration, Sampling, Side
from cst.runs.own import OwnParts, given_of
from cst.store import fingerprint_of_file
from cst.synthesis.critique import cast_of

if TYPE_CHECKING:
    from cst.chat.base import ChatModel
    from cst.chat.journalled import Journalled
    from cst.judges import Judge
    from cst.models.loading import LoadedModel
    from cst.models.rendering import Renderer
    from cst.synthesis.gates import SideJudge
    from cst.synthesis.planning import Shard

NOTHING_OWN = OwnParts()
"""Nothing of the caller's own: recipes that name Python code or the embedded world are rejected."""

BASE = "base"
"""The start model's name among the models that are scored."""

JOURNAL = "journal.sqlite"
"""The file of a run folder in which every model call is written down."""

HELD_OUT_PROMPTS, EVALUATION_PROMPTS = "held_out_prompts.jsonl", "evaluation_prompts.jsonl"
"""Prompts to score models on; and those among the held-out ones that are asked while a model is trained."""


def held_out_files(recipe: Recipe) -> tuple[str, ...]:
    """The files of a run folder with prompts that nothing may be trained on."""
    return (HELD_OUT_PROMPTS, EVALUATION_PROMPTS) if recipe.training.asks_prompts else (HELD_OUT_PROMPTS,)


@final
class Workshop:
    """What the stages of one run share: the recipe, its folder, the journal, and models as they are needed.

    All calls of models keep to `budget`. With a `shard`, its share of the training prompts are all there are. `own`
    are the caller's own parts, by the names that the recipe uses.
    """

    def __init__(
        self,
        recipe: Recipe,
        folder: Path,
        *,
        budget: Budget | None = None,
        shard: "Shard | None" = None,
        own: OwnParts = NOTHING_OWN,
    ) -> None:
        self.recipe = recipe
        self.folder = folder
        self.shard = shard
        self.own = own
        self._budget = budget
        self._opened = ExitStack()

    @property
    def seed(self) -> int:
        """The recipe's seed, which is added to every other."""
        return self.recipe.seed

    @cached_property
    def configurations(self) -> tuple[SafetyConfiguration, ...]:
        """The recipe's safety configurations."""
        given = self.recipe.configurations
        return tuple(self.own.the_world("configurations").configurations()) if given == "miniature" else given

    def configurations_of(self, model: str) -> list[SafetyConfiguration]:
        """The configurations that a model is trained on: those it names, or all.

        Raises:
            RecipeError: The model names a configuration that isn't there.
        """
        names = self.recipe.models[model]
        known = {configuration.name: configuration for configuration in self.configurations}
        for name in names:
            if name not in known:
                raise RecipeError(f"models.{model} names the configuration {name!r}, but there are only {list(known)}.")
        return [known[name] for name in names] or list(self.configurations)

    def prompts(self) -> tuple[Iterator[Prompt], list[Prompt]]:
        """The training prompts as they are read (all at once where a share is held out), and the held-out prompts.

        Raises:
            DataError: A file can't be used, an id stands twice, or a held-out prompt is a training prompt; with the
                training prompts, when they are gone through.
        """
        settings, apart = self.recipe.prompts, list[Prompt]()
        read = (self._read(source, held_out=False) for source in settings.training)
        training: Iterable[Prompt] = without_repeats(chain.from_iterable(read), "prompts.training")
        if share := settings.held_out_share:
            training, apart = hold_out(list(training), share, where="prompts.held_out_share", seed=self.seed)
        named = (self._read(source, held_out=True) for source in settings.held_out)
        every = chain(chain.from_iterable(named), apart, self._prompts_of_held_out_rows())
        held_out = list(without_repeats(every, "prompts.held_out"))
        training = without_held_out(training, held_out)
        return training if self.shard is None else self.shard.share(training), held_out

    def _read(self, source: PromptSource, *, held_out: bool) -> Iterable[Prompt]:
        if isinstance(source, PromptFile):
            return stream_prompts(source.path, task=source.task, n=source.n, reading=self.reading(source))
        world = self.own.the_world("prompts")
        draw = world.evaluation_prompts if held_out else world.training_prompts
        return draw(source.n, task=source.task, seed=source.seed + self.seed)

    def _prompts_of_held_out_rows(self) -> list[Prompt]:
        source = self.recipe.preferences
        if source is None or not source.held_out_share:
            return []
        where = "preferences.held_out_share"
        _, rows = hold_out(list(self.preferences(source)), source.held_out_share, where=where, seed=self.seed)
        return prompts_of(rows, self.configurations)

    def preferences(self, source: PreferenceFile) -> Iterator[Preference]:
        """The rows of a preference file, as they are read.

        Raises:
            DataError: When they are gone through: the file can't be used, or an id stands twice.
        """
        return without_repeats(stream_preferences(source.path, reading=self.reading(source)), source.path)

    def preferences_for(self, model: str, source: PreferenceFile) -> list[Preference]:
        """The rows of a preference file that stand under the configurations that a model names; all if it names none.

        Each then bears the name of its configuration, where that can be told.

        Raises:
            DataError: The model names some, and rows stand under no configuration.
        """
        return under_configurations(self.preferences(source), self.configurations, self.recipe.models[model])

    def reading(self, source: DataFile) -> Reading:
        """How a file of the recipe is read; its bad rows go to the run folder."""
        return Reading(
            format=source.format,
            columns=source.columns,
            quarantine=quarantine_file(self.folder / "quarantine", source.path),
            skip_bad_rows=source.skip_bad_rows,
        )

    def prompt_file_fingerprints(self) -> dict[str, str]:
        """SHA-256 of each prompt file that the recipe names."""
        sources = (*self.recipe.prompts.training, *self.recipe.prompts.held_out)
        files = [source.path for source in sources if isinstance(source, PromptFile) and source.path.is_file()]
        return {str(file): fingerprint_of_file(file) for file in files}

    @cached_property
    def model_path(self) -> str:
        """Where the start model lies."""
        return self.own.model_folder(self.recipe.model.path)

    @cached_property
    def model_fingerprint(self) -> str:
        """What the start model's weights, configuration, tokenizer and template hash to; weights aren't loaded."""
        from cst.models.folders import model_fingerprint

        return model_fingerprint(self.model_path, chat_template=self.recipe.model.chat_template)

    @property
    def start_model(self) -> list[object]:
        """What decides an answer of any model of the run, besides its tuned weights: they are input files."""
        return [self.recipe.model, self.model_fingerprint, self.seed]

    @cached_property
    def base(self) -> "LoadedModel":
        """The start model."""
        return self.load()

    def load(self, tuned: Path | None = None) -> "LoadedModel":
        """The start model, or what was tuned from it: an adapter in front of it, or a folder of weights."""
        full = self.recipe.training.full
        path = str(tuned) if tuned is not None and full else self.model_path
        return _load(self.recipe.model, path, adapter=None if full else tuned)

    def loaded(self, model: str) -> "LoadedModel":
        """A model of the run by its name."""
        return self.base if model == BASE else self.load(self.tuned_folder(model))

    @property
    def renderer(self) -> "Renderer":
        """What turns messages into tokens for the recipe's model; weights aren't loaded."""
        from cst.models.loading import load_renderer

        settings = self.recipe.model
        return load_renderer(
            self.model_path, system_policy=settings.system_policy, chat_template=settings.chat_template
        )

    def tuned_folder(self, model: str) -> Path:
        """Where a trained model of this run lies: its adapter, or its weights where all of them are trained."""
        return self.folder / "models" / model / ("model" if self.recipe.training.full else "adapter")

    @property
    def tuned(self) -> list[str]:
        """The tuned models' folders, from the run folder."""
        return [str(self.tuned_folder(model).relative_to(self.folder)) for model in self.recipe.models]

    @cached_property
    def journal(self) -> Journal:
        """Where every model call is written down."""
        return Journal(self.folder / JOURNAL, budget=self._budget)

    def chat(self, loaded: "LoadedModel", name: str, batch_size: int) -> "Journalled":
        """A model to talk to, whose answers are journalled."""
        from cst.chat.local import LocalChat

        return self.journalled(LocalChat(loaded, name=name, batch_size=batch_size))

    def journalled(self, chat: "ChatModel", prices: Prices = FREE) -> "Journalled":
        """A model whose calls are written down."""
        from cst.chat.journalled import Journalled

        return Journalled(chat, self.journal, prices=prices)

    @cached_property
    def synthesis_cast(self) -> tuple[str | None, ...]:
        """The names of the chat models that have a role in synthesis, each once; None for the start model."""
        methods = self.recipe.synthesis.methods if self.recipe.synthesis else ()
        return tuple(dict.fromkeys(name for method in methods for name in cast_of(method).values()))

    def synthesis_chats(self) -> "tuple[Journalled | None, dict[str, Journalled]]":
        """The start model, if it has a role in synthesis, and those of `chat_models` that have one.

        Raises:
            RecipeError: As for `chat_model`.
        """
        assert self.recipe.synthesis is not None
        named = {name: self.chat_model(name) for name in self.synthesis_cast if name is not None}
        if None not in self.synthesis_cast:
            return None, named
        return self.chat(self.base, self.recipe.model.path, self.recipe.synthesis.batch_size), named

    def synthesis_models(self) -> list[object]:
        """What decides the answers of all models that have a role in synthesis."""
        deciding: list[object] = []
        for name in self.synthesis_cast:
            deciding += [self.recipe.model, self.model_fingerprint] if name is None else self.chat_model_sources(name)
        return deciding

    def chat_model_sources(self, name: str) -> list[object]:
        """What decides the answers of a model that the recipe names in `chat_models`."""
        from cst.models.folders import model_fingerprint

        if name in self.own.chats:
            return [name, self.own.chats[name].fingerprint]
        settings = self.recipe.chat_models[name]
        if not isinstance(settings, LocalChatSettings):
            return [name, settings]
        path = self.own.model_folder(settings.path)
        return [name, settings, model_fingerprint(path, chat_template=settings.chat_template)]

    def chat_model(self, name: str) -> "Journalled":
        """A model that the recipe names in `chat_models`, whose answers are journalled.

        Raises:
            RecipeError: There is no such name, or the environment doesn't hold the model's key.
            ModelError: A local model can't be loaded.
        """
        if name in self.own.chats:
            return self.journalled(self.own.chats[name])
        settings = self._chat_settings(name)
        if settings.kind == "local":
            loaded, batch_size = self.loaded_chat_model(name)
            return self.chat(loaded, name, batch_size)
        if settings.kind == "python":
            return self.journalled(given_of(self.own.chats, name, where="chat_models", argument="chats"))
        from cst.chat.endpoint import Endpoint

        endpoint = self._opened.enter_context(Endpoint(settings, name=name))
        return self.journalled(endpoint, settings.prices)

    def loaded_chat_model(self, name: str) -> "tuple[LoadedModel, int]":
        """The weights and the renderer of a model of `chat_models` that runs in this process; and its batch size.

        Raises:
            RecipeError: There is no such name, or it is no such model.
            ModelError: It can't be loaded.
        """
        settings = self._chat_settings(name)
        if settings.kind != "local":
            what = "an endpoint" if settings.kind == "endpoint" else "a model of your own"
            raise RecipeError(f"chat_models.{name} is {what}, whose logits can't be seen. Name one of kind: local.")
        return _load(settings, self.own.model_folder(settings.path)), settings.batch_size

    def is_local(self, name: str) -> bool:
        """Whether a model of `chat_models` is loaded by this process."""
        return name not in self.own.chats and self._chat_settings(name).kind == "local"

    def _chat_settings(self, name: str) -> ChatModelSettings:
        known = self.recipe.chat_models
        if name not in known:
            raise RecipeError(f"There is no chat model {name!r} in the recipe's chat_models, only {list(known)}.")
        return known[name]

    def moderation(self, settings: ModerationSettings) -> "Journalled":
        """OpenAI's moderation endpoint, whose results are journalled.

        Raises:
            RecipeError: The environment doesn't hold a key.
        """
        from cst.chat.moderation import ModerationEndpoint

        return self.journalled(self._opened.enter_context(ModerationEndpoint(settings)))

    @cached_property
    def judge(self) -> "Judge":
        """Who says which side an answer shows.

        Raises:
            RecipeError: The recipe names no judge.
        """
        from cst.runs.judging import judge_of

        if self.recipe.judge is None:
            raise RecipeError(
                "The recipe has no section `judge`, and answers are to be judged. Add `judge: {kind: ...}`."
            )
        return judge_of(self.recipe.judge, self)

    @property
    def judged_by(self) -> list[object]:
        """What decides a verdict, besides the answer: the judge's settings, and the models and files that they name."""
        from cst.runs.judging import judge_sources

        settings = self.recipe.judge
        return [None] if settings is None else [settings, *judge_sources(settings, self)]

    @cached_property
    def side_judge(self) -> "SideJudge | None":
        """The judge as the gates of synthesis take it; None where the recipe names none."""
        if self.recipe.judge is None:
            return None
        from cst.judges import Candidate

        def sides(answers: Sequence[tuple[Prompt, str]]) -> list[Side | None]:
            candidates = [Candidate(prompt=prompt, text=text) for prompt, text in answers]
            return [opinion.exhibits for opinion in self.judge.opinions(candidates)]

        return sides

    def sampling(self, temperature: float) -> Sampling:
        """How held-out prompts are answered."""
        settings = self.recipe.generation
        return Sampling(temperature=temperature, max_new_tokens=settings.max_new_tokens, seed=settings.seed + self.seed)

    def close(self) -> None:
        """Close connections, and the journal if it was opened."""
        self._opened.close()
        if "journal" in self.__dict__:
            self.journal.close()


def _load(settings: ModelSettings, path: str, *, adapter: Path | None = None) -> "LoadedModel":
    from cst.models.loading import load_model

    return load_model(
        path,
        dtype=settings.dtype,
        quantization=settings.quantization,
        device=settings.device,
        adapter=adapter,
        merge_adapter=True,  # what is tuned here only answers; the journal's key tells merged from unmerged
        system_policy=settings.system_policy,
        chat_template=settings.chat_template,
    )
