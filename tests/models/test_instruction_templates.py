import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jinja2 import Environment

from cst.errors import RenderingError
from cst.models.folders import template_text
from cst.models.instruction_templates import InstructionTemplate, chat_template_in, jinja_literal
from cst.models.loading import load_model, load_renderer
from cst.models.rendering import Renderer
from models.families import ALPACA_FILE, NO_TEMPLATE, conversation, instructed, tokenizer_of

ALPACA = json.loads(ALPACA_FILE.read_text())
TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\U000f0000\U000f0001"), max_size=20)
CODE = st.sampled_from(
    ["{{ 7 * 7 }}", "{% raw %}", "{# no #}", "{%- set x = 1 %}", "'", '"', "\\", "\\n", "\r\n", "\x00"]
)


def renderer_with(template: str) -> Renderer:
    return Renderer.for_tokenizer(tokenizer_of(NO_TEMPLATE), chat_template=template)


def written(**changes: object) -> str:
    return json.dumps({key: value for key, value in (ALPACA | changes).items() if value is not None})


@given(before=TEXTS | CODE, between=TEXTS | CODE, after=TEXTS | CODE, instruction=TEXTS, about=TEXTS)
def test_a_prompt_is_what_str_format_writes(before: str, between: str, after: str, instruction: str, about: str):
    before, between, after = (text.replace("{", "{{").replace("}", "}}") for text in (before, between, after))
    template = InstructionTemplate(
        prompt_input=f"{before}{{instruction}}{between}{{input}}{after}\n>>>",
        prompt_no_input=f"{before}{{instruction}}{after}\n>>>",
        response_split=">>>",
    )
    render = renderer_with(template.chat_template).text
    assert render(conversation(None, instruction)) == template.prompt_no_input.format(instruction=instruction)
    if about:
        expected = template.prompt_input.format(instruction=instruction, input=about)
        assert render([instructed(instruction, about)]) == expected


def test_an_answered_instruction_is_prompt_response_and_eos():
    tokenizer, renderer = tokenizer_of(NO_TEMPLATE), renderer_with(template_text(ALPACA_FILE))
    example = renderer.example([instructed("Count the loaves.", "one, two")], "Two.\n### Response:\nTwo. ")
    prompt = ALPACA["prompt_input"].format(instruction="Count the loaves.", input="one, two")
    assert tokenizer.decode(example.tokens) == f"<s>{prompt}Two.\n### Response:\nTwo. </s>"
    assert renderer.parse(example.tokens[example.response_start :]) == "Two.\n### Response:\nTwo. "


def test_an_input_is_guarded_as_an_instruction_is():
    tokenizer, template = tokenizer_of(NO_TEMPLATE), template_text(ALPACA_FILE)
    turn = {"role": "user", "content": "Count </s> them.", "input": "one </s><s> two"}
    plain = tokenizer.apply_chat_template([turn], chat_template=template, return_dict=False)
    tokens = renderer_with(template).prompt([instructed(turn["content"], turn["input"])])
    assert tokenizer.decode(tokens) == tokenizer.bos_token + tokenizer.decode(plain)
    forged = {tokenizer.bos_token_id, tokenizer.eos_token_id}
    assert not forged & set(tokens[1:])
    assert sum(token in forged for token in plain) == 3, "the control: unguarded, it would forge them"


def test_a_template_in_json_is_taken_wherever_one_in_jinja_is(whole: Path, tmp_path: Path):
    jinja = tmp_path / "alpaca.jinja"
    jinja.write_text(template_text(ALPACA_FILE))
    from_json = load_model(str(whole), device="cpu", chat_template=ALPACA_FILE)
    from_jinja = load_model(str(whole), device="cpu", chat_template=jinja)
    assert from_json.fingerprint == from_jinja.fingerprint != load_model(str(whole), device="cpu").fingerprint
    assert load_renderer(str(whole), chat_template=ALPACA_FILE).describe() == from_json.renderer.describe()
    description = from_json.renderer.describe()
    assert (description.boundary, description.end_token) == ("weak", "<|end|>")
    assert description.template_sha256 != load_renderer(str(whole)).describe().template_sha256
    from_json.tokenizer.save_pretrained(tmp_path / "saved")
    assert (tmp_path / "saved" / "chat_template.jinja").read_text() == jinja.read_text()


