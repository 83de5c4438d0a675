"""The package's code, read: nothing is unpickled or evaluated, no shell is started, no network is served."""

import ast
from pathlib import Path

import pytest

import concertdeblur

PACKAGE = Path(concertdeblur.__file__).parent
_MODULES = frozenset({"pickle", "cPickle", "_pickle", "dill", "cloudpickle", "joblib", "marshal", "shelve", "pty",
                      "commands", "telnetlib", "ftplib", "xmlrpc"})  # fmt: skip
_BUILTINS = frozenset({"eval", "exec", "compile", "__import__", "execfile"})
_CALLS = frozenset(
    {"os.system", "os.popen", "os.execl", "os.execv", "os.execvp", "os.spawnl", "os.spawnv", "os.startfile",
     "subprocess.getoutput", "subprocess.getstatusoutput", "asyncio.create_subprocess_shell", "torch.load",
     "torch.save", "torch.hub.load", "torch.jit.load", "yaml.load", "yaml.unsafe_load", "tempfile.mktemp",
     "shutil.unpack_archive", "numpy.load", "np.load", "pandas.read_pickle"}
)  # fmt: skip
_STARTERS = frozenset({"run", "Popen", "call", "check_call", "check_output"})


def dotted(node: ast.expr) -> str:
    """A name with its modules, as `os.path.join`; empty for what has none."""
    if isinstance(node, ast.Attribute):
        above = dotted(node.value)
        return f"{above}.{node.attr}" if above else ""
    return node.id if isinstance(node, ast.Name) else ""


def faults(source: str) -> list[str]:
    """What must not stand in a module, each with its line."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import | ast.ImportFrom):
            names = [node.module or ""] if isinstance(node, ast.ImportFrom) else [alias.name for alias in node.names]
            found += [f"{node.lineno}: imports {name}" for name in names if name.split(".")[0] in _MODULES]
            if isinstance(node, ast.ImportFrom):
                full = [f"{node.module}.{alias.name}" for alias in node.names]
                found += [f"{node.lineno}: imports {name}" for name in full if name in _CALLS]
        if isinstance(node, ast.Constant) and node.value in ("0.0.0.0", "::"):  # noqa: S104 - what is looked for
            found.append(f"{node.lineno}: serves every network")
        if isinstance(node, ast.Call):
            found += [f"{node.lineno}: {what}" for what in _in_call(node)]
    return found


def _in_call(node: ast.Call) -> list[str]:
    name, keys = dotted(node.func), {word.arg: word.value for word in node.keywords}
    found = [f"calls {name}"] if name in _CALLS | _BUILTINS else []
    for key in ("shell", "allow_pickle", "executable", "preexec_fn"):
        value = keys.get(key)
        if value is not None and not (isinstance(value, ast.Constant) and value.value is False):
            found.append(f"{name} with {key}")
    starts = name.startswith("subprocess.") and name.rpartition(".")[2] in _STARTERS
    if starts and node.args and isinstance(node.args[0], ast.Constant | ast.JoinedStr):
        found.append(f"{name} of one text instead of a list")
    return found


@pytest.mark.parametrize(
    "source",
    ["import pickle", "from pickle import loads", "import torch\ntorch.load('x')", "eval('1')",
     "import os\nos.system('ls')", "import subprocess\nsubprocess.run(x, shell=True)", "from os import system",
     "import subprocess\nsubprocess.run('ls')", "import numpy as np\nnp.load('x', allow_pickle=True)",
     "serve('0.0.0.0')"],
)  # fmt: skip
def test_the_reader_sees_what_it_is_for(source: str) -> None:
    assert faults(source)


def test_no_module_of_the_package_has_any() -> None:
    paths = sorted(PACKAGE.rglob("*.py"))
    assert len(paths) > 100
    found = [
        f"{path.relative_to(PACKAGE)}:{fault}" for path in paths for fault in faults(path.read_text(encoding="utf-8"))
    ]
    assert found == []
