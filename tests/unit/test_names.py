"""Model names: the public name, its encoding in MLflow, and what is no name."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guardianflow.errors import NameInvalid
from guardianflow.names import MAX_LENGTH, ModelName

PPE = "donghwa-entec/busan-plant1/welding/ppe"
SEGMENTS = st.from_regex(r"[a-z0-9]{1,6}(-[a-z0-9]{1,6}){0,2}", fullmatch=True)


def test_a_public_name_has_its_parts():
    name = ModelName.parse(f"{PPE}__openvino_int8")
    assert (name.customer, name.site, name.zone, name.task) == (
        "donghwa-entec",
        "busan-plant1",
        "welding",
        "ppe",
    )
    assert (name.backend, name.precision) == ("openvino", "int8")
    assert name.is_variant
    assert name.base.public == PPE
    assert not name.base.is_variant


def test_the_registered_name_holds_no_slash_and_leads_back():
    name = ModelName.parse(PPE)
    assert name.registered == "donghwa-entec.busan-plant1.welding.ppe"
    assert ModelName.parse(name.registered) == name
    assert str(name) == PPE


def test_a_variant_of_a_variant_is_a_variant_of_the_base():
    name = ModelName.parse(PPE).variant("openvino_int8")
    assert name.variant("onnx_fp16").public == f"{PPE}__onnx_fp16"
    with pytest.raises(NameInvalid):
        name.variant("int8")


def test_tags_name_the_parts_that_there_are():
    tags = ModelName.parse(PPE).tags()
    assert tags["guardianflow.name"] == PPE
    assert tags["guardianflow.customer"] == "donghwa-entec"
    assert "guardianflow.backend" not in tags
    assert ModelName.parse(f"{PPE}__openvino_int8").tags()["guardianflow.precision"] == "int8"


@given(st.tuples(SEGMENTS, SEGMENTS, SEGMENTS, SEGMENTS), st.booleans())
def test_every_name_survives_the_way_to_mlflow_and_back(parts, variant):
    name = ModelName.parse("/".join(parts) + ("__openvino_int8" if variant else ""))
    assert "/" not in name.registered
    assert ":" not in name.registered
    assert ModelName.parse(name.registered) == name
    assert ModelName.parse(name.public) == name


@pytest.mark.parametrize(
    "text",
    [
        "",
        "ppe",
        "a/b/c",
        "a/b/c/d/e",
        "A/b/c/d",
        "a/b/c/d ",
        "a//c/d",
        "a/b/c/-d",
        "a/b/c/d--e",
        "a/b/c/d_e",
        "a/b/c/d__int8",
        "a/b/c/d__openvino_int8_x",
        "a/b.x/c/d",
        "a/b/c/d\n",
        "a/b/c/é",
        "a:b/c/d/e",
    ],
)
def test_what_is_no_name_is_refused_with_the_form(text):
    with pytest.raises(NameInvalid, match="customer/region-plant/zone/task") as refused:
        ModelName.parse(text)
    assert refused.value.data["value"] == text
    assert refused.value.exit_code == 2


def test_a_name_may_not_be_longer_than_mlflow_and_screens_bear():
    longest = f"a/b/c/{'d' * (MAX_LENGTH - 6)}"
    assert ModelName.parse(longest).public == longest
    with pytest.raises(NameInvalid, match=str(MAX_LENGTH)):
        ModelName.parse(longest + "d")
