"""Near duplicates: of conversations that share most of their text the longest is kept.

Two conversations are compared by the Jaccard similarity of their sets of shingles, five words in a
row, with who speaks standing between the turns. It is estimated by MinHash (Broder, On the
resemblance and containment of documents, 1997): the share of 128 hash functions by which both sets
have the same least value. At a similarity of 0.8 the standard error is sqrt(0.8 * 0.2 / 128) =
0.035, or less.

Signatures are those of rensa's R-MinHash, after Dahlgaard, Knudsen and Thorup, Fast Similarity
Sketching, 2017. It is integer arithmetic, so that their bytes depend on no machine; they do depend
on the algorithm (``RMinHash.ALGORITHM_VERSION`` 2, that of rensa 0.5), and a change of that is a
new version of every corpus.

Pairs to compare are found by locality-sensitive hashing: a signature is cut into bands, and only
conversations that share a whole band meet. Bands live in tables of the caller's database, not in
memory.
"""

import sqlite3
import struct
from collections.abc import Iterable, Iterator, Sequence

from xxhash import xxh3_64_intdigest

from datasets_scripts.words import words
from ultra.schema import Message

SHINGLE = 5
"""Words in a row; five is what the published large-scale text corpora use."""
PERMUTATIONS = 128
SIGNATURE_BYTES = 4 * PERMUTATIONS
LEADERS = 32
"""Kept conversations of one band that later ones are compared with.

A band that more share is a common beginning or a template. Its later members still meet in their
other bands, and what is lost is a pair of which every shared band is as common.
"""
RECALL = 0.99
"""Least chance that two conversations just as similar as the threshold share a band."""

_SEED = 1
_MULTIPLIER = 0x9E3779B97F4A7C15  # odd, 2**64 divided by the golden ratio: it spreads low bits
_CROWDED = """
CREATE TABLE crowded AS SELECT number, key FROM (
    SELECT number, key, count(*) OVER (PARTITION BY key) AS members FROM band
) WHERE members > 1
"""
_LEADER = """
CREATE TABLE leader (key INT, rank INT, number INT, PRIMARY KEY (key, rank)) WITHOUT ROWID
"""
_IN_ORDER = """
SELECT number, signature FROM kept WHERE number IN (SELECT number FROM crowded)
ORDER BY turns DESC, length DESC, content, source, id, signature
"""
_LEADERS_MET = """
SELECT kept.number, kept.signature FROM kept JOIN (
    SELECT leader.rank, leader.number
    FROM crowded JOIN leader ON leader.key = crowded.key
    WHERE crowded.number = ? GROUP BY leader.rank
) AS met ON met.number = kept.number ORDER BY met.rank
"""
_LEAD = """
INSERT INTO leader SELECT key, ?, number FROM crowded
WHERE number = ? AND (SELECT count(*) FROM leader WHERE leader.key = crowded.key) < ?
"""
_MARK = """
UPDATE kept SET reason = 'near_duplicate', winner = near.winner
FROM near WHERE near.number = kept.number
"""


def signature(messages: Sequence[Message]) -> bytes:
    """The MinHash signature of a conversation, ``SIGNATURE_BYTES`` long, little-endian.

    Every word begins one shingle, the last ones filled up, so that a text of one word has some too.
    """
    import numpy as np  # takes a tenth of a second, which --help can do without
    from rensa import RMinHash  # type: ignore[import-untyped]

    said: list[bytes] = []
    for turn in messages:
        said.append(b"\0" + turn["role"].encode())  # no word has a NUL
        said += words(turn["content"])
    said += [b"\0"] * (SHINGLE - 1)
    hashes = np.fromiter(map(xxh3_64_intdigest, said), np.uint64, len(said))
    count = len(said) - SHINGLE + 1
    shingles = hashes[:count].copy()
    for place in range(1, SHINGLE):  # a polynomial modulo 2**64
        shingles *= np.uint64(_MULTIPLIER)
        shingles += hashes[place : place + count]
    minima = RMinHash.digest_matrix_from_flat_token_hashes(
        shingles, [0, count], PERMUTATIONS, _SEED
    ).to_rows()[0]
    return struct.pack(f"<{PERMUTATIONS}I", *minima)


def band_rows(threshold: float) -> int:
    """Values of the signature in a band: the most with which pairs at the threshold still meet.

    With bands of r values, a pair of similarity s shares one of the 128 // r with probability
    1 - (1 - s**r) ** (128 // r) (Leskovec, Rajaraman, Ullman, Mining of Massive Datasets, 3.4).
    """
    for rows in range(PERMUTATIONS, 1, -1):
        if 1 - (1 - threshold**rows) ** (PERMUTATIONS // rows) >= RECALL:
            return rows
    return 1


def drop_near_duplicates(db: sqlite3.Connection, threshold: float) -> None:
    """Give near duplicates in the table ``kept`` their ``reason`` and their ``winner``.

    Of the rows without a reason, in the order of most turns, then most text, then content: one
    whose estimated similarity with an earlier one that is kept is ``threshold`` (above 0, to 1) or
    more gives way to the most similar of these. What is marked depends on no row number.
    """
    db.execute("CREATE TABLE band (key INT, number INT)")
    db.executemany("INSERT INTO band VALUES (?, ?)", _bands(db, band_rows(threshold)))
    db.execute(_CROWDED)
    db.execute("DROP TABLE band")
    db.execute("CREATE INDEX crowded_number ON crowded (number, key)")
    db.execute(_LEADER)
    db.execute("CREATE TABLE near (number INT, winner INT)")
    for rank, (number, mine) in enumerate(db.execute(_IN_ORDER)):
        met = db.execute(_LEADERS_MET, (number,)).fetchall()
        if met:
            best, share = _most_similar(mine, [signature for _, signature in met])
            if share >= threshold:
                db.execute("INSERT INTO near VALUES (?, ?)", (number, met[best][0]))
                continue
        db.execute(_LEAD, (rank, number, LEADERS))
    db.execute(_MARK)
    for table in ("near", "leader", "crowded"):
        db.execute(f"DROP TABLE {table}")


def _bands(db: sqlite3.Connection, rows: int) -> Iterator[tuple[int, int]]:
    """The key of each band of each row that is kept, as SQLite's signed 64 bits, and its number."""
    width = 4 * rows
    starts = range(0, SIGNATURE_BYTES - width + 1, width)
    for number, all_bands in db.execute(
        "SELECT number, signature FROM kept WHERE reason IS NULL AND signature IS NOT NULL"
    ):
        for start in starts:
            yield xxh3_64_intdigest(all_bands[start : start + width]) - 2**63, number


def _most_similar(mine: bytes, others: Iterable[bytes]) -> tuple[int, float]:
    """Which of the other signatures is the most similar, the first of several, and how similar."""
    import numpy as np

    matrix = np.frombuffer(b"".join(others), np.uint32).reshape(-1, PERMUTATIONS)
    same = (matrix == np.frombuffer(mine, np.uint32)).sum(axis=1)
    best = int(same.argmax())
    return best, int(same[best]) / PERMUTATIONS
