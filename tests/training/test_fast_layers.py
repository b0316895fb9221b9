"""Stand-ins against the model's own modules, in whole packs; the model is as before when the context is closed."""

import copy
from pathlib import Path

import pytest
import torch
from packable_models import configs, family
from peft import PeftModel
from running import metrics, run
from test_packed import furthest, rows, with_gradient
from tiny import tuned
from torch import Tensor, nn
from transformers import LlamaConfig, LlamaForCausalLM

from cst.models.adapters import add_lora, load_adapter
from cst.models.loading import LoadedModel
from cst.training.checkpoints import trained
from cst.training.fast_layers import TOLERANCE, TOLERANCE_16_BIT, computes_alike, computing_fast, hidden_difference
from cst.training.packed import language_model, packed_response_logps
from cst.training.tree_attention import attending_in_trees

KNOWN = ["llama", "mistral", "qwen3"]
SEQUENCES = rows((30, 8, 20, 60), 2)
TARGETS = {"all": "all-linear", "feed-forward": ("gate_proj", "up_proj", "down_proj"), "q and v": ("q_proj", "v_proj")}


class ExactNorm(nn.Module):
    """Transformers' norm without its rounding to float32."""

    def __init__(self, stock: nn.Module) -> None:
        super().__init__()
        self.weight, self.epsilon = stock.weight, stock.variance_epsilon

    def forward(self, states: Tensor) -> Tensor:
        return nn.functional.rms_norm(states, states.shape[-1:], self.weight, self.epsilon)


def exact(model: nn.Module) -> nn.Module:
    """A copy in float64 whose norms are float64 too."""
    doubled = copy.deepcopy(model).double()
    for parent in [*doubled.modules()]:
        for name, child in parent.named_children():
            if type(child).__name__.endswith("RMSNorm"):
                setattr(parent, name, ExactNorm(child))
    return doubled


def adapted(name: str, targets: str = "all") -> PeftModel:
    """A model under an adapter on some of its layers, with norms that aren't 1 and B's that aren't 0."""
    base = family(name)
    draw = torch.Generator().manual_seed(4)
    for parameter in base.parameters():
        if parameter.ndim == 1:
            parameter.data += torch.randn(parameter.shape, generator=draw) / 5
    model = add_lora(base, r=3, alpha=5, dropout=0.0, target_modules=TARGETS[targets], seed=1).eval()
    for part, parameter in model.named_parameters():
        if "lora_B" in part:
            nn.init.normal_(parameter, std=0.1, generator=draw)
    return model


def computed(model: nn.Module, *, fast: bool, autocast: bool = False) -> tuple[Tensor, dict[str, Tensor]]:
    """Log-probs of the sequences, and gradients of a DPO loss of theirs."""
    base = language_model(model)
    with attending_in_trees(base), torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        if not fast:
            return told(model)
        with computing_fast(base):
            return told(model)


def told(model: nn.Module) -> tuple[Tensor, dict[str, Tensor]]:
    logps = packed_response_logps(model, SEQUENCES).logps
    return logps.detach(), with_gradient(logps, model, logps)[1]


def stand_ins(model: nn.Module) -> set[str]:
    """The kinds of stand-ins that a model has while it computes fast."""
    with computing_fast(language_model(model)):
        return {type(part).__name__ for part in model.modules() if type(part).__module__.endswith("fast_modules")}


@pytest.mark.parametrize("targets", TARGETS)
@pytest.mark.parametrize("name", KNOWN)
def test_float64_values_and_gradients_are_the_stocks(name: str, targets: str):
    model = adapted(name, targets)
    (found, gradient), (expected, true_gradient) = (
        computed(model.double(), fast=True),
        computed(exact(model), fast=False),
    )
    assert ((found - expected).abs() <= 1e-10 * expected.abs()).all()
    assert furthest(gradient, true_gradient) < 1e-10


@pytest.mark.parametrize("name", configs())
def test_float32_values_and_gradients_are_the_stocks(name: str):
    model = tuned(family(name))
    (found, gradient), (expected, true_gradient) = (computed(model, fast=which) for which in (True, False))
    assert ((found - expected).abs() <= 1e-5 * expected.abs()).all()
    assert furthest(gradient, true_gradient) < 1e-5


