import pytest
from markdown_it import MarkdownIt

from guardianflow.markdown import plain, table

READER = MarkdownIt("gfm-like", {"html": True})


@pytest.mark.parametrize(
    "typed",
    [
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
    ],
)
def test_what_somebody_typed_reads_as_it_was_typed_and_is_nothing_else(typed):
    tokens = READER.parse("\n".join(table(["a", "b"], [(plain(typed), "2")])))
    assert [token.type for token in tokens].count("td_open") == 2
    cell = tokens[[token.type for token in tokens].index("td_open") + 1]
    assert {child.type for child in cell.children} <= {"text", "text_special"}
    assert "".join(child.content for child in cell.children) == " ".join(typed.split())


def test_signs_that_hide_or_turn_the_text_are_left_out():
    assert plain("ab\u202ecd\u200bef\x07g") == "abcdef g"


def test_a_table_without_rows_is_none():
    assert table(["a"], []) == []
    assert table(["a"], [(1,)]) == ["| a |", "|---|", "| 1 |"]
