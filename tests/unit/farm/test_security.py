"""Who may take part in a farm."""

from __future__ import annotations

import ssl
from pathlib import Path

import pytest

pytest.importorskip("cryptography", reason="pip install 'tinyml-harness[farm]'")

from harness.errors import ConfigError
from harness.farm.security import check_address, check_host, make_certificates, security


@pytest.mark.parametrize(
    ("address", "complete"),
    [
        ("127.0.0.1", "tcp://127.0.0.1:8786"),
        ("tcp://localhost:99", "tcp://localhost:99"),
        ("tcp://[::1]:99", "tcp://[::1]:99"),
    ],
)
def test_loopback_needs_no_certificate(address: str, complete: str) -> None:
    assert check_address(address, None) == complete


def test_a_certificate_makes_it_tls(tmp_path: Path) -> None:
    assert check_address("lab.example", tmp_path) == "tls://lab.example:8786"


@pytest.mark.parametrize(
    ("address", "says"),
    [
        ("lab.example", "beyond this host"),
        ("tcp://192.168.0.7:8786", "beyond this host"),
        ("tls://localhost", "needs a certificate"),
        ("http://localhost", "no address of a farm"),
        ("tcp://localhost:port", "no address of a farm"),
        ("tcp://", "no address of a farm"),
    ],
)
def test_other_addresses_are_refused(address: str, says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        check_address(address, None)


def test_without_tls_an_address_is_not_mixed_with_certificates(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="does not use the certificate"):
        check_address("tcp://localhost:8786", tmp_path)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "lab.example"])
def test_only_loopback_is_listened_on_without_tls(host: str) -> None:
    with pytest.raises(ConfigError, match="beyond this host"):
        check_host(host, None)


def test_hosts_get_certificates_of_one_authority(tmp_path: Path) -> None:
    first = make_certificates(tmp_path / "lab", ["alpha", "127.0.0.1"])
    later = make_certificates(tmp_path / "lab", ["beta"])
    for place in (*first, *later):
        context = ssl.create_default_context(cafile=str(place / "ca.pem"))
        context.load_cert_chain(place / "cert.pem", place / "key.pem")
        assert (place / "key.pem").stat().st_mode & 0o077 == 0
        assert security(place) is not None
    assert (tmp_path / "lab" / "ca-key.pem").stat().st_mode & 0o077 == 0
    with pytest.raises(ConfigError, match="exists"):
        make_certificates(tmp_path / "lab", ["alpha"])


def test_a_folder_without_certificates_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"ca\.pem does not exist"):
        security(tmp_path)
    (tmp_path / "ca.pem").write_text("no certificate")
    with pytest.raises(ConfigError, match="cannot be read"):
        make_certificates(tmp_path, ["alpha"])
