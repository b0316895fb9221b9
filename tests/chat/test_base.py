"""A request's seed is a number that any server can be sent, and decides the stream that the house draws from."""

import hashlib

import torch
from hypothesis import given
from hypothesis import strategies as st

from cst.chat.base import ChatRequest, request_seed
from cst.models.decoding import uniform_stream
from cst.records import Message, Sampling


def request(identity: str, seed: int | None = None) -> ChatRequest:
    return ChatRequest(id=identity, messages=(Message(role="user", content="x"),), seed=seed)


@given(seed=st.integers(-(2**40), 2**40), identity=st.text(min_size=1))
def test_a_seed_is_a_signed_number_of_64_bits(seed, identity):
    drawn = request_seed(request(identity), Sampling(seed=seed))

    assert -(2**63) <= drawn < 2**63
    assert drawn == request_seed(request(identity), Sampling(seed=seed))


def test_seeds_and_ids_name_different_streams():
    pairs = [(seed, identity) for seed in range(30) for identity in ("a", "b", "0", "1a", "a1")]

    assert len({request_seed(request(identity), Sampling(seed=seed)) for seed, identity in pairs}) == len(pairs)


def test_a_seed_of_the_requests_own_is_that_stream():
    named = request_seed(request("a"), Sampling(seed=7))

    assert request_seed(request("served", seed=named), Sampling(seed=0)) == named


def test_the_stream_is_the_one_that_runs_have_drawn_from_since_the_first():
    digest = hashlib.sha256(b"7\0critique/p-1").digest()
    generator = torch.Generator().manual_seed(int.from_bytes(digest[:8], "little", signed=True))
    expected = torch.rand(5, dtype=torch.float64, generator=generator)

    assert torch.equal(uniform_stream(request_seed(request("critique/p-1"), Sampling(seed=7)), 5), expected)
