"""Which addresses are public, what a host is, and what an entry of the allowed hosts allows."""

from __future__ import annotations

import socket
from contextlib import suppress
from ipaddress import IPv4Address, IPv6Address, ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamapp.media.addresses import AllowedHosts, host, private


@pytest.mark.parametrize(
    ("address", "kind"),
    [
        ("0.0.0.0", "an unspecified address"),
        ("0.1.2.3", "an unspecified address"),
        ("10.0.0.0", "a private address"),
        ("10.255.255.255", "a private address"),
        ("100.64.0.0", "a carrier-grade NAT address"),
        ("100.100.100.200", "a carrier-grade NAT address"),
        ("100.127.255.255", "a carrier-grade NAT address"),
        ("127.0.0.1", "a loopback address"),
        ("127.255.255.254", "a loopback address"),
        ("168.63.129.16", "a cloud provider's internal address"),
        ("169.254.169.254", "a link-local address"),
        ("172.16.0.1", "a private address"),
        ("172.31.255.255", "a private address"),
        ("192.0.0.192", "a reserved address"),
        ("192.0.2.1", "a documentation address"),
        ("192.88.99.1", "a 6to4 relay address"),
        ("192.168.1.1", "a private address"),
        ("198.18.0.1", "a benchmarking address"),
        ("198.19.255.255", "a benchmarking address"),
        ("203.0.113.9", "a documentation address"),
        ("224.0.0.1", "a multicast address"),
        ("239.255.255.250", "a multicast address"),
        ("240.0.0.1", "a reserved address"),
        ("255.255.255.255", "a reserved address"),
        ("::", "an unspecified address"),
        ("::1", "a loopback address"),
        ("::2", "an IPv4-compatible address"),
        ("::7f00:1", "an IPv4-compatible address"),
        ("::ffff:127.0.0.1", "an IPv4-mapped address"),
        ("::ffff:8.8.8.8", "an IPv4-mapped address"),
        ("64:ff9b::7f00:1", "a NAT64 address"),
        ("64:ff9b:1::a00:1", "a NAT64 address"),
        ("100::1", "a reserved address"),
        ("2001:0:4136:e378:8000:63bf:3fff:fdd2", "a Teredo address"),
        ("2001:10::1", "a reserved address"),
        ("2001:db8::1", "a documentation address"),
        ("2002:7f00:1::", "a 6to4 address"),
        ("3fff::1", "a documentation address"),
        ("4000::1", "a reserved address"),
        ("fc00::1", "a private address"),
        ("fd00:ec2::254", "a private address"),
        ("fe80::1", "a link-local address"),
        ("fe80::1%eth0", "a link-local address"),
        ("fec0::1", "a site-local address"),
        ("ff02::1", "a multicast address"),
        ("1.1.1.1", None),
        ("9.255.255.255", None),
        ("11.0.0.0", None),
        ("100.63.255.255", None),
        ("100.128.0.0", None),
        ("128.0.0.1", None),
        ("172.15.255.255", None),
        ("172.32.0.0", None),
        ("223.255.255.255", None),
        ("2606:4700:4700::1111", None),
        ("2a00:1450:4001:830::200e", None),
    ],
)
def test_kinds_of_addresses(address: str, kind: str | None) -> None:
    assert private(ip_address(address)) == kind


@given(st.one_of(st.ip_addresses(), st.integers(0x2000 << 112, (0x4000 << 112) - 1).map(IPv6Address)))
def test_what_is_public_here_is_public_to_the_standard_library_too(address: IPv4Address | IPv6Address) -> None:
    if private(address) is None:
        assert address.is_global
        assert not address.is_multicast
        assert not address.is_reserved


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("cdn.example.org", "cdn.example.org"),
        ("CDN.Example.ORG.", "cdn.example.org"),
        ("localhost", "localhost"),
        ("s3-eu_1.a--b.example", "s3-eu_1.a--b.example"),
        ("xn--bcher-kva.example", "xn--bcher-kva.example"),
        ("1and1.com", "1and1.com"),
        ("1.2.3.com", "1.2.3.com"),
        ("0xa.example", "0xa.example"),
        ("127.0.0.1", IPv4Address("127.0.0.1")),
        ("::FFFF:127.0.0.1", IPv6Address("::ffff:7f00:1")),
    ],
)
def test_hosts(text: str, found: object) -> None:
    assert host(text) == found


@pytest.mark.parametrize(
    "text",
    [
        "",
        ".",
        "a..b",
        "a b",
        "%31%32%37.0.0.1",
        "127.1",
        "127.0.0.01",
        "0177.0.0.1",
        "0x7f.0.0.1",
        "0x7f.1",
        "0x7f000001",
        "0x",
        "2130706433",
        "017700000001",
        "0",
        "1.2.3",
        "1.2.3.4.5",
        "1.2.3.4.",
        "256.1.1.1",
        "evil.example.127",
        "evil.0x7f",
        "٣.1",
        "fe80::1%eth0",
        "fe80::1%25eth0",
        ":::",
        "v1.a:b",
        "a" * 64,
        "a." * 127 + "a",
        "bücher.example",
        "h\n",
        "user@h",
    ],
)
def test_what_is_no_host(text: str) -> None:
    with pytest.raises(ValueError, match=r".*"):
        host(text)


@given(st.text(alphabet="0123456789abcdefx.:%-_ \n", max_size=30))
def test_a_name_is_never_what_the_c_library_takes_for_an_address(text: str) -> None:
    with suppress(ValueError):
        found = host(text)
        if isinstance(found, str):
            with pytest.raises(OSError, match="illegal IP address"):
                socket.inet_aton(found)
        else:
            assert ip_address(text) == found


@pytest.mark.parametrize(
    ("entry", "host_text", "port", "allowed"),
    [
        ("minio", "minio", 9000, True),
        ("MinIO.", "minio", 80, True),
        ("minio:9000", "minio", 9000, True),
        ("minio:9000", "minio", 80, False),
        ("minio", "minio.example", 80, False),
        ("example.org", "cdn.example.org", 80, False),
        ("127.0.0.1", "127.0.0.1", 1, True),
        ("127.0.0.1", "127.0.0.2", 1, False),
        ("127.0.0.1", "localhost", 1, False),
        ("localhost", "127.0.0.1", 1, False),
        ("127.0.0.1", "::ffff:127.0.0.1", 1, False),
        ("127.0.0.1:8080", "127.0.0.1", 8080, True),
        ("127.0.0.1:8080", "127.0.0.1", 8081, False),
        ("::1", "0:0::1", 80, True),
        ("[::1]", "::1", 80, True),
        ("[::1]:8080", "::1", 8080, True),
        ("[::1]:8080", "::1", 80, False),
    ],
)
def test_allowed_hosts(entry: str, host_text: str, port: int, allowed: bool) -> None:
    assert AllowedHosts(["other.example", entry]).allow(host(host_text), port) is allowed
    assert not AllowedHosts().allow(host(host_text), port)


@pytest.mark.parametrize(
    "entry",
    [
        "",
        " a",
        "http://a",
        "a/b",
        "*.example.org",
        "10.0.0.0/8",
        "a:0",
        "a:65536",
        "a:b",
        "a:",
        "[a]:1",
        "[::1",
        "127.1",
        "[::1]:",
    ],
)
def test_an_entry_that_is_no_host(entry: str) -> None:
    with pytest.raises(ValueError, match="is no host"):
        AllowedHosts([entry])
