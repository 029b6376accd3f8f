"""Personal data: what is found, what only looks like it, and what is done about it."""

import base64
import hashlib
import re
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from datasets_scripts import personal_data
from datasets_scripts.personal_data import Action, protect
from datasets_scripts.pipeline import Drop
from ultra.schema import Conversation, Message

_DRAWN = base64.b64encode(hashlib.sha512(b"drawn").digest()).decode()
_LETTERS = "".join(filter(str.isalnum, _DRAWN))
_HEX = hashlib.sha256(b"drawn").hexdigest()
_UPPER = base64.b32encode(hashlib.sha256(b"drawn").digest()).decode()
# Put together here, so that no scanner takes this file for a leak.
_PEM = "-----BEGIN {0}PRIVATE KEY-----⟦\n" + _DRAWN + "\n⟧-----END {0}PRIVATE KEY-----"
_JWT = ".".join("eyJ" + hashlib.sha256(part).hexdigest() for part in (b"head", b"claims"))

# The part that is personal stands between ⟦ and ⟧.
EMAILS = [
    "Write to ⟦maria.keller@posteo.de⟧, please.",
    "my mail is ⟦tom_1987@gmail.com⟧.",
    "请发邮件到⟦xiaoming.li@163.com⟧谢谢",
    "<⟦j.oneil@firm.co.uk⟧>",
    "mailto:⟦h.tanaka@u-tokyo.ac.jp⟧?subject=Hi",
    '{"email": "⟦Anna+news@web.de⟧", "age": 41}',
    "From: Ana Silva <⟦ana@empresa.com.br⟧>\nTo: <⟦rui@empresa.com.br⟧>",
    "**⟦sales-team@shop.store⟧**",
    "Mail ⟦me@site.com⟧.Thanks",
    "⟦a@b.io⟧,⟦c@d.ai⟧;⟦e@f.org⟧",
    "Пишите на ⟦ivan.petrov@yandex.ru⟧!",
    "user ⟦x1@mail.example.info⟧ signed up",
    "Schreib an ⟦jürgen.müller@web.de⟧, oder ⟦info@bücher-müller.de⟧.",
    "⟦josé@gmail.com⟧ und ⟦Ørsted+x@mail.dk⟧",
    "⟦ju\u0308rgen@web.de⟧, ⟦zoe\u0308@web.de⟧",
    "почта ⟦анна.п@почта.рф⟧",
    "⟦小明@163.com⟧, 请发邮件到⟦li@163.com⟧",
]
PHONES = [
    "Call me at ⟦(415) 867-5309⟧ tonight",
    "⟦415-867-5309⟧",
    "office ⟦212.736.5000⟧",
    "⟦+1 415 867 5309⟧ is mine",
    "WhatsApp: ⟦+44 7911 123456⟧",
    "⟦+49 30 901820⟧ in Berlin, ⟦+44 (0)20 7219 4272⟧ in London",
    "⟦+33 1 42 68 53 00⟧",
    "⟦+86 138 1234 5670⟧",
    "手机号是⟦13812345670⟧。谢谢",
    "微信同号 ⟦139 1234 5670⟧",
    "Tél. ⟦06 12 34 57 78⟧",
    "mon numéro : ⟦01.42.68.53.00⟧",
    "Ruf an: ⟦0171 2345670⟧",
    "Büro ⟦030/9018200⟧",
    "電話は⟦03-3213-1111⟧です",
    "携帯 ⟦090-1234-5670⟧",
    "연락처 ⟦010-2345-6710⟧",
    "Ligue ⟦(11) 98765-4320⟧",
    "звоните ⟦8 (912) 345-67-80⟧",
    "⟦+7 912 345-67-80⟧",
    "ring ⟦020 7219 4272⟧ or ⟦07911 123456⟧",
    "Phone number: ⟦9876543211⟧",
    "Mob ⟦+91 98765 43211⟧",
    "my phone is ⟦0412 345 670⟧",
    '"phone": "⟦4158675309⟧"',
    "fax ⟦+39 06 6982 1234⟧.",
    "⟦+44 7911 123456⟧ ⟦415-867-5309⟧, ⟦1-415-867-5309⟧",
    "Mi número es ⟦612 345 678⟧, il mio cellulare ⟦347 1234568⟧, my # is ⟦4158675309⟧",
    "电话⟦+86 138 1234 5670⟧, México ⟦+52 55 5123 4567⟧",
    "Москва ⟦+7 (495) 739-70-00⟧, Київ ⟦+380 44 253 41 17⟧",
    "Cep: ⟦0532 123 45 67⟧",
    "電話 ⟦0912-345-670⟧",
    "⟦+34 612 34 56 78⟧ / ⟦+31 6 12345678⟧",
]
ADDRESSES = [
    "my server is ⟦93.184.216.34⟧",
    "http://⟦81.2.69.142⟧:8080/admin",
    "ssh root@⟦167.99.23.41⟧",
    "Failed password for root from ⟦218.92.0.107⟧ port 22 ssh2",
    "ip=⟦5.188.210.227⟧&port=80",
    "从⟦36.152.44.95⟧登录",
    "⟦2a00:1450:4001:81b::200e⟧ answered",
    "inet6 ⟦2003:e7:bf1f:4a00:9d2:7f3c:18aa:52b1⟧/64",
    "[⟦2600:1f18:24e6:b900::7⟧]:443, ⟦2a01:4f8:c17:b0f::2⟧",
    "AAAA ⟦2a01:4f8:c17:b0f::2⟧",
    "⟦142.250.185.78⟧, ⟦52.95.110.1⟧",
]
KEYS = [
    "openai.api_key = '⟦sk-" + _LETTERS[:48] + "⟧'",
    "OPENAI_API_KEY=⟦sk-proj-" + _DRAWN[:60].replace("+", "-").replace("/", "_") + "⟧",
    "ANTHROPIC_API_KEY=⟦sk-ant-api03-" + _LETTERS[:60] + "⟧",
    "export AWS_ACCESS_KEY_ID=⟦AKIA" + _UPPER[:16] + "⟧",
    "aws_secret_access_key = ⟦" + _DRAWN[:40] + "⟧",
    "key=⟦AIza" + _LETTERS[:35] + "⟧&q=x",
    "git clone https://⟦ghp_" + _LETTERS[:36] + "⟧@github.com/me/repo",
    "token ⟦github_pat_" + _LETTERS[:22] + "_" + _LETTERS[:59] + "⟧",
    "PRIVATE-TOKEN: ⟦glpat-" + _LETTERS[:20] + "⟧",
    "login(token='⟦hf_" + _LETTERS[:34] + "⟧')",
    "//registry.npmjs.org/:_authToken=⟦npm_" + _LETTERS[:36] + "⟧",
    "⟦xoxb-" + "129384756012-483920175634-" + _LETTERS[:24] + "⟧",
    "https://hooks.slack.com/services/⟦T0"
    + _UPPER[:8]
    + "/B0"
    + _UPPER[8:16]
    + _LETTERS[:1]
    + "/"
    + _LETTERS[:24]
    + "⟧",
    "stripe.api_key = '⟦sk_live_" + _LETTERS[:24] + "⟧'",
    "⟦SG." + _LETTERS[:22] + "." + _LETTERS[:43] + "⟧",
    "https://api.telegram.org/bot5839201746:⟦AA" + _LETTERS[:33] + "⟧/getMe",
    "curl -H 'Authorization: Bearer ⟦" + _LETTERS[:40] + "⟧'",
    "Cookie: jwt=⟦" + _JWT + "." + _LETTERS[:43] + "⟧;",
    "my key:\n" + _PEM.format("RSA ") + "\nhelp",
    _PEM.format("OPENSSH "),
    _PEM.format("") + " and " + _PEM.format("EC "),
    "postgres://app:⟦Tr0ub4dor&3⟧@db.internal:5432/prod",
    "mongodb+srv://me:⟦kX9vQ2mZ⟧@cluster0.mongodb.net",
    "client_secret: '⟦" + _LETTERS[:32] + "⟧'",
    "密钥⟦sk-" + _HEX[:32] + "⟧不要外传",
    '{"api_key": "⟦' + _HEX[:32] + '⟧"}',
    "TWILIO=⟦SK" + _HEX[:32] + "⟧",
]
CARDS = [
    "card ⟦4539 5787 6362 1486⟧ exp 12/27",
    "⟦4539578763621486⟧",
    "⟦5425-2334-3010-9903⟧",
    "amex ⟦3742 454554 00126⟧",
    "number: ⟦6011000991300009⟧",
    "卡号⟦6250941006528599⟧",
    "⟦3566002020360505⟧ (JCB)",
    "Diners ⟦36227206271667⟧",
]

