"""Is the package what it says: stubs of today, checked types, quick to import, and nothing but Python in it?"""

import os
import pathlib
import re
import subprocess
import sys
import zipfile

import pytest

HERE = pathlib.Path(__file__).resolve().parents[1]
sys.path.insert(0, str(HERE))

import generate  # noqa: E402


def test_stubs_are_what_proto_says(tmp_path):
    names = generate.generate(tmp_path)
    committed = sorted(path.relative_to(HERE / "src") for path in (HERE / "src").glob("tidewater/*/v1/*.py*") if path.suffix != ".pyc")
    assert committed == names
    different = [str(name) for name in names if (tmp_path / name).read_text() != (HERE / "src" / name).read_text()]
    assert not different, f"{different}: run `python clients/python/generate.py`"


def test_types_hold(tmp_path):
    command = [sys.executable, "-m", "mypy", "--config-file", "pyproject.toml", "--cache-dir", tmp_path]
    found = subprocess.run(command, cwd=HERE, capture_output=True, text=True, timeout=300)
    assert found.returncode == 0, found.stdout + found.stderr


def test_every_name_is_there():
    import tidewater

    assert all(getattr(tidewater, name) is not None for name in tidewater.__all__)
    assert set(tidewater.__all__) <= set(dir(tidewater))
    with pytest.raises(AttributeError):
        _ = tidewater.nothing


def imported_by(statement: str) -> set[str]:
    program = f"import sys\n{statement}\nprint(*sorted(name.partition('.')[0] for name in sys.modules))"
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    return set(found.stdout.split())


def test_what_is_not_used_is_not_imported():
    heavy = {"adbc_driver_flightsql", "adbc_driver_manager", "grpc", "pandas", "polars", "pyarrow", "sqlalchemy"}
    assert not imported_by("import tidewater") & heavy
    assert imported_by("from tidewater import Producer, AsyncProducer, replay") & heavy == {"grpc"}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "--wheel-dir", folder, HERE]
    subprocess.run(command, check=True, timeout=120, env={**os.environ, "PIP_DISABLE_PIP_VERSION_CHECK": "1"})
    (made,) = folder.glob("*.whl")
    return made


def test_the_wheel_is_pure(wheel):
    assert re.fullmatch(r"tidewater_client-[\d.]+-py3-none-any\.whl", wheel.name)
    names = set(zipfile.ZipFile(wheel).namelist())
    assert {
        "tidewater/py.typed",
        "tidewater/ingest/v1/ingest_pb2.py",
        "tidewater/ingest/v1/ingest_pb2.pyi",
        "tidewater/testing.py",
    } <= names
    assert not [name for name in names if re.search(r"\.so$|\.pyc$|tests?/|\.proto$", name)]


def test_the_wheel_of_the_program_has_other_names(wheel):
    """`tidewater` is the wheel with the server, which has nothing to import; both may be installed."""
    program = HERE.parents[1] / "scripts" / "package" / "wheel.py"
    assert '("Name", "tidewater")' in program.read_text() and "tidewater-{version}.data/scripts/tidewater" in program.read_text()
    metadata = zipfile.ZipFile(wheel).read(f"{'-'.join(wheel.name.split('-')[:2])}.dist-info/METADATA").decode()
    assert "\nName: tidewater-client\n" in metadata
    assert not [name for name in zipfile.ZipFile(wheel).namelist() if "/scripts/" in name or name.endswith("entry_points.txt") and
                b"console_scripts" in zipfile.ZipFile(wheel).read(name)]  # fmt: skip


def test_the_version_is_that_of_the_workspace():
    import tidewater

    (workspace,) = re.findall(r'^version = "(.+)"$', (HERE.parents[1] / "Cargo.toml").read_text(), re.MULTILINE)[:1]
    (package,) = re.findall(r'^version = "(.+)"$', (HERE / "pyproject.toml").read_text(), re.MULTILINE)
    assert tidewater.__version__ == package == workspace
