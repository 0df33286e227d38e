"""Which calls access rules let pass, and which rules are refused."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pydapr.policy import access
from pydapr.resources.accesscontrol import AccessControl, AppPolicy, Operation
from pydapr.security import spiffe

SHOP = spiffe.Id("public", "default", "shop")
GET = ("GET",)


def rules(*operations: Operation, own: str = "deny", default: str = "deny", is_http: bool = True) -> access.Access:
    """The rules of an app that has one policy, for the app `shop`."""
    policy = AppPolicy("shop", own, "public", "default", operations)
    made = access.compile(AccessControl(default, "public", (policy,)), is_http)
    assert made is not None
    return made


def allow(name: str, *verbs: str) -> Operation:
    return Operation(name, verbs or ("*",), "allow")


def deny(name: str, *verbs: str) -> Operation:
    return Operation(name, verbs or ("*",), "deny")


def passes(one: access.Access, operation: str, verb: str = "GET", caller: spiffe.Id | None = SHOP) -> bool:
    return one.decide(caller, operation, verb).is_allowed


# -- whose rules --


@pytest.mark.parametrize(
    "caller",
    [
        None,
        spiffe.Id("public", "default", "other"),
        spiffe.Id("public", "elsewhere", "shop"),
        spiffe.Id("private", "default", "shop"),
    ],
)
@pytest.mark.parametrize("default", ["allow", "deny"])
def test_who_has_no_policy_gets_the_global_default(caller: spiffe.Id | None, default: str) -> None:
    opposite = "deny" if default == "allow" else "allow"
    one = rules(Operation("/x", ("*",), opposite), own=opposite, default=default)

    assert one.decide(caller, "x", "GET") == access.Decision(default == "allow", by_app=False)


def test_own_default_stands_above_the_global_one() -> None:
    assert rules(own="allow", default="deny").decide(SHOP, "x", "GET") == access.Decision(True, by_app=True)
    assert rules(own="deny", default="allow").decide(SHOP, "x", "GET") == access.Decision(False, by_app=True)


def test_without_an_own_default_the_global_one_holds_and_counts() -> None:
    one = rules(allow("/x"), own="", default="deny")

    assert one.decide(SHOP, "y", "GET") == access.Decision(False, by_app=False)
    assert one.decide(SHOP, "x", "GET") == access.Decision(True, by_app=False)


def test_one_app_in_two_namespaces_has_two_policies() -> None:
    policies = tuple(AppPolicy("shop", action, "public", space) for action, space in (("allow", "a"), ("deny", "b")))
    one = access.compile(AccessControl("deny", "public", policies), True)

    assert one is not None
    assert [passes(one, "x", caller=spiffe.Id("public", space, "shop")) for space in "ab"] == [True, False]


def test_of_two_policies_for_one_app_the_last_counts() -> None:
    policies = tuple(AppPolicy("shop", action, "public", "default") for action in ("allow", "deny"))
    one = access.compile(AccessControl("allow", "public", policies), True)

    assert one is not None
    assert not passes(one, "x")


@pytest.mark.parametrize("word", ["allow", "Allow", "ALLOW"])
def test_actions_in_any_case(word: str) -> None:
    assert passes(rules(Operation("/x", ("*",), word)), "x")
    assert passes(rules(own=word), "x")
    assert passes(rules(default=word), "x", caller=None)


def test_what_is_not_allow_is_deny() -> None:
    assert not passes(rules(Operation("/x", ("*",), "alow"), own="allow"), "x")
    assert not passes(rules(default="yes"), "x", caller=None)


# -- verbs --


@pytest.mark.parametrize(
    ("verbs", "verb", "is_allowed"),
    [
        (("POST", "GET"), "GET", True),
        (("POST", "GET"), "PUT", False),
        (("*",), "PUT", True),
        (("get",), "GET", False),
        ((), "GET", False),
        (("*",), "", False),
        (("77",), "77", True),
    ],
)
def test_verbs_count_with_http(verbs: tuple[str, ...], verb: str, is_allowed: bool) -> None:
    assert passes(rules(Operation("/x", verbs, "allow")), "x", verb) == is_allowed


def test_a_call_without_a_verb_gets_the_own_default_and_no_other() -> None:
    assert passes(rules(deny("/x"), own="allow"), "x", "")
    assert not passes(rules(deny("/x"), own="", default="allow"), "x", "")


def test_an_own_verb_stands_above_the_star() -> None:
    one = rules(Operation("/x", ("*", "GET"), "deny"), own="allow")

    assert not passes(one, "x", "GET")


@pytest.mark.parametrize("verbs", [(), ("POST",), ("*",)])
def test_verbs_do_not_count_with_grpc(verbs: tuple[str, ...]) -> None:
    one = rules(Operation("/x", verbs, "allow"), is_http=False)

    assert passes(one, "x", "GET")
    assert passes(one, "x", "")


# -- operations --


@pytest.mark.parametrize(
    ("rule", "met", "missed"),
    [
        ("/a", ["a", "/a", "/a/b", "/a/b/c"], ["/ab", "/", "/b/a"]),
        ("a", ["/a"], ["/b"]),
        ("/a/b", ["/a/b", "/a/b/c"], ["/a", "/a/c"]),
        ("/a/*", ["/a", "/a/b"], ["/a/b/c", "/b"]),
        ("/a/**", ["/a", "/a/b", "/a/b/c"], ["/b"]),
        ("/*", ["/a", "/"], ["/a/b"]),
        ("/**", ["/a", "/a/b/c", "/"], []),
        ("/a*", ["/a", "/abc", "/abc/d"], ["/ba"]),
        ("/a*d", ["/ad", "/abcd", "/addd"], ["/a", "/abc"]),
        ("/x/*y", ["/x/y", "/x/ay"], ["/x/yz", "/x"]),
        ("/a/*/c", [], ["/a/b/c", "/a/b", "/a"]),
        ("/a/**/c", ["/a/b/c"], ["/a/c", "/a/b/b/c"]),
        ("/a*a", ["/aa"], ["/a"]),
        ("/*a*b*", ["/ab", "/xaxbx"], ["/ba"]),
        ("/pkg.Service/Do", ["/pkg.Service/Do"], ["/pkg.Service/Don", "/pkg.Service"]),
    ],
)
def test_an_operation_meets(rule: str, met: list[str], missed: list[str]) -> None:
    one = rules(allow(rule))

    assert [path for path in met + missed if passes(one, path)] == met


@pytest.mark.parametrize("path", ["/admin/b", "/*", "/**", "/admin*"])
def test_stars_in_a_call_are_letters(path: str) -> None:
    assert not passes(rules(allow("/admin/a")), path)


def test_the_first_in_the_file_counts() -> None:
    assert not passes(rules(deny("/a*"), allow("/ab")), "/ab")
    assert passes(rules(allow("/ab"), deny("/a*")), "/ab")
    assert passes(rules(allow("/a"), deny("/a")), "/a")
    assert not passes(rules(deny("/a"), allow("/a/b")), "/a/b")


def test_there_is_no_way_back_from_the_first_that_meets_a_segment() -> None:
    one = rules(allow("/a*/x"), allow("/ab/y"))

    assert passes(one, "/ab/x")
    assert not passes(one, "/ab/y")


def test_case_does_not_matter_with_http() -> None:
    one = rules(deny("/Admin/ÄΣ"), own="allow")

    assert not passes(one, "/aDMIN/äσ")
    assert not passes(one, "/admin/ÄΣ")


def test_case_matters_with_grpc_and_in_what_passes_through() -> None:
    assert not passes(rules(allow("/Admin"), is_http=False), "/admin")
    assert passes(rules(allow("/Admin"), is_http=False), "/Admin")
    assert rules(allow("/admin")).decide_passing(SHOP, "/admin").is_allowed
    assert not rules(allow("/admin")).decide_passing(SHOP, "/Admin").is_allowed


def test_verbs_do_not_count_in_what_passes_through() -> None:
    assert rules(allow("/pkg.S/M", "POST"), is_http=False).decide_passing(SHOP, "/pkg.S/M").is_allowed


_SEGMENT = st.text("ab*", max_size=5)


@given(_SEGMENT, _SEGMENT)
def test_stars_match_as_their_definition_says(text: str, pattern: str) -> None:
    def matches(text: str, pattern: str) -> bool:
        if not pattern:
            return not text
        if pattern[0] == "*":
            return matches(text, pattern[1:]) or (bool(text) and matches(text[1:], pattern))
        return bool(text) and text[0] == pattern[0] and matches(text[1:], pattern[1:])

    assert access._matches(text, "*" + pattern) == matches(text, "*" + pattern)


def test_a_pattern_of_many_stars_costs_no_more_than_its_length() -> None:
    one = rules(allow("/" + "a*" * 50 + "b"))

    assert not passes(one, "/" + "a" * 20_000)


# -- rules --


def test_an_empty_default_is_deny() -> None:
    one = access.compile(AccessControl("", "public"), True)

    assert one is not None
    assert not passes(one, "x")


def test_no_rules_at_all_are_none() -> None:
    assert access.compile(AccessControl("", ""), True) is None


def test_rules_that_lack_something_are_refused() -> None:
    policies = (
        AppPolicy("a", "allow"),
        AppPolicy("b", "allow", namespace="ns"),
        AppPolicy("", "", "x", "y"),
        AppPolicy("ok", "", "x", "y"),
    )
    with pytest.raises(access.Invalid) as refused:
        access.compile(AccessControl("deny", "public", policies), True)

    assert str(refused.value) == (
        "invalid access control spec. missing trustdomain for apps: [a b], missing namespace for apps: [a], "
        "missing app name on at least one of the app policies: true"
    )