NOTHING = [
    "see https://example.com or ask joe@example.org, root@localhost, me@host.test",
    "git clone git@github.com:me/repo.git",
    "git remote add origin ssh://deploy@git.firm.com/x.git",
    "npm install vue@3.2.1 @angular/core@next lodash@4.17.21",
    "<script src='https://cdn.site.net/npm/react@18.2.0/umd/react.min.js'></script>",
    "@app.route('/x')\n@pytest.mark.slow\n@dataclass(frozen=True)",
    "y = X@theta.reshape(3, 1) + A@B.T",
    "logo@2x.png and icon@3x.webp",
    "follow @jack on https://medium.com/@some.one/post-1",
    "mail noreply@github.com is not read",
    "meet @ 5.30pm @cafe",
    "Java 1.8.0_292-b10, Python 3.11.9, pip 24.0, Node v18.19.1",
    "Chrome/114.0.5735.198 Safari/537.36 Edg/114.0.1823.67",
    "Mozilla/5.0 (X11; Linux x86_64; rv:109.0) Gecko/20100101 Firefox/115.0",
    "assembly version 4.126.0.33 and build 10.0.19045.3208",
    "lib-97.4.1.12.tar.gz v112.0.3.1",
    "Section 1.2.3.4 and 2.10.4.7",
    "ping 127.0.0.1, 192.168.1.20, 10.0.0.5, 172.16.3.4, 169.254.1.1, 0.0.0.0, 255.255.255.0",
    "nameserver 8.8.8.8\nnameserver 1.1.1.1\nnameserver 9.9.9.9",
    "documentation: 192.0.2.55, 198.51.100.7, 203.0.113.9 and 2001:db8::1",
    "route 52.95.110.0/24 and multicast 239.255.255.250",
    "fe80::1%eth0, ::1, fd12:3456:789a::1, 2606:4700:4700::1111",
    "OID 1.3.6.1.4.1.311.21.20 and 300.400.500.600",
    "std::vector<int> a::b beef::cafe 2023::x",
    "12:30:45 and 2023:05:01 07:08:09, MAC 00:1b:63:84:45:e6",
    "2023-11-04 12:30:45.123456+00:00",
    "from 2019-01-02 to 2021-03-04; 01/02/2023, 31.12.1999, 20230415",
    "1999 2000 2001 2002 2003 2004 2005 2006",
    "01 02 03 04 05 06 07 08 09 10",
    "1 2 3 4 5 6 7 8 9 10 11 12 13",
    "unix time 1672531200, in ms 1672531200000, in ns 1672531200000000000",
    "id 1234567890 and 0123456789 and 9999999999",
    "tweet 1617979122625712128, order #4929-3813-2291",
    "ISBN 978-3-16-148410-0, ISBN 0-306-40615-2, 0306406152, ISSN 2049-3630",
    "EAN 4006381333931, IMEI 490154203237518",
    "550e8400-e29b-41d4-a716-446655440000",
    "urn:uuid:12345678-1234-5678-1234-567812345678",
    "commit 2fd4e1c67a2d28fced849ee1bb76e7391b93eb12",
    "md5 9e107d9d372bb6826bd81d3542a419d6",
    "sha256:" + _HEX,
    "integrity=sha384-" + _DRAWN[:64],
    "data:image/png;base64," + _DRAWN + "eyJ" + _DRAWN + "AKIA" + _UPPER[:16] + _DRAWN,
    "price $1,299.00, 1.234.567,89 EUR, ¥12,800, 100000000 VND, 13000000000 won",
    "pi = 3.14159265358979323846, e = 2.718281828459045",
    "[0.4539578763621486, -4.539578763621486, 4539.578763621486]",
    "+1.41421356 -0.57721566 +4.669201609",
    "lat 40.712776, lon -74.005974; 52.520008,13.404954",
    "POINT(-122.4194155 37.7749295) 40.446°N 79.982°W",
    "1000000000 * 1000000007 = 1000000007000000000",
    "20 + 30 + 40 = 90; 212 + 736 - 5000; 100-200-3000",
    "f(x) = 2x^3 - 415x + 8675309",
    "10 000 000 and 299 792 458 m/s and 6 022 140 760",
    "00 00 00 00 ff 10 20 30 40 50 60 70",
    "0x7ffee4b0 0755 0644 0b101010",
    "(555) 123-4567, 555-555-5555, 212-555-0142, 123-456-7890, 000-000-0000",
    "Phone: 1234567890, tel 555-1234, phone 555 123 4567",
    "телевизор стоит 123456780 рублей, telnet 123456780, iPhone 123456780",
    "The phone came out on 2007-06-29 and sold 1000000 times",
    "phone = models.CharField(max_length=15, default='')",
    "4111 1111 1111 1111, 4242424242424242, 5555555555554444, 0000 0000 0000 0000",
    "4539 5787 6362 1487 fails its check digit; 1234 5678 9012 3456 too",
    "openai.api_key = 'sk-your-api-key-goes-here-1'",
    "sk-xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx, sk-1234567890abcdef1234567890abcdef",
    "class='sk-spinner-double-bounce-child sk-cube-grid-wrapper-item'",
    "AKIAIOSFODNN7EXAMPLE and wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
    "api_key = os.environ['OPENAI_API_KEY_2']",
    "token = tokenizer.convert_ids_to_tokens(ids)[0]",
    "secret = generate_secret_with_length_32(rng)",
    "Authorization: Bearer YOUR_ACCESS_TOKEN_GOES_HERE",
    "-----BEGIN PRIVATE KEY-----\n...\n-----END PRIVATE KEY-----",
    "-----BEGIN CERTIFICATE-----\n" + _DRAWN + "\n-----END CERTIFICATE-----",
    "postgres://user:password@localhost/db, amqp://guest:guest@localhost, http://u:${PASS}@h",
    "primary_key = 4, foreign_key = 'user_account_identifier_column_2'",
    "[2023-04-01 10:11:12,345] INFO worker-3: took 1532 ms, 20480 bytes, pid 48213",
    '127.0.0.1 - - [10/Oct/2000:13:55:36 -0700] "GET /a.gif HTTP/1.0" 200 2326',
    "| 415 | 867 | 5309 |\n|-----|-----|------|\n| 212 | 736 | 5000 |",
    "1,4158675309,2\n3,4158675310,4",
    "M 150.5 0 L 75.25 200 L 225 200 C 100,200 100,300 Z",
    "color: #4539578; margin: 0 10px 20px 30px; flex: 1 1 0%",
    "3 x 4 = 12, 16:9, 1080p, 24/7, 9-5, A4, H2O, Boeing 747-400",
    "Flight LH 0123 4567 departs, ZIP 90210-1234, SSN 000-00-0000",
    "§ 823 Abs. 1 BGB, Az. 7 U 123/20, S. 1024-1048",
]