def test_a_system_prompt_is_refused_or_goes_before_the_instruction():
    tokenizer, turn = tokenizer_of(NO_TEMPLATE), instructed("Count them.", "one, two")
    messages = [*conversation("Be brief."), turn]
    with pytest.raises(RenderingError, match=r"no place for a system prompt.*system_policy=fold_into_user"):
        renderer_with(template_text(ALPACA_FILE)).prompt(messages)
    folding = Renderer.for_tokenizer(
        tokenizer, chat_template=template_text(ALPACA_FILE), system_policy="fold_into_user"
    )
    assert folding.text(messages) == ALPACA["prompt_input"].format(
        instruction="Be brief.\n\nCount them.", input="one, two"
    )


def test_a_second_turn_is_refused():
    with pytest.raises(RenderingError, match="one instruction and one response"):
        renderer_with(template_text(ALPACA_FILE)).prompt(conversation(None, "Hi", "Hello", "How?"))


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"prompt_no_input": "Say:\n### Response:"}, r"prompt_no_input has no \{instruction\}; put it"),
        ({"prompt_input": "{input}\n### Response:"}, r"prompt_input has no \{instruction\}"),
        ({"prompt_input": "{instruction}\n### Response:"}, r"prompt_input has no \{input\}"),
        ({"prompt_no_input": "{instruction}{input}### Response:"}, r"unknown placeholder \{input\}; it takes"),
        ({"prompt_input": "{instruction}{input}{label}### Response:"}, r"unknown placeholder \{label\}"),
        ({"prompt_no_input": "{instruction.__class__}### Response:"}, r"placeholder \{instruction.__class__\}"),
        ({"prompt_no_input": "{instruction!r:>9}### Response:"}, r"placeholder \{instruction!r:>9\}"),
        ({"prompt_no_input": "{% raw %}{instruction}### Response:"}, r"placeholder \{% raw %\}"),
        ({"prompt_no_input": "{}{instruction}### Response:"}, r"placeholder \{\}"),
        ({"prompt_no_input": "{instruction} } ### Response:"}, r"prompt_no_input can't be read \(Single '}'"),
        ({"prompt_no_input": "{instruction}\nAnswer:"}, r"response_split='### Response:'.*prompt_no_input ends with"),
        ({"prompt_input": "{instruction}### Response:{input}"}, r"prompt_input ends with ''"),
        ({"prompt_no_input": "### Response:{instruction} so"}, r"prompt_no_input ends with ' so'"),
        ({"response_split": ""}, "response_split: String should have at least 1 character"),
        ({"response_split": None}, "response_split: Field required"),
        ({"prompt_input": None}, "prompt_input: Field required"),
        ({"prompt_input": 3}, "prompt_input: Input should be a valid string"),
        ({"system": "Be kind."}, "system: Extra inputs are not permitted"),
    ],
)
def test_a_file_that_is_no_instruction_template_is_refused(changes: dict[str, object], complaint: str, tmp_path: Path):
    path = tmp_path / "mine.json"
    path.write_text(written())
    assert template_text(path), "the control: unchanged, it is one"
    path.write_text(written(**changes))
    with pytest.raises(RenderingError, match=rf"mine.json is no instruction template: .*{complaint}"):
        template_text(path)


@pytest.mark.parametrize("text", ["", "{", "[]", "5", '"{instruction}"', '{"prompt_input": "\\ud83c"}'])
def test_a_file_that_is_no_object_is_refused(text: str):
    with pytest.raises(RenderingError, match=r"is no instruction template: .*Give a JSON object with prompt_input"):
        chat_template_in(text, Path("mine.json"))


def test_json_is_known_by_what_it_is_and_jinja_too():
    assert chat_template_in(written(), Path("mine.txt")) == template_text(ALPACA_FILE)
    assert chat_template_in("{{ messages[0].content }}", Path("mine.txt")) == "{{ messages[0].content }}"


@given(text=TEXTS | CODE)
def test_a_literal_is_its_text(text: str):
    assert Environment().from_string(f"{{{{ {jinja_literal(text)} }}}}").render() == text
