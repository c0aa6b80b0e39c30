"""Which of the project's modules a module imports."""

import ast
from pathlib import Path

SRC = Path(__file__).parents[1] / "src"


def imported_files(module: str) -> set[str]:
    """The files of ``module`` and of every project module it imports, directly or not, relative to the root.

    Packages' __init__ files are left out: they hold a docstring alone.
    """
    files: set[str] = set()
    todo = [module]
    while todo:
        path = SRC / (todo.pop().replace(".", "/") + ".py")
        if not path.exists() or str(path.relative_to(SRC.parent)) in files:
            continue
        files.add(str(path.relative_to(SRC.parent)))
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("mnist_gan"):
                todo += [node.module, *(f"{node.module}.{name.name}" for name in node.names)]
    return files