def _talk(text: str) -> Conversation:
    return Conversation("x", [{"role": "user", "content": text}], {"title": ""})


def _redacted(text: str) -> tuple[str, list[str]]:
    kept = protect("redact")(_talk(text))
    assert isinstance(kept, Conversation)
    return kept.messages[0]["content"], kept.changes


@pytest.mark.parametrize(
    ("kind", "placeholder", "text"),
    [
        *(("email", "[e-mail]", text) for text in EMAILS),
        *(("phone", "[phone]", text) for text in PHONES),
        *(("ip", "[ip]", text) for text in ADDRESSES),
        *(("key", "[key]", text) for text in KEYS),
        *(("card", "[card]", text) for text in CARDS),
    ],
)
def test_personal_data_is_replaced_and_counted_and_nothing_else(
    kind: str, placeholder: str, text: str
) -> None:
    redacted, changes = _redacted(text.replace("⟦", "").replace("⟧", ""))
    assert redacted == re.sub("⟦[^⟧]*⟧", placeholder, text)
    assert changes == [kind] * text.count("⟦")


@pytest.mark.parametrize("text", NOTHING)
def test_what_only_looks_like_personal_data_stays(text: str) -> None:
    assert _redacted(text) == (text, [])


def _mixed() -> Conversation:
    messages: list[Message] = [
        {"role": "system", "content": "The admin is at 81.2.69.142."},
        {"role": "user", "content": "I am tom@gmail.com or tom@web.de, +1 415 867 5309."},
        {"role": "assistant", "content": "Hello `tom@gmail.com`!"},
    ]
    provenance: dict[str, str | int | float] = {"source": "s", "title": "tom@web.de", "views": 3}
    return Conversation("x", messages, provenance, ["earlier"])


