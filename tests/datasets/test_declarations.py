import dataclasses
import json
import subprocess
import sys
import textwrap
from pathlib import Path
from types import ModuleType

import pytest

from chorale.datasets import features, plugins
from chorale.datasets.declarations import read_declarations
from chorale.datasets.errors import UserError
from chorale.lightning_models import architectures
from chorale.search.config.space import DECLARED_NAMES

LOOK = """
import json, sys
from chorale.datasets import features, plugins
from chorale.datasets.declarations import read_declarations
from chorale.lightning_models import architectures
from chorale.search.config.space import DECLARED_NAMES
of = {"architecture": (architectures, DECLARED_NAMES), "feature set": (features, ["Config"])}
package, names = of[sys.argv[1]]
found = {}
for name in plugins.plugin_names(package):
    made = read_declarations(package, name, kind="plug-in", names=names)
    known = {n: repr(getattr(made, n)) for n in names if hasattr(made, n) and n.isupper()}
    found[name] = known | {"fields": list(made.Config.__dataclass_fields__)}
heavy = [name for name in ("torch", "torchvision", "scipy", "numba") if name in sys.modules]
print(json.dumps([found, heavy]))
"""


def look(kind: str) -> tuple[dict[str, dict[str, object]], list[str]]:
    done = subprocess.run(
        [sys.executable, "-c", LOOK, kind], capture_output=True, text=True, check=True
    )
    found, heavy = json.loads(done.stdout)
    return found, heavy


def test_architecture_declarations_equal_the_module_without_importing_pytorch() -> None:
    found, heavy = look("architecture")
    assert heavy == []
    assert found.keys() == set(plugins.plugin_names(architectures))
    for name, seen in found.items():
        module = plugins.load_plugin(architectures, name, kind="architecture")
        upper = [n for n in DECLARED_NAMES if n.isupper() and hasattr(module, n)]
        want = {n: repr(getattr(module, n)) for n in upper}
        assert seen == want | {"fields": [f.name for f in dataclasses.fields(module.Config)]}


def test_feature_set_declarations_equal_the_module_without_importing_scipy() -> None:
    found, heavy = look("feature set")
    assert heavy == []
    for name, seen in found.items():
        module = plugins.load_plugin(features, name, kind="feature set")
        assert seen["fields"] == [f.name for f in dataclasses.fields(module.Config)]


@pytest.fixture
def package(tmp_path: Path) -> ModuleType:
    made = ModuleType("some_package")
    made.__path__ = [str(tmp_path)]
    return made


def write(package: ModuleType, name: str, text: str) -> None:
    Path(package.__path__[0], f"{name}.py").write_text(textwrap.dedent(text))


def test_statements_that_modify_a_declaration_are_executed_too(package: ModuleType) -> None:
    write(
        package,
        "one",
        """
        import no_such_module
        from math import pi, tau

        SIZES = [1, 2]
        SIZES.append(3)
        SPACE = {"n": SIZES}
        if pi < tau:
            SPACE["m"] = [pi]

        class Network(no_such_module.Module):
            SPACE = None
        """,
    )
    made = read_declarations(package, "one", kind="thing", names=["SPACE"])
    assert made.SPACE["n"] == [1, 2, 3]
    assert len(made.SPACE) == 2


def test_a_field_does_not_keep_an_import_of_the_same_name(package: ModuleType) -> None:
    write(
        package,
        "two",
        """
        from dataclasses import dataclass
        from no_such_module import dense

        @dataclass
        class Config:
            dense: int = 1
        """,
    )
    assert read_declarations(package, "two", kind="thing", names=["Config"]).Config().dense == 1


def test_an_unknown_plugin_suggests_the_nearest(package: ModuleType) -> None:
    write(package, "three", "SPACE = 1")
    with pytest.raises(UserError, match="unknown thing 'tree'; did you mean 'three'"):
        read_declarations(package, "tree", kind="thing", names=["SPACE"])
