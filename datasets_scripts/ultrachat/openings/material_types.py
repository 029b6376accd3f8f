"""Of what kind a text is, guessed from its address and its first words.

The kinds are the 20 published ones. Whole words of the address count most, then words near the
beginning of the text; a text that nothing speaks for is an article.
"""

import re
from collections import Counter
from urllib.parse import unquote, urlsplit

OTHERWISE = "Articles and Blog Posts"
_ADDRESS = 4
"""What a word of the address counts, against one in the text."""
_HEAD = 2_000
"""Characters of a text that are looked at."""

_IN_ADDRESS = {
    "Articles and Blog Posts": "blog article articles post posts column guide guides howto",
    "Job Application Material": "job jobs career careers resume cv vacancy recruiting hiring",
    "Stories": "story stories fiction tale tales fanfic novel novels chapter",
    "Legal Documents and Contracts": "legal law terms contract contracts policy privacy statute",
    "Poems": "poem poems poetry verse haiku sonnet",
    "Educational Content": "edu course courses lesson lessons school tutorial learn wiki textbook",
    "Screenplays": "screenplay screenplays script scripts film movie scene",
    "Scripts for Language Learning": "esl efl phrasebook vocabulary language languages grammar",
    "Technical Documents and Reports": "docs documentation manual manuals spec report reports rfc",
    "Marketing Materials": "promo campaign landing offer offers brochure advertising marketing",
    "Social Media Posts": "twitter facebook instagram reddit tumblr tiktok status mastodon forum",
    "Personal Essays": "essay essays memoir diary journal personal reflections",
    "Emails": "mail email emails newsletter newsletters mailing list inbox",
    "Scientific Papers and Summaries": "arxiv pubmed doi abstract paper papers science research",
    "Speeches and Presentations": "speech speeches talk talks slides keynote transcript sermon",
    "Recipes and Cooking Instructions": "recipe recipes cooking cook kitchen food baking",
    "News Articles": "news press breaking daily times herald gazette world politics",
    "Song Lyrics": "lyrics lyric song songs",
    "Product Descriptions and Reviews": "product products review reviews shop store item buy",
    "Programs and Code": "github gitlab code snippet gist stackoverflow programming api",
}
_IN_TEXT = {
    "Job Application Material": "applicant resume curriculum vacancy salary qualifications",
    "Stories": "whispered stared suddenly nodded smiled muttered once upon",
    "Legal Documents and Contracts": "hereby pursuant herein shall clause liability tenant thereof",
    "Educational Content": "lesson pupils learners exercise definition chapter objectives",
    "Screenplays": "int ext fade cut scene voiceover",
    "Scripts for Language Learning": "vocabulary pronunciation phrase grammar noun verb dialogue",
    "Technical Documents and Reports": "install configuration module appendix version device",
    "Marketing Materials": "discount exclusive subscribe customers brand limited today",
    "Social Media Posts": "lol retweet followers hashtag upvote omg",
    "Personal Essays": "childhood remember felt myself realised realized",
    "Emails": "dear regards sincerely subject attached forwarded cc",
    "Scientific Papers and Summaries": "abstract hypothesis participants methods et al significant",
    "Speeches and Presentations": "ladies gentlemen honoured applause tonight audience",
    "Recipes and Cooking Instructions": "tablespoon tbsp tsp teaspoon oven simmer grams bake stir",
    "News Articles": "reporters spokesperson officials minister police announced mayor council",
    "Song Lyrics": "chorus verse refrain bridge",
    "Product Descriptions and Reviews": "warranty stars recommend bought refund durable waiter",
    "Programs and Code": "def import return class function const void struct include",
}
_WORD = re.compile(r"[a-z]{2,}")


def _owners(table: dict[str, str]) -> dict[str, str]:
    return {word: kind for kind, words in table.items() for word in words.split()}


_BY_ADDRESS, _BY_WORD = _owners(_IN_ADDRESS), _owners(_IN_TEXT)


def guess(text: str, address: str = "") -> str:
    """The kind of a text, a line of ``recipe/materials.txt``."""
    scores: Counter[str] = Counter()
    for word in set(_words_of_address(address)) & _BY_ADDRESS.keys():
        scores[_BY_ADDRESS[word]] += _ADDRESS
    for word in set(_WORD.findall(text[:_HEAD].lower())) & _BY_WORD.keys():
        scores[_BY_WORD[word]] += 1
    best = max(scores.values(), default=0)
    return min((kind for kind in scores if scores[kind] == best), default="") or OTHERWISE


def _words_of_address(address: str) -> list[str]:
    try:
        parts = urlsplit(address[:2_000])
    except ValueError:  # a bracket where none may be
        return []
    return _WORD.findall(unquote(f"{parts.netloc} {parts.path}").lower())
