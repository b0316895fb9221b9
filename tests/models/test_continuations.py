import pytest
import torch
from transformers import AutoModelForCausalLM, MambaConfig, MistralConfig

from cst.models.continuations import can_branch, continuations
from models.tiny import tiny_model

PROMPTS = [[5, 9, 14, 3], [7], [8, 8, 8, 8, 8, 8, 8], [*range(20, 60), 1], [*range(20, 60), 2, 3]]
ENDINGS = [[1], [2, 3, 4], [100, 200, 300, 4, 5, 6], [5, 5]]
PAIRS = [(prompt, ending) for ending in ENDINGS for prompt in PROMPTS]


@pytest.fixture(scope="module")
def model():
    return tiny_model().eval()


def alone(model, prompt, ending):
    """Log-prob and greediness by the definition: one row, no cache, no padding."""
    with torch.no_grad():
        logits = model(torch.tensor([[*prompt, *ending]])).logits[0, len(prompt) - 1 : -1]
    tokens = torch.tensor(ending)
    logp = logits.log_softmax(-1).gather(1, tokens[:, None]).sum()
    return float(logp), bool((logits.argmax(-1) == tokens).all())


@pytest.mark.parametrize("batch_size", [1, 3, 64])
def test_each_is_what_the_model_says_of_it_alone(model, batch_size) -> None:
    found = continuations(model, PAIRS, batch_size=batch_size)
    for one, (prompt, ending) in zip(found, PAIRS, strict=True):
        logp, is_greedy = alone(model, prompt, ending)
        assert one.logp == pytest.approx(logp, abs=1e-4)
        assert one.is_greedy == is_greedy


def test_a_greedy_continuation_is_told_from_its_neighbour(model) -> None:
    with torch.no_grad():
        best = int(model(torch.tensor([PROMPTS[0]])).logits[0, -1].argmax())
    found = continuations(model, [(PROMPTS[0], [best]), (PROMPTS[0], [best - 1])], batch_size=2)
    assert [one.is_greedy for one in found] == [True, False]


def test_a_prompt_is_read_once_for_all_that_follow_it(model) -> None:
    read: list[int] = []
    hook = model.register_forward_pre_hook(
        lambda _model, _args, given: read.append(given["input_ids"].numel()), with_kwargs=True
    )
    continuations(model, [(PROMPTS[2], ending) for ending in ENDINGS], batch_size=64)
    continuations(model, [(PROMPTS[2], [token]) for token in range(9)], batch_size=64)
    hook.remove()
    assert read == [len(PROMPTS[2]), len(ENDINGS) * (max(map(len, ENDINGS)) - 1), len(PROMPTS[2])]


def test_a_window_of_attention_is_kept_to() -> None:
    """And the control: with another window, other numbers."""
    sizes = {"vocab_size": 320, "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2}
    heads = {"num_attention_heads": 4, "num_key_value_heads": 2}
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(MistralConfig(**sizes, **heads, sliding_window=4)).eval()
    assert can_branch(model)
    found = continuations(model, PAIRS, batch_size=8)
    assert [one.logp for one in found] == pytest.approx([alone(model, *pair)[0] for pair in PAIRS], abs=1e-4)
    wide = AutoModelForCausalLM.from_config(MistralConfig(**sizes, **heads, sliding_window=None)).eval()
    wide.load_state_dict(model.state_dict())
    assert max(abs(one.logp - alone(wide, *pair)[0]) for one, pair in zip(found, PAIRS, strict=True)) > 1e-3


def test_a_recurrent_model_cannot_branch(model) -> None:
    mamba = MambaConfig(vocab_size=320, hidden_size=32, num_hidden_layers=1, state_size=4)
    assert can_branch(model)
    assert not can_branch(AutoModelForCausalLM.from_config(mamba))
