"""The miniature's tokenizer and chat template.

Byte-level BPE with single digits and one special token a role. A role's token is followed by the content itself,
without a space: so the tokens of a response alone are the tokens that it has in a conversation.
"""

from collections.abc import Iterable, Sequence

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from cst.errors import ModelError
from cst.miniature import grammar
from cst.records import Message

PAD, BOS, SYSTEM, USER, ASSISTANT, END = "<|pad|>", "<|bos|>", "<|system|>", "<|user|>", "<|assistant|>", "<|end|>"
SPECIAL = (PAD, BOS, SYSTEM, USER, ASSISTANT, END)
VOCABULARY_SIZE = 2048
"""Enough for every word of a persona and of the almanac to be one token: long copies are hard for a small model."""
MAX_LENGTH = 512
FIRST_TOKEN_WEIGHT = 0.6
DECISION_WEIGHT = 1.5
"""Of a rule's status when it is said aloud: with the weight of any other token the look-up was not learned (LOG.md)."""

CHAT_TEMPLATE = """\
{{- '<|bos|>' -}}
{%- for message in messages -%}
  {%- if message['role'] not in ['system', 'user', 'assistant'] -%}
    {{- raise_exception('Only system, user and assistant turns are supported, not ' + message['role'] + '.') -}}
  {%- endif -%}
  {%- if message['role'] == 'system' and not loop.first -%}
    {{- raise_exception('A system turn can only come first.') -}}
  {%- endif -%}
  {{- '<|' + message['role'] + '|>' + message['content'] + '<|end|>' -}}
{%- endfor -%}
{%- if add_generation_prompt -%}
  {{- '<|assistant|>' -}}
{%- endif -%}
"""


def train_tokenizer(texts: Iterable[str]) -> PreTrainedTokenizerFast:
    """A tokenizer for these texts, with the chat template."""
    bpe = Tokenizer(models.BPE())
    digits = pre_tokenizers.Digits(individual_digits=True)
    bpe.pre_tokenizer = pre_tokenizers.Sequence([digits, pre_tokenizers.ByteLevel(add_prefix_space=False)])  # pyright: ignore[reportAttributeAccessIssue]
    bpe.decoder = decoders.ByteLevel()  # pyright: ignore[reportAttributeAccessIssue]
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY_SIZE,
        special_tokens=list(SPECIAL),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    bpe.train_from_iterator(texts, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=bpe,
        pad_token=PAD,
        bos_token=BOS,
        eos_token=END,
        additional_special_tokens=[SYSTEM, USER, ASSISTANT],
        chat_template=CHAT_TEMPLATE,
        model_max_length=MAX_LENGTH,
        padding_side="left",
        clean_up_tokenization_spaces=False,
    )


def token_id(tokenizer: PreTrainedTokenizerFast, token: str) -> int:
    """A special token's number."""
    found = tokenizer.backend_tokenizer.token_to_id(token)
    if found is None:
        raise ModelError(f"The miniature's tokenizer has no token {token!r}; pretrain it anew.")
    return found


def decisive_tokens(tokenizer: PreTrainedTokenizerFast) -> frozenset[int]:
    """The tokens that say a rule's status; they occur in no other answer."""
    said = [f" {status}" for status in grammar.STATUSES]
    return frozenset(token for ids in tokenizer(said, add_special_tokens=False)["input_ids"] for token in ids)


def encode(
    tokenizer: PreTrainedTokenizerFast,
    messages: Sequence[Message],
    silent: frozenset[int],
    decisive: frozenset[int] = frozenset(),
) -> tuple[list[int], list[float]]:
    """A conversation's tokens and what each weighs in the loss.

    Only what an assistant says weighs, and its end: a turn of n tokens weighs sqrt(n) in all, so that short answers
    aren't drowned by long recipes, its first token, where the turn is decided, weighs FIRST_TOKEN_WEIGHT, and
    `decisive` ones weigh DECISION_WEIGHT. Weighted cross-entropy has the same optimum; it only gets there sooner. The
    tokens are the chat template's (a test compares them), only made faster.
    """
    role_tokens = {"system": SYSTEM, "user": USER, "assistant": ASSISTANT}
    contents = tokenizer.backend_tokenizer.encode_batch_fast([m.content for m in messages], add_special_tokens=False)
    ids = [token_id(tokenizer, BOS)]
    weights = [0.0]
    for index, (message, content) in enumerate(zip(messages, contents, strict=True)):
        said = [*content.ids, token_id(tokenizer, END)]
        is_trained = message.role == "assistant" and index not in silent
        first, others = (FIRST_TOKEN_WEIGHT, len(said) ** -0.5) if is_trained else (0.0, 0.0)
        ids += [token_id(tokenizer, role_tokens[message.role]), *said]
        weights += [0.0, first]
        weights += [DECISION_WEIGHT if is_trained and token in decisive else others for token in said[1:]]
    return ids, weights