def test_every_role_and_the_title_are_redacted() -> None:
    given = _mixed()
    kept = protect("redact")(given)
    assert isinstance(kept, Conversation)
    assert [turn["content"] for turn in kept.messages] == [
        "The admin is at [ip].",
        "I am [e-mail] or [e-mail], [phone].",
        "Hello `[e-mail]`!",
    ]
    assert list(kept.provenance.items()) == [("source", "s"), ("title", "[e-mail]"), ("views", 3)]
    assert kept.changes == ["earlier", "ip", "email", "email", "phone", "email", "email"]
    assert given == _mixed()


def test_a_drop_names_the_kinds_and_never_what_was_seen() -> None:
    assert protect("drop")(_mixed()) == Drop("personal_data", "email, ip, phone")


def test_kept_text_is_counted_as_seen() -> None:
    kept = protect("keep")(_mixed())
    assert isinstance(kept, Conversation)
    assert (kept.messages, kept.provenance) == (_mixed().messages, _mixed().provenance)
    assert kept.changes[1:] == ["ip seen", *["email seen"] * 2, "phone seen", *["email seen"] * 2]


@pytest.mark.parametrize("action", get_args(Action))
def test_a_conversation_without_personal_data_passes_as_it_is(action: Action) -> None:
    conversation = _talk("What is 2 + 2?")
    assert protect(action)(conversation) is conversation
    assert conversation.changes == []


