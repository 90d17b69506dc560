"""Who may take part in a farm: loopback alone, or whoever has a certificate of its authority.

Dask runs what it is sent (its messages hold pickles), so that whoever reaches a scheduler runs code
on every host of the farm. TLS here is mutual: both sides show a certificate of the same authority.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from harness.errors import ConfigError

if TYPE_CHECKING:
    from distributed.security import Security

PORT = 8786  # Dask's usual one
_DAYS = 825  # longest life of a certificate that Apple's and most other checks accept
_CA_DAYS = 3650


def check_address(address: str, tls: Path | None) -> str:
    """Return the address of a scheduler, complete: ``tcp://HOST:PORT`` or ``tls://HOST:PORT``.

    Args:
        address: With or without scheme and port.
        tls: Folder with this host's certificate.

    Raises:
        ConfigError: The scheme does not fit, or a host beyond this one is to be reached without
            TLS.
    """
    scheme = "tls" if tls else "tcp"
    parts = urlsplit(address if "://" in address else f"{scheme}://{address}")
    try:
        host, port = parts.hostname, parts.port or PORT
    except ValueError:
        host, port = None, PORT
    if host is None or parts.scheme not in ("tcp", "tls") or parts.path not in ("", "/"):
        raise ConfigError(
            f"'{address}' is no address of a farm",
            expected=f"tcp://HOST:PORT or tls://HOST:PORT, such as tcp://127.0.0.1:{PORT}",
        )
    if parts.scheme == "tls" and tls is None:
        raise ConfigError(
            f"'{address}' needs a certificate",
            fix="name the folder that `harness farm certificates` made for this host: --tls FOLDER",
        )
    if parts.scheme == "tcp" and tls is not None:
        raise ConfigError(
            f"'{address}' does not use the certificate in {tls}", fix=f"write tls://{host}:{port}"
        )
    check_host(host, tls)
    name = f"[{host}]" if ":" in host else host
    return f"{parts.scheme}://{name}:{port}"


def check_host(host: str, tls: Path | None) -> None:
    """Raise `ConfigError` if a host beyond this one is to be reached without TLS."""
    if tls is None and not _is_loopback(host):
        raise ConfigError(
            f"'{host}' is beyond this host, and there is no certificate",
            expected="TLS, as a farm runs whatever code it is sent",
            fix="make certificates with `harness farm certificates FOLDER HOST...`, copy each "
            "host's folder there, and pass it with --tls FOLDER/HOST; or use an SSH tunnel",
        )


def security(tls: Path | None) -> Security | None:
    """Return what Dask needs to show and check certificates; None without TLS.

    Raises:
        ConfigError: A file of the folder is missing.
    """
    if tls is None:
        return None
    from distributed.security import Security

    files = {name: tls / f"{name}.pem" for name in ("ca", "cert", "key")}
    for file in files.values():
        if not file.is_file():
            raise ConfigError(
                f"{file} does not exist",
                expected="ca.pem, cert.pem and key.pem",
                fix="`harness farm certificates FOLDER HOST...` makes one folder for each host",
            )
    roles: dict[str, Any] = {}
    for role in ("scheduler", "worker", "client"):
        roles |= {f"tls_{role}_cert": str(files["cert"]), f"tls_{role}_key": str(files["key"])}
    return Security(require_encryption=True, tls_ca_file=str(files["ca"]), **roles)


def make_certificates(folder: Path, hosts: Iterable[str]) -> list[Path]:
    """Write a certificate for each host, and the authority that signs them where there is none.

    Args:
        folder: Gets ``ca.pem``, ``ca-key.pem`` (which stays here) and a folder for each host with
            ``ca.pem``, ``cert.pem`` and ``key.pem``.
        hosts: Names or addresses.

    Returns:
        The hosts' folders.

    Raises:
        ConfigError: A host has a certificate already, or the authority cannot be read.
    """
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    def write(path: Path, content: bytes, mode: int = 0o644) -> None:
        path.touch(mode)
        path.chmod(mode)
        path.write_bytes(content)

    def pem(key: Any) -> bytes:
        return bytes(
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
        )

    def certificate(name: str, key: Any, days: int, *, of: Any, signed_by: Any) -> Any:
        subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name[:64])])
        now, is_authority = datetime.now(UTC), of is None
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(subject if is_authority else of.subject)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(hours=1))
            .not_valid_after(now + timedelta(days=days))
            .add_extension(x509.BasicConstraints(ca=is_authority, path_length=None), critical=True)
        )
        if not is_authority:
            builder = builder.add_extension(
                x509.SubjectAlternativeName([_general_name(name)]), critical=False
            )
        return builder.sign(signed_by, hashes.SHA256())

    folder.mkdir(parents=True, exist_ok=True)
    ca_file, ca_key_file = folder / "ca.pem", folder / "ca-key.pem"
    if ca_file.exists() or ca_key_file.exists():
        try:
            authority = x509.load_pem_x509_certificate(ca_file.read_bytes())
            ca_key: Any = serialization.load_pem_private_key(ca_key_file.read_bytes(), None)
        except (OSError, ValueError, TypeError) as error:
            raise ConfigError(
                f"the authority in {folder} cannot be read: {error}",
                expected="ca.pem and ca-key.pem, as this command wrote them",
                fix="name another folder to begin anew; every host then needs a new certificate",
            ) from None
    else:
        ca_key = ec.generate_private_key(ec.SECP256R1())
        authority = certificate("TinyML Harness farm", ca_key, _CA_DAYS, of=None, signed_by=ca_key)
        write(ca_key_file, pem(ca_key), 0o600)
        write(ca_file, authority.public_bytes(serialization.Encoding.PEM))
    made = []
    for host in hosts:
        place = folder / host.replace(":", "_")
        if place.exists():
            raise ConfigError(
                f"{place} exists", fix="remove it to make that host a new certificate"
            )
        place.mkdir()
        key = ec.generate_private_key(ec.SECP256R1())
        signed = certificate(host, key, _DAYS, of=authority, signed_by=ca_key)
        write(place / "key.pem", pem(key), 0o600)
        write(place / "cert.pem", signed.public_bytes(serialization.Encoding.PEM))
        write(place / "ca.pem", ca_file.read_bytes())
        made.append(place)
    return made


def _general_name(host: str) -> Any:
    from cryptography import x509

    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