@pytest.mark.parametrize("weights", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("name", KNOWN)
def test_bf16_is_as_near_the_truth_as_the_stock(name: str, weights: torch.dtype):
    model = adapted(name)
    for parameter in model.parameters():
        if not parameter.requires_grad:
            parameter.data = parameter.data.bfloat16().to(weights)
    ours, stock = (computed(model, fast=which, autocast=True) for which in (True, False))
    logps, gradient = computed(exact(model), fast=False)
    assert (ours[0] - logps).square().mean() < 2 * (stock[0] - logps).square().mean()
    assert error(ours[1], gradient) < 1.2 * error(stock[1], gradient)


def error(found: dict[str, Tensor], truth: dict[str, Tensor]) -> float:
    return float(sum((found[name].double() - truth[name]).square().sum() for name in truth)) ** 0.5


def test_which_modules_make_way():
    assert stand_ins(adapted("qwen3")) == {"_Norm", "_Attention", "_FeedForward"}
    assert stand_ins(family("llama")) == {"_Norm", "_Attention", "_FeedForward"}
    assert stand_ins(tuned(family("gemma3"))) == {"_Linear"}
    assert stand_ins(tuned(family("phi"))) == set()


@pytest.mark.parametrize(
    ("change", "left"),
    [
        (lambda model: model.requires_grad_(True), set()),
        (lambda model: model.model.layers.append(nn.Identity()), {"_Norm", "_Attention", "_FeedForward"}),
        (
            lambda model: [setattr(layer.mlp, "act_fn", nn.GELU()) for layer in model.model.layers],
            {"_Norm", "_Attention"},
        ),
        (lambda model: [m.register_forward_hook(print) for m in model.modules()], set()),
    ],
    ids=["weights to train", "another layer", "another activation", "hooks"],
)
def test_what_is_not_known_stays(change, left: set[str]):
    model = family("llama")
    change(model)
    assert stand_ins(model) == left


def test_bias_stays():
    base = family("llama").config.to_dict() | {"attention_bias": True, "mlp_bias": True}
    assert stand_ins(LlamaForCausalLM(LlamaConfig(**base)).requires_grad_(False)) == {"_Norm"}


@pytest.mark.parametrize("name", KNOWN)
def test_the_model_is_as_before_also_after_an_error(name: str):
    model = tuned(family(name))
    before, names, parameters = [*model.modules()], list(model.state_dict()), list(trained(model))
    with pytest.raises(KeyboardInterrupt), computing_fast(language_model(model)):
        assert set(trained(model)) == set(parameters)
        assert set(model.state_dict()) == set(names)
        assert [*model.modules()] != before
        raise KeyboardInterrupt
    assert all(now is then for now, then in zip(model.modules(), before, strict=True))
    assert list(model.state_dict()) == names


def test_layers_that_are_computed_again_give_the_same_gradient():
    model = adapted("qwen3")
    expected = computed(model, fast=True)[1]
    base = language_model(model)
    base.activation_checkpointing_enable({"use_reentrant": False})
    for layer in base.model.layers:
        layer.training = True
    assert furthest(computed(model, fast=True)[1], expected) < 1e-6


def test_the_model_is_asked():
    """The control: were attention or feed-forward of another formula than their class's, it would be seen."""
    model = family("llama")
    assert computes_alike(model)
    assert hidden_difference(model) < TOLERANCE / 30
    assert hidden_difference(copy.deepcopy(model).bfloat16()) < TOLERANCE_16_BIT / 3
    feed_forward = model.model.layers[1].mlp
    plain = feed_forward.forward
    feed_forward.forward = lambda states: 1.5 * plain(states)
    assert not computes_alike(model)
    assert hidden_difference(model.bfloat16()) > TOLERANCE_16_BIT
    del feed_forward.forward
    assert hidden_difference(model) < TOLERANCE_16_BIT


def test_a_training_is_the_same_and_its_adapter_plain_peft(loaded: LoadedModel, tmp_path: Path):
    """A hook on each module leaves nothing to stand-ins."""
    result = run(loaded, tmp_path / "fast", nll_weight=0.5)
    hooks = [part.register_forward_hook(lambda _module, _inputs, _output: None) for part in loaded.model.modules()]
    run(loaded, tmp_path / "stock", nll_weight=0.5)
    for hook in hooks:
        hook.remove()
    for one, other in zip(metrics(tmp_path / "fast"), metrics(tmp_path / "stock"), strict=True):
        assert one.loss == pytest.approx(other.loss, abs=1e-5)
        assert one.grad_norm == pytest.approx(other.grad_norm, rel=1e-3)
    assert len(load_adapter(loaded.model, result.adapter).peft_config) == 1