def test_a_number_is_counted_once_though_it_is_a_card_and_a_phone_number_alike() -> None:
    assert _redacted("Phone: 3742 454554 00126") == ("Phone: [card]", ["card"])


def test_a_password_in_an_address_is_taken_and_its_host_is_no_mail_address() -> None:
    text = "ftp://ann:" + "s3cr3t" + "Pw@files.firm.com/a, ann@firm.com"
    assert _redacted(text) == ("ftp://ann:[key]@files.firm.com/a, [e-mail]", ["key", "email"])


@pytest.mark.parametrize(
    "bait",
    [
        *("a@", "@a.b", "1.", "1 (", "((1", "+1 ", "4539 ", "2001:", "1:AA", "=", "\x00", "sk-a"),
        *(
            "eyJaaaaaaaaa.",
            "://a:b",
            "-----BEGIN PRIVATE KEY-----",
            "-----BEGIN PRIVATE KEY-----a-",
        ),
    ],
)
@pytest.mark.parametrize("end", ["", "("])
def test_bait_for_regular_expressions_is_passed_through(bait: str, end: str) -> None:
    text = bait * (300_000 // len(bait)) + end  # in quadratic time, this test would hardly end
    assert _redacted(text) == (text, [])


def test_digits_in_small_groups_are_asked_about_a_few_times_only(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[str] = []

    def never(written: str, region: str | None) -> bool:
        asked.append(written)
        return False

    monkeypatch.setattr(personal_data, "_is_assigned", never)
    for text in ("+49 1 2 3 4 5 6 7 8 9 1 2 3 4 5 6 7 8", "+1 2 3 4 5 6 7 8"):
        assert _redacted(text) == (text, [])
    assert len(asked) == 4


def test_a_phone_number_is_told_from_the_numbers_that_follow_it() -> None:
    assert _redacted("+44 7911 123456 12 34 5") == ("[phone] 12 34 5", ["phone"])


@pytest.mark.parametrize("sign", ".([")
def test_what_is_called_or_looked_up_is_no_secret(sign: str) -> None:
    text = f"token = {_LETTERS[:32]}{{}}"
    assert _redacted(text.format(sign)) == (text.format(sign), [])
    assert _redacted(text.format(";")) == ("token = [key];", ["key"])


_PIECES = [
    *"@.:+-/( =a中٣\n\x00\ud800",
    *("://", "sk-", "eyJ", "token", "gmail.com", "phone", "81.2.69.142", "2a00:1450::7", "5309"),
    *("+44 ", "0171", "(415) ", "867-", "4539578763621486", "0123456789", "-----BEGIN PRIVATE KEY"),
]


@given(st.lists(st.sampled_from(_PIECES) | st.text(max_size=5), max_size=30).map("".join))
def test_every_change_is_one_placeholder(text: str) -> None:
    redacted, changes = _redacted(text)
    placeholders = re.compile(r"\[(?:e-mail|phone|ip|key|card)\]")
    assert len(placeholders.findall(redacted)) == len(changes)
    rest = iter(text)
    assert all(character in rest for character in placeholders.sub("", redacted))
