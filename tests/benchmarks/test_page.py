"""Words of models become HTML in which nothing acts, loads or breaks out, whatever they are."""

import re
import time

import orjson
import pytest

from benchmarks import page
from tests.benchmarks.hostile import ANSWERS

_HARMLESS = re.compile(
    r"</?(?:p|em|strong|s|code|pre|blockquote|ul|li|h[1-6]|table|thead|tbody|tr|th|td)>|<br>|<hr>"
    r'|<ol(?: start="\d+")?>|</ol>|</a>'
    r'|<a href="https?://[^"]*" target="_blank" rel="noopener noreferrer nofollow">'
)


@pytest.mark.parametrize("name", ANSWERS)
def test_only_harmless_elements_are_left(name: str) -> None:
    rendered = page.markdown(ANSWERS[name])
    assert "<" not in _HARMLESS.sub("", rendered)
    rendered.encode("utf-8")
    assert len(rendered) < 40 * page.MOST_CHARACTERS


def test_markdown_is_rendered() -> None:
    words = "# A\n\n- **b** `c`\n\n| x | y |\n|---|--:|\n| 1 | 2 |\n\n1 < 2\n3\n[a](https://b.c/d)"
    rendered = page.markdown(words)
    for part in ("<h1>A</h1>", "<li><strong>b</strong> <code>c</code></li>", "<td>2</td>"):
        assert part in rendered
    assert "1 &lt; 2<br>\n3<br>" in rendered
    assert '<a href="https://b.c/d" target="_blank"' in rendered


def test_an_image_is_its_address_and_loads_nothing() -> None:
    rendered = page.markdown("![a <b>](http://127.0.0.1:9/p.png)")
    assert rendered == "<p><code>[image: a &lt;b&gt; http://127.0.0.1:9/p.png]</code></p>\n"


def test_what_is_nested_too_deep_is_shown_as_text() -> None:
    assert "deep" in page.markdown("> " * 500 + "deep")
    assert "item 199" in page.markdown(
        "\n".join("  " * n + f"- item {n}" for n in range(200))[-900:]
    )


def test_long_words_are_cut_and_say_so() -> None:
    assert "only the beginning is shown" in page.markdown("a " * page.MOST_CHARACTERS)
    assert "only the beginning is shown" in page.shortened("a " * page.MOST_CHARACTERS)
    assert page.shortened("a") == "a"


def test_no_words_take_long() -> None:
    before = time.process_time()
    for words in ANSWERS.values():
        page.markdown(words)
    assert time.process_time() - before < 60  # seconds; a pattern that goes back takes for ever


def test_data_cannot_end_its_script() -> None:
    words = ["</script><!--", "\u2028\u2029", "&lt;"]
    written = page.data(words)
    assert not set("<>&\u2028\u2029") & set(written)
    assert orjson.loads(written) == words


def test_what_is_put_into_a_page_is_not_looked_at_again() -> None:
    slots = dict.fromkeys(("note", "sections", "count"), "<!--script-->")
    made = page.fill("leaderboard", slots)
    assert made.count("<!--script-->") == 3
    policy = re.search(r'Content-Security-Policy" content="([^"]+)"', made)
    assert policy is not None
    assert policy[1].startswith("default-src 'none'; style-src 'sha256-")
    assert "unsafe" not in policy[1]
