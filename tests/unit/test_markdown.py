import pytest
from markdown_it import MarkdownIt

from guardianflow.wording.markdown import Markdown, cell, plain, prose, table, unescaped

READER = MarkdownIt("gfm-like", {"html": True})


TYPED = [
    "a | b",
    "![x](http://evil.example/p.png)",
    "[click](javascript:alert(1))",
    "<img src=x onerror=alert(1)>",
    "http://evil.example www.evil.example kim@evil.example",
    "**bold** _it_ `code` ~~gone~~ ~gone~",
    "# title",
    "a\n\n| x |\n|---|\n| y |",
    "back\\slash \\| end\\",
    "&lt;b&gt; &#124;",
    "ppe__openvino_int8 of lee@laptop is @champion",
    "[ref]: http://evil.example",
]


@pytest.mark.parametrize("typed", TYPED)
def test_what_somebody_typed_reads_as_it_was_typed_and_is_nothing_else(typed):
    tokens = READER.parse("\n".join(table(["a", "b"], [(plain(typed), "2")])))
    assert [token.type for token in tokens].count("td_open") == 2
    cell = tokens[[token.type for token in tokens].index("td_open") + 1]
    assert {child.type for child in cell.children} <= {"text", "text_special"}
    assert "".join(child.content for child in cell.children) == " ".join(typed.split())


def read(cell):
    tokens = READER.parse("\n".join(table(["a", "b"], [(cell, "2")])))
    assert [token.type for token in tokens].count("td_open") == 2
    return tokens[[token.type for token in tokens].index("td_open") + 1].children


def test_a_message_shows_its_commands_as_code():
    message = (
        "Nobody measured it; `guardianflow measure a/b/c/d__x | tee log` does it (see *this*)."
    )
    children = read(prose(message))
    assert [one.content for one in children if one.type == "code_inline"] == [
        "guardianflow measure a/b/c/d__x | tee log"
    ]
    assert "".join(one.content for one in children) == message.replace("`", "")
    assert prose("`a` and `b`") == "`a` and `b`"


@pytest.mark.parametrize("typed", [*TYPED, "`", "``", "a `b", "```x```", "` `", "a\\`b`"])
def test_of_what_somebody_typed_into_a_message_nothing_but_code_is_made(typed):
    children = read(prose(f"the automation {typed} failed: `guardianflow doctor` says why"))
    assert {child.type for child in children} <= {"text", "text_special", "code_inline"}


def test_signs_that_hide_or_turn_the_text_are_left_out():
    assert plain("ab\u202ecd\u200bef\x07g") == "abcdef g"


def test_a_table_without_rows_is_none():
    assert table(["a"], []) == []
    assert table(["a"], [(1,)]) == ["| a |", "|---|", "| 1 |"]


def test_a_cell_is_plain_but_for_markdown_of_ours_and_can_be_read_back():
    typed = "[Kim](javascript:x) \\ `a` | www.evil.example"
    assert cell(typed) == plain(typed)
    assert cell(cell(typed)) == plain(typed)
    assert unescaped(str(cell(typed))) == typed
    assert cell(Markdown("[a](b)")) == "[a](b)"
    assert (cell(2), cell(None)) == (2, None)
