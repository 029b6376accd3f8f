"""Exact duplicates: of several versions of one conversation the longest is kept.

Three rules in this order, each independent of the order of the input:

- ``same_id``: of conversations with one page id, the one with most turns (then most text);
- ``same_text``: of conversations with one text, the one with the smallest id;
- ``prefix``: a conversation that a longer one begins with gives way to it.
"""

import xxhash

from datasets_scripts.pipeline import Ledger
from datasets_scripts.spool import Entry, Spool
from ultra.schema import Conversation

STEP = "exact duplicates"

_LONGEST = "turns DESC, length DESC, content, source, row"
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
_REPORT = """
INSERT INTO dropped
SELECT shorter.id, shorter.source, ?, shorter.reason,
    'kept ' || winner.id || ' of ' || winner.source
FROM kept AS shorter JOIN kept AS winner ON winner.number = shorter.winner
"""


def entry(conversation: Conversation) -> Entry:
    """Hash a conversation and each of its beginnings; blanks are evened out first."""
    state = xxhash.xxh3_128()
    digests = []
    length = 0
    for turn in conversation.messages:
        state.update(f"{turn['role']}\0{' '.join(turn['content'].split())}\0".encode())
        digests.append(state.digest())
        length += len(turn["content"])
    source = str(conversation.provenance["source"])
    return Entry(conversation.id, source, digests[-1], tuple(digests[:-1]), length)


def drop_duplicates(spool: Spool, ledger: Ledger) -> None:
    """Mark duplicates in the spool, with the conversation that each gave way to."""
    ((count,),) = spool.db.execute("SELECT count(*) FROM kept")
    ledger.enter(STEP, count)
    spool.db.execute("CREATE INDEX prefix_content ON prefix (content)")
    spool.db.execute(_RANK.format(key="id", order=_LONGEST), ("same_id",))
    spool.db.execute(_RANK.format(key="content", order="id, source, row"), ("same_text",))
    order = "longer.turns DESC, longer.length DESC, longer.id, longer.source, longer.row"
    spool.db.execute(_PREFIX.format(order=order))
    for _ in range(2):  # a winner may itself have given way by a later rule, and that one again
        spool.db.execute(_FOLLOW)
    spool.db.execute(_REPORT, (STEP,))
    query = "SELECT reason, count(*) FROM kept WHERE reason IS NOT NULL GROUP BY reason"
    for reason, found in spool.db.execute(query).fetchall():
        ledger.drop(STEP, reason, found)
