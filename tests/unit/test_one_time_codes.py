import json
import os
import stat
from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qs, urlsplit

import pytest
from pyotp.totp import TOTP

from guardianflow import __version__
from guardianflow.errors import InputError, StoredNewer
from guardianflow.promotion.approval.one_time_codes import (
    approvers_file,
    dismiss,
    enrol,
    matching_step,
    read_approvers,
    write_approvers,
)

# RFC 6238, appendix B: the key in base32, and the last six digits of its SHA-1 codes.
SECRET = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ"
CODES = {59: "287082", 1111111109: "081804", 1234567890: "005924", 20000000000: "353130"}
KNOWN = {"Kim Minji": SECRET}


@pytest.fixture
def path(tmp_path):
    return tmp_path / "approvers.json"


@pytest.mark.parametrize(("second", "code"), CODES.items())
def test_codes_are_those_of_the_standard(second, code):
    now = datetime.fromtimestamp(second, UTC)
    assert matching_step(KNOWN, "kim minji", code, now) == second // 30


@pytest.mark.parametrize(
    ("late_s", "taken"), [(-30, True), (-31, False), (0, True), (30, True), (59, True), (60, False)]
)
def test_a_code_holds_for_one_step_before_and_after(late_s, taken):
    # The code of the step that begins at 1,200,000,000.
    code = TOTP(SECRET).at(1_200_000_000)
    now = datetime.fromtimestamp(1_200_000_000, UTC) + timedelta(seconds=late_s)
    assert (matching_step(KNOWN, "Kim Minji", code, now) is not None) is taken


def test_a_wrong_code_and_somebody_unknown_are_refused():
    now = datetime.fromtimestamp(59, UTC)
    assert matching_step(KNOWN, "Kim Minji", "287083", now) is None
    assert matching_step(KNOWN, "Kim Minji", "", now) is None
    assert matching_step(KNOWN, "Kim Minji", "２８７０８２", now) is None
    assert matching_step(KNOWN, "Lee Jun", "287082", now) is None
    assert matching_step({}, "Kim Minji", "287082", now) is None


def test_who_is_enrolled_gets_an_address_that_an_app_reads(path):
    made = enrol(path, " Kim   Minji ")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    address = urlsplit(made.uri)
    assert (address.scheme, address.netloc) == ("otpauth", "totp")
    assert "guardianflow" in address.path
    [secret] = parse_qs(address.query)["secret"]
    assert read_approvers(path) == {"Kim Minji": secret}
    now = datetime.now(UTC)
    assert matching_step(read_approvers(path), "Kim Minji", TOTP(secret).at(now), now)


def test_nobody_is_enrolled_twice_and_who_is_removed_is_gone(path):
    enrol(path, "Kim Minji")
    enrol(path, "Lee Jun")
    with pytest.raises(InputError, match="enrolled already"):
        enrol(path, "KIM minji")
    assert dismiss(path, "kim minji") == "Kim Minji"
    assert list(read_approvers(path)) == ["Lee Jun"]
    with pytest.raises(InputError, match="Nobody is enrolled"):
        dismiss(path, "Kim Minji")


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604, 0o660])
def test_a_file_that_others_can_reach_is_not_trusted(path, mode):
    write_approvers(path, KNOWN)
    path.chmod(mode)
    with pytest.raises(InputError, match="not trusted") as refused:
        read_approvers(path)
    assert SECRET not in str(refused.value)


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give a file away")
def test_a_file_of_another_user_is_not_trusted(path):
    write_approvers(path, KNOWN)
    os.chown(path, 12345, 12345)
    with pytest.raises(InputError, match="another user"):
        read_approvers(path)


@pytest.mark.parametrize(
    "content", ["[]", '"text"', "{", json.dumps({"Kim": SECRET.lower()}), '{"Kim": ["A"]}', "null"]
)
def test_a_file_that_says_something_else_is_refused_without_repeating_it(path, content):
    path.write_text(content)
    path.chmod(0o600)
    with pytest.raises(InputError, match="no file of approvers") as refused:
        read_approvers(path)
    assert SECRET.lower() not in str(refused.value)


def test_a_file_that_needs_a_newer_version_is_one_sentence_and_stays(path):
    content = json.dumps({"min_reader": "99.1", "people": [{"name": "Kim", "secret": SECRET}]})
    path.write_text(content)
    path.chmod(0o600)
    for use in (read_approvers, lambda path: enrol(path, "Lee Jun")):
        with pytest.raises(StoredNewer, match=r"needs guardianflow 99\.1 to be read") as refused:
            use(path)
        assert refused.value.remedy == "Upgrade guardianflow to 99.1 or newer."
        assert SECRET not in str(refused.value)
    assert path.read_text() == content


def test_what_a_file_says_about_itself_is_nobodys_name(path):
    path.write_text(json.dumps({"schema_version": 2, "min_reader": __version__, **KNOWN}))
    path.chmod(0o600)
    assert read_approvers(path) == KNOWN
    # Whoever is called so has a secret, which may begin with a number.
    odd = {"min_reader": f"7{SECRET}", "schema_version": SECRET}
    write_approvers(path, odd)
    assert read_approvers(path) == odd


def test_a_file_that_is_not_there_knows_nobody(path):
    assert read_approvers(path) == {}


def test_the_environment_names_the_file(path, monkeypatch):
    monkeypatch.setenv("GUARDIANFLOW_APPROVERS", str(path))
    assert approvers_file() == path
    monkeypatch.setenv("GUARDIANFLOW_APPROVERS", " ")
    with pytest.raises(InputError, match="GUARDIANFLOW_APPROVERS names no file"):
        approvers_file()


def test_a_write_that_fails_leaves_the_old_file(path, monkeypatch):
    write_approvers(path, KNOWN)

    def fail(_descriptor):
        raise OSError("disk full")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="disk full"):
        enrol(path, "Lee Jun")
    assert read_approvers(path) == KNOWN
    assert list(path.parent.iterdir()) == [path]
