"""Texts and turns that any format must give back, drawn by hypothesis."""

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from cst.records import Message

IN_A_FOLDER = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=40)
TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=12).filter(
    lambda text: text.strip()
)
TURNS = st.lists(st.tuples(TEXTS, TEXTS), max_size=2).map(
    lambda pairs: tuple(
        Message(role=role, content=text)
        for pair in pairs
        for role, text in zip(("user", "assistant"), pair, strict=True)
    )
)
