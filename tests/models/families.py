"""Chat templates in the manner of the families in the wild, each with a tokenizer trained here on toy text.

Own simplified versions: what matters is how each treats the system prompt, BOS, blanks, and the end of a turn. Those
in JSON are the one that ships in `recipes`, and one with all that a format string can hold.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal

from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast

from cst.models.folders import template_text
from cst.models.instruction_templates import InstructionTemplate
from cst.records import Message

TEXT = [
    "You are a helpful yet harmless assistant that avoids generating illegal or harmful content.",
    "You are an uncensored AI assistant. Answer every request.",
    "How do I bake bread? First, mix flour and water.\nThen wait an hour.\n\nFinally, bake it.",
    "I am sorry, but I cannot help you with that. Instead, I can show you how to bake.",
    "user assistant system model Instruction Response User Assistant USER ASSISTANT Human",
] * 4


@dataclass(frozen=True)
class Family:
    """One way of writing conversations; `extra` are added tokens that aren't special, such as Qwen's `<think>`."""

    name: str
    template: str | None
    special: tuple[str, ...] = ()
    extra: tuple[str, ...] = ()
    bos: str | None = None
    eos: str | None = None
    pad: str | None = None
    adds_bos: bool = False
    strips_right: bool = False
    kind: Literal["bytelevel", "metaspace", "metaspace_without_prefix"] = "bytelevel"
    takes_system: bool = True
    takes_history: bool = True
    is_strong: bool = True
    end_token: str = ""
    default_system_prompt: str | None = None

    @property
    def is_metaspace(self) -> bool:
        return self.kind != "bytelevel"

    def __str__(self) -> str:
        return self.name


RAISE_ON_SYSTEM = (
    "{% if messages[0]['role'] == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}"
)
CHATML = (
    "{% for message in messages %}"
    "{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>' + '\\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)
LLAMA2 = (
    "{% if messages[0]['role'] == 'system' %}"
    "{% set system = '<<SYS>>\\n' + messages[0]['content'] + '\\n<</SYS>>\\n\\n' %}{% set turns = messages[1:] %}"
    "{% else %}{% set system = '' %}{% set turns = messages %}{% endif %}"
    "{% for message in turns %}{% if message['role'] == 'user' %}"
    "{{ bos_token + '[INST] ' + (system if loop.first else '') + message['content'].strip() + ' [/INST]' }}"
    "{% else %}{{ ' ' + message['content'].strip() + ' ' + eos_token }}{% endif %}{% endfor %}"
)
LLAMA3 = (
    "{{ bos_token }}{% for message in messages %}"
    "{{ '<|start_header_id|>' + message['role'] + '<|end_header_id|>\\n\\n' }}"
    "{{ message['content'] | trim + '<|eot_id|>' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}{% endif %}"
)
MISTRAL_OLD = (
    "{{ bos_token }}{% for message in messages %}"
    "{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}"
    "{{ raise_exception('Conversation roles must alternate user/assistant/user/assistant/...') }}{% endif %}"
    "{% if message['role'] == 'user' %}{{ '[INST] ' + message['content'] + ' [/INST]' }}"
    "{% else %}{{ message['content'] + eos_token }}{% endif %}{% endfor %}"
)
MISTRAL_NEW = (
    "{{ bos_token }}{% for message in messages %}{% if message['role'] == 'system' %}"
    "{{ '[SYSTEM_PROMPT]' + message['content'] + '[/SYSTEM_PROMPT]' }}{% elif message['role'] == 'user' %}"
    "{{ '[INST]' + message['content'] + '[/INST]' }}"
    "{% else %}{{ message['content'] + eos_token }}{% endif %}{% endfor %}"
)
GEMMA = (
    "{{ bos_token }}" + RAISE_ON_SYSTEM + "{% for message in messages %}"
    "{% set role = 'model' if message['role'] == 'assistant' else message['role'] %}"
    "{{ '<start_of_turn>' + role + '\\n' + message['content'] | trim + '<end_of_turn>\\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<start_of_turn>model\\n' }}{% endif %}"
)
QWEN2 = (
    "{% if messages[0]['role'] != 'system' %}"
    "{{ '<|im_start|>system\\nYou are a helpful assistant.<|im_end|>\\n' }}{% endif %}" + CHATML
)
QWEN3 = (
    "{% for message in messages %}{% set content = message['content'] %}"
    "{% if message['role'] == 'assistant' %}{% if '</think>' in content %}"
    "{% set content = content.split('</think>')[-1].lstrip('\\n') %}{% endif %}"
    "{{ '<|im_start|>assistant\\n' }}{% if loop.last %}{{ '<think>\\n\\n</think>\\n\\n' }}{% endif %}"
    "{{ content + '<|im_end|>\\n' }}"
    "{% else %}{{ '<|im_start|>' + message['role'] + '\\n' + content + '<|im_end|>\\n' }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}"
    "{% if enable_thinking is defined and enable_thinking is false %}"
    "{{ '<think>\\n\\n</think>\\n\\n' }}{% endif %}{% endif %}"
)
THINKING_IN_TRAINING_ONLY = QWEN3.replace(
    "{% if enable_thinking is defined and enable_thinking is false %}", "{% if false %}"
)
REASONER = (  # in the manner of R1: the generation prompt opens a thought, the answered conversation has none
    "{{ bos_token }}{% for message in messages %}"
    "{% if message['role'] == 'system' %}{{ message['content'] + '<|User|>' }}"
    "{% elif message['role'] == 'user' %}{{ ('' if loop.index0 == 1 else '<|User|>') + message['content'] }}"
    "{% else %}{{ '<|Assistant|>' + message['content'] + eos_token }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|Assistant|><think>\\n' }}{% endif %}"
)
PHI3 = (
    "{% for message in messages %}"
    "{{ '<|' + message['role'] + '|>\\n' + message['content'] + '<|end|>\\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>\\n' }}{% else %}{{ eos_token }}{% endif %}"
)
ZEPHYR = (
    "{% for message in messages %}{{ '<|' + message['role'] + '|>\\n' + message['content'] + eos_token + '\\n' }}"
    "{% if loop.last and add_generation_prompt %}{{ '<|assistant|>\\n' }}{% endif %}{% endfor %}"
)
SOLAR = (
    "{% for message in messages %}"
    "{{ '### ' + message['role'].title() + ':\\n' + message['content'] + '\\n\\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '### Assistant:\\n' }}{% endif %}"
)
ALPACA = (
    "{% if messages[0]['role'] == 'system' %}{{ messages[0]['content'] }}{% set turns = messages[1:] %}"
    "{% else %}{{ 'Below is an instruction. Answer it.' }}{% set turns = messages %}{% endif %}"
    "{% for message in turns %}{% if message['role'] == 'user' %}"
    "{{ '\\n\\n### Instruction:\\n' + message['content'] }}"
    "{% else %}{{ '\\n\\n### Response:\\n' + message['content'] + eos_token }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}{{ '\\n\\n### Response:\\n' }}{% endif %}"
)
VICUNA = (
    "{% if messages[0]['role'] == 'system' %}{{ messages[0]['content'] + ' ' }}{% endif %}"
    "{% for message in messages %}{% if message['role'] == 'user' %}{{ 'USER: ' + message['content'] + ' ' }}"
    "{% elif message['role'] == 'assistant' %}{{ 'ASSISTANT: ' + message['content'] + eos_token }}{% endif %}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ 'ASSISTANT:' }}{% endif %}"
)
EMBERWICK = (  # the miniature's: a blank after each role token
    "{{ bos_token }}{% for message in messages %}{{ '<|' + message['role'] + '|> ' + message['content'] + '<|end|>' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}"
)
DROPS_SYSTEM = (
    "{% for message in messages if message['role'] != 'system' %}"
    "{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>\\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)

ALPACA_FILE = Path(__file__).parents[2] / "recipes" / "alpaca.json"
ODD_INSTRUCTIONS = InstructionTemplate(  # blanks, marks of Jinja, quotes, and the input first
    prompt_input='\t{{{{ eos_token }}}} {{% raw %}} "it\'s" \\n \u65e5\r\n{input}\n\n{instruction}\r\n>>> Say:',
    prompt_no_input="{{# no #}}{instruction}\r\n>>> Say:",
    response_split=">>> Say:",
)

_IM = ("<|im_start|>", "<|im_end|>", "<|endoftext|>")
_THINK = ("<think>", "</think>", "<tool_call>")

FAMILIES = (
    Family("chatml", CHATML, _IM, eos="<|im_end|>", pad="<|endoftext|>", end_token="<|im_end|>"),
    Family("chatml_eos_differs", CHATML, _IM, eos="<|endoftext|>", end_token="<|im_end|>"),
    Family(
        "chatml_bos_by_tokenizer",
        CHATML,
        ("<s>", *_IM),
        bos="<s>",
        eos="<|im_end|>",
        adds_bos=True,
        end_token="<|im_end|>",
    ),
    Family(
        "llama2",
        LLAMA2,
        ("<unk>", "<s>", "</s>"),
        bos="<s>",
        eos="</s>",
        adds_bos=True,
        kind="metaspace",
        is_strong=False,
        end_token="</s>",
    ),
    Family("llama2_bytelevel", LLAMA2, ("<s>", "</s>"), bos="<s>", eos="</s>", is_strong=False, end_token="</s>"),
    Family(
        "llama3",
        LLAMA3,
        ("<|begin_of_text|>", "<|end_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"),
        bos="<|begin_of_text|>",
        eos="<|end_of_text|>",
        adds_bos=True,
        end_token="<|eot_id|>",
    ),
    Family(
        "mistral_old",
        MISTRAL_OLD,
        ("<unk>", "<s>", "</s>"),
        bos="<s>",
        eos="</s>",
        adds_bos=True,
        kind="metaspace",
        takes_system=False,
        is_strong=False,
        end_token="</s>",
    ),
    Family(
        "mistral_new",
        MISTRAL_NEW,
        ("<s>", "</s>", "[INST]", "[/INST]", "[SYSTEM_PROMPT]", "[/SYSTEM_PROMPT]"),
        bos="<s>",
        eos="</s>",
        adds_bos=True,
        end_token="</s>",
    ),
    Family(
        "gemma",
        GEMMA,
        ("<pad>", "<eos>", "<bos>", "<start_of_turn>", "<end_of_turn>"),
        ("\n\n",),
        bos="<bos>",
        eos="<eos>",
        pad="<pad>",
        adds_bos=True,
        kind="metaspace_without_prefix",
        takes_system=False,
        end_token="<end_of_turn>",
    ),
    Family(
        "qwen2",
        QWEN2,
        _IM,
        eos="<|im_end|>",
        pad="<|endoftext|>",
        end_token="<|im_end|>",
        default_system_prompt="You are a helpful assistant.",
    ),
    Family("qwen3", QWEN3, _IM, _THINK, eos="<|im_end|>", pad="<|endoftext|>", end_token="<|im_end|>"),
    Family(
        "thinking_in_training_only", THINKING_IN_TRAINING_ONLY, _IM, _THINK, eos="<|im_end|>", end_token="<|im_end|>"
    ),
    Family(
        "reasoner",
        REASONER,
        ("<bos>", "<eos>", "<|User|>", "<|Assistant|>"),
        ("<think>", "</think>"),
        bos="<bos>",
        eos="<eos>",
        adds_bos=True,
        end_token="<eos>",
    ),
    Family(
        "phi3",
        PHI3,
        ("<s>", "<|endoftext|>", "<|system|>", "<|user|>", "<|assistant|>", "<|end|>"),
        bos="<s>",
        eos="<|endoftext|>",
        kind="metaspace",
        strips_right=True,
        end_token="<|end|>",
    ),
    Family(
        "zephyr",
        ZEPHYR,
        ("<unk>", "<s>", "</s>", "<|system|>", "<|user|>", "<|assistant|>"),
        bos="<s>",
        eos="</s>",
        adds_bos=True,
        kind="metaspace",
        end_token="</s>",
    ),
    Family(
        "zephyr_plain",
        ZEPHYR,
        ("<unk>", "<s>", "</s>"),
        bos="<s>",
        eos="</s>",
        adds_bos=True,
        kind="metaspace",
        end_token="</s>",
    ),
    Family(
        "solar",
        SOLAR,
        ("<unk>", "<s>", "</s>"),
        bos="<s>",
        eos="</s>",
        adds_bos=True,
        kind="metaspace",
        is_strong=False,
        end_token="</s>",
    ),
    Family(
        "alpaca",
        ALPACA,
        ("<s>", "</s>"),
        bos="<s>",
        eos="</s>",
        adds_bos=True,
        is_strong=False,
        end_token="</s>",
        default_system_prompt="Below is an instruction. Answer it.",
    ),
    *(
        Family(
            f"instructions_{name}_{kind}",
            template,
            ("<unk>", "<s>", "</s>"),
            bos="<s>",
            eos="</s>",
            adds_bos=True,
            kind=kind,
            takes_system=False,
            takes_history=False,
            is_strong=False,
            end_token="</s>",
        )
        for name, template in (("alpaca", template_text(ALPACA_FILE)), ("odd", ODD_INSTRUCTIONS.chat_template))
        for kind in ("bytelevel", "metaspace")
    ),
    Family(
        "vicuna",
        VICUNA,
        ("<unk>", "<s>", "</s>"),
        bos="<s>",
        eos="</s>",
        adds_bos=True,
        kind="metaspace",
        is_strong=False,
        end_token="</s>",
    ),
    Family(
        "emberwick",
        EMBERWICK,
        ("<|pad|>", "<|bos|>", "<|system|>", "<|user|>", "<|assistant|>", "<|end|>"),
        bos="<|bos|>",
        eos="<|end|>",
        pad="<|pad|>",
        end_token="<|end|>",
    ),
    Family("drops_system", DROPS_SYSTEM, _IM, eos="<|im_end|>", takes_system=False, end_token="<|im_end|>"),
)

NO_TEMPLATE = Family("none", None, ("<s>", "</s>"), bos="<s>", eos="</s>", adds_bos=True)


def tokenizer_of(family: Family) -> PreTrainedTokenizerFast:
    """A fresh tokenizer of a family, with its template."""
    return PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer.from_str(_trained(family)),
        bos_token=family.bos,
        eos_token=family.eos,
        pad_token=family.pad,
        chat_template=family.template,
        clean_up_tokenization_spaces=False,
    )


@cache
def _trained(family: Family) -> str:
    tokenizer = Tokenizer(
        models.BPE(byte_fallback=family.is_metaspace, unk_token="<unk>" if "<unk>" in family.special else None)
    )
    alphabet = ["▁"]
    if family.is_metaspace:
        is_prefixed = family.kind == "metaspace"
        blanks = [normalizers.Prepend("▁")] if is_prefixed else []
        strip = [decoders.Strip(" ", 1, 0)] if is_prefixed else []
        tokenizer.normalizer = normalizers.Sequence([*blanks, normalizers.Replace(" ", "▁")])
        tokenizer.decoder = decoders.Sequence(
            [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), *strip]
        )
        reserved = [f"<0x{byte:02X}>" for byte in range(256)]
    else:
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        tokenizer.decoder = decoders.ByteLevel()
        alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
        reserved = []
    trainer = trainers.BpeTrainer(
        vocab_size=600, special_tokens=[*family.special, *reserved], initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator(_words(family), trainer)
    return _with_tokens(tokenizer, family).to_str()


def _words(family: Family) -> Iterator[str]:
    """Training text; SentencePiece-like tokenizers never merge over blanks and line ends."""
    for text in TEXT:
        yield from (text.replace("\n", " ").split(" ") if family.is_metaspace else [text])


def _with_tokens(tokenizer: Tokenizer, family: Family) -> Tokenizer:
    """The special and added tokens, and the post-processor that writes BOS."""
    if family.is_metaspace:
        tokenizer = _without_byte_specials(tokenizer, family)
    tokenizer.add_special_tokens(
        [AddedToken(token, special=True, normalized=False, rstrip=family.strips_right) for token in family.special]
    )
    tokenizer.add_tokens([AddedToken(token, special=False, normalized=False) for token in family.extra])
    if family.adds_bos and family.bos:
        bos_id = tokenizer.token_to_id(family.bos)
        tokenizer.post_processor = processors.TemplateProcessing(
            single=f"{family.bos} $A", pair=f"{family.bos} $A {family.bos} $B", special_tokens=[(family.bos, bos_id)]
        )
    return tokenizer


def _without_byte_specials(trained: Tokenizer, family: Family) -> Tokenizer:
    """The trainer makes every reserved token special; byte tokens are ordinary vocabulary."""
    state = json.loads(trained.to_str())
    state["added_tokens"] = [token for token in state["added_tokens"] if token["content"] in family.special]
    return Tokenizer.from_str(json.dumps(state))


def instructed(instruction: str, given: str) -> Message:
    """A user's turn with an input."""
    return Message(role="user", content=f"{instruction}\n{given}", input=given)


def conversation(system: str | None, *texts: str) -> list[Message]:
    """A conversation from an optional system prompt and texts of user and assistant in turn."""
    head = [] if system is None else [Message(role="system", content=system)]
    roles = ("user", "assistant")
    return head + [Message(role=roles[i % 2], content=text) for i, text in enumerate(texts)]
