"""Exact duplicates: of several versions of one conversation the longest is kept.

Three rules in this order, each independent of the order of the input:

- ``same_id``: of conversations with one page id, the one with most turns (then most text);
- ``same_text``: of conversations with one text, the one with the smallest id;
- ``prefix``: a conversation that a longer one begins with gives way to it.
"""

import string

import xxhash

from datasets_scripts import spool
from datasets_scripts.pipeline import Ledger
from datasets_scripts.spool import Entry, Spool
from ultra.schema import Conversation

STEP = "exact duplicates"
_BLANKS = string.whitespace.encode()

_LONGEST = "turns DESC, length DESC, content, source, line"
_RANK = """
UPDATE kept SET reason = ?, winner = ranked.winner FROM (
    SELECT number, first_value(number) OVER (PARTITION BY {key} ORDER BY {order}) AS winner
    FROM kept WHERE reason IS NULL
) AS ranked
WHERE kept.number = ranked.number AND ranked.winner != kept.number
"""
_PREFIX = """
UPDATE kept SET reason = 'prefix', winner = (
    SELECT longer.number FROM prefix JOIN kept AS longer ON longer.number = prefix.number
    WHERE prefix.content = kept.content AND (longer.reason IS NULL OR longer.reason = 'prefix')
    ORDER BY {order} LIMIT 1
)
WHERE reason IS NULL AND content IN (
    SELECT prefix.content FROM prefix JOIN kept AS longer ON longer.number = prefix.number
    WHERE longer.reason IS NULL OR longer.reason = 'prefix'
)
"""
_FOLLOW = """
UPDATE kept SET winner = next.winner FROM kept AS next
WHERE next.number = kept.winner AND next.winner IS NOT NULL
"""


def entry(conversation: Conversation, root: str) -> Entry:
    """Hash a conversation and each of its beginnings, without the blanks in it.

    A beginning ends with an answer, as each kept conversation does.
    """
    state = xxhash.xxh3_128()
    digests = []
    for turn in conversation.messages:
        text = turn["content"].encode().translate(None, _BLANKS)
        state.update(b"%b\0%b\0" % (turn["role"].encode(), text))
        if turn["role"] == "assistant":
            digests.append(state.digest())
    content = state.digest()
    return Entry(
        conversation.id,
        str(conversation.provenance["source"]),
        root,
        content,
        tuple(digest for digest in digests if digest != content),
        spool.counts(conversation.messages),
    )


def drop_duplicates(spool: Spool, ledger: Ledger) -> None:
    """Mark duplicates in the spool, with the conversation that each gave way to."""
    spool.db.execute("CREATE INDEX prefix_content ON prefix (content)")
    spool.db.execute(_RANK.format(key="id", order=_LONGEST), ("same_id",))
    spool.db.execute(_RANK.format(key="content", order="id, source, line"), ("same_text",))
    order = "longer.turns DESC, longer.length DESC, longer.id, longer.source, longer.line"
    spool.db.execute(_PREFIX.format(order=order))
    for _ in range(2):  # a winner may itself have given way by a later rule, and that one again
        spool.db.execute(_FOLLOW)
    spool.settle(STEP, ledger)
