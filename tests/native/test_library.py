"""Building, finding and refusing the library."""

import jax
import pytest

from sparsesolve import _native
from sparsesolve._native import _build, _load


@pytest.fixture
def fresh_library():
    _load.library.cache_clear()
    yield
    _load.library.cache_clear()


def test_status_is_one_line():
    line = _native.status()
    assert line.startswith("native CPU kernels: ") and "\n" not in line
    assert ("active" in line) == _native.available()


def test_turned_off_by_the_environment(monkeypatch):
    monkeypatch.setenv("SPARSESOLVE_NATIVE", "0")
    assert not _native.available()
    assert "SPARSESOLVE_NATIVE=0" in _native.status()


def test_not_on_other_devices(monkeypatch):
    monkeypatch.delenv("SPARSESOLVE_NATIVE", raising=False)
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    assert not _native.available() and "gpu" in _native.status()


def test_reasons_for_absence(monkeypatch, tmp_path, fresh_library):
    monkeypatch.delenv("SPARSESOLVE_NATIVE", raising=False)
    monkeypatch.setattr(_build, "HERE", tmp_path)
    assert "not compiled; run python -m sparsesolve._native" in _native.status()
    (tmp_path / "_kernels-ffi99.0.so").write_bytes(b"")
    _load.library.cache_clear()
    assert "newer jaxlib" in _native.status()
    (tmp_path / "_kernels-ffi0.1.so").write_bytes(b"not a library")
    _load.library.cache_clear()
    assert "off, " in _native.status() and not _native.available()
    with pytest.raises(RuntimeError, match="backend='portable'"):
        _load.require()


def test_the_library_of_an_older_interface_is_found(monkeypatch, tmp_path):
    monkeypatch.setattr(_build, "HERE", tmp_path)
    major, minor = _build.interface_version()
    for version in ((0, 1), (0, 2), (major, minor + 1)):
        (tmp_path / _build.library_name(version)).write_bytes(b"")
    assert _load._find().name == "_kernels-ffi0.2.so"


def test_building_without_a_compiler_says_so(monkeypatch, tmp_path):
    monkeypatch.setenv("CXX", "no-such-compiler")
    with pytest.raises(_build.BuildError, match="no C\\+\\+ compiler"):
        _build.build(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_failing_compiler_leaves_nothing(monkeypatch, tmp_path):
    monkeypatch.setenv("CXX", "false")
    with pytest.raises(_build.BuildError, match="the compiler failed"):
        _build.build(tmp_path)
    assert list(tmp_path.iterdir()) == []
