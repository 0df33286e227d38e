"""Connection strings as Go's driver for MySQL has them."""

from pathlib import Path

import pytest

from pydapr import components
from pydapr.components.drivers import mysql
from pydapr.components.drivers.mysql import Place


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("root:pass@tcp(db:3307)/?tls=true", Place(host="db", port=3307, user="root", password="pass", tls="true")),
        ("root@tcp(db)/x", Place(host="db", user="root")),
        ("me:p@ss:w(r)d@tcp([::1]:1)/", Place(host="::1", port=1, user="me", password="p@ss:w(r)d")),
        ("me@unix(/run/my.sock)/", Place(socket="/run/my.sock", user="me")),
        ("me:x@/", Place(user="me", password="x")),
        ("/?tls=false", Place()),
    ],
)
def test_connection_string_is_read(text: str, place: Place) -> None:
    assert mysql.place(text) == place


@pytest.mark.parametrize("text", ["", "root@tcp(db:3306)", "root@udp(db)/", "root@tcp(db:x)/"])
def test_connection_string_that_is_none_is_refused_without_showing_it(text: str) -> None:
    with pytest.raises(components.Wrong, match="connection string") as raised:
        mysql.place(text)

    assert "root" not in str(raised.value)


def test_tls_by_what_the_string_asks_for(tmp_path: Path) -> None:
    (tmp_path / "no.pem").write_text("nonsense")

    assert mysql.tls_context(Place(), "") is None
    strict, lax = mysql.tls_context(Place(tls="true"), ""), mysql.tls_context(Place(tls="skip-verify"), "")
    assert strict is not None
    assert lax is not None
    assert (strict.check_hostname, lax.check_hostname) == (True, False)
    for tls, path, message in (
        ("custom", "", "pemPath"), ("custom", str(tmp_path / "no.pem"), "pemPath"), ("odd", "", "unknown tls"),
    ):  # fmt: skip
        with pytest.raises(components.Wrong, match=message):
            mysql.tls_context(Place(tls=tls), path)
