"""Who issues certificates to a server under test? Authorities of the tests' own."""

import datetime
import ipaddress
import pathlib

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

DAY = datetime.timedelta(days=1)
NAMES = [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)


class Authority:
    """Issues certificates for this machine. `pem` is what clients trust."""

    def __init__(self):
        self._key = ec.generate_private_key(ec.SECP256R1())
        now = datetime.datetime.now(datetime.timezone.utc)
        builder = x509.CertificateBuilder().subject_name(_name("authority of a test")).issuer_name(_name("authority of a test"))
        builder = builder.public_key(self._key.public_key()).serial_number(x509.random_serial_number())
        builder = builder.not_valid_before(now - 1000 * DAY).not_valid_after(now + 1000 * DAY)
        builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        builder = builder.add_extension(x509.SubjectKeyIdentifier.from_public_key(self._key.public_key()), critical=False)
        usage = x509.KeyUsage(True, False, False, False, False, True, True, False, False)
        self._certificate = builder.add_extension(usage, critical=True).sign(self._key, hashes.SHA256())
        self.pem = _pem(self._certificate)

    def issue(self, *, days: int = 100, name: str = "server of a test") -> tuple[bytes, bytes]:
        """A certificate of this common name that ends in so many days, and its key."""
        key = ec.generate_private_key(ec.SECP256R1())
        now = datetime.datetime.now(datetime.timezone.utc)
        builder = x509.CertificateBuilder().subject_name(_name(name)).issuer_name(self._certificate.subject)
        builder = builder.public_key(key.public_key()).serial_number(x509.random_serial_number())
        builder = builder.not_valid_before(now - 500 * DAY).not_valid_after(now + days * DAY)
        builder = builder.add_extension(x509.SubjectAlternativeName(NAMES), critical=False)
        issuer = x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key())
        certificate = builder.add_extension(issuer, critical=False).sign(self._key, hashes.SHA256())
        plain = serialization.NoEncryption()
        return _pem(certificate), key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain)


class Files:
    """The two files that a server reads."""

    def __init__(self, folder: pathlib.Path):
        self.cert, self.key = folder / "cert.pem", folder / "key.pem"

    def put(self, pair: tuple[bytes, bytes]):
        for path, content in zip((self.cert, self.key), pair):
            aside = path.with_suffix(".new")
            aside.write_bytes(content)
            aside.rename(path)

    @property
    def settings(self) -> dict[str, str]:
        return {"tls.cert": str(self.cert), "tls.key": str(self.key)}
