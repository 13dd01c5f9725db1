"""How many small faults in src/ the quick tests notice: planted one at a time in a copy of the project.

Command: python -m benchmarks.mutants

A fault is an operator turned, a number changed, a condition negated, a call left out and the like. It meets
the test files that import its module and, if they pass, those that reach the module through others. Prints
the faults that no test noticed. The same command goes on where it was cut off; with --again, these meet the
tests as they are now.
"""

import argparse
import ast
import importlib
import io
import keyword
import multiprocessing
import os
import random
import re
import shutil
import signal
import sys
import tempfile
import tokenize
from collections.abc import Iterator, Sequence
from contextlib import suppress
from functools import cache
from itertools import accumulate, zip_longest
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from tqdm import tqdm

from src.core import files, git, stage
from src.core.errors import PipelineError

SWAPS = {"==": "!=", "is": "is not", "in": "not in", "and": "or", "+": "-", "*": "/", "+=": "-=", "*=": "/="}
SWAPS |= {"min": "max", "any": "all", "argmin": "argmax", "amin": "amax", "floor": "ceil", "True": "False"}
SWAPS |= {new: old for old, new in SWAPS.items()}
SWAPS |= {"<": "<=", "<=": "<", ">": ">=", ">=": ">"}
SWAPS |= {"//": "/", "%": "*", "**": "*", "not": "", "mean": "sum"}
OPERAND = (tokenize.NAME, tokenize.NUMBER)
SECONDS = 120  # for one test: one that takes longer has noticed a fault
COLUMNS = ["file", "line", "start", "old", "new", "verdict", "by"]


class Fault(NamedTuple):
    """A change at character `start` of a file, in line `line`."""

    file: str
    line: int
    start: int
    old: str
    new: str

    def planted(self, whole: str) -> str:
        """The file's text with the fault in it."""
        return whole[: self.start] + self.new + whole[self.start + len(self.old) :]


def main(argv: Sequence[str] | None = None) -> None:
    """Plants the faults of a sample, and prints those that no test noticed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.mutants", description=__doc__)
    parser.add_argument("--count", type=int, default=200, help="faults to plant, spread evenly over modules")
    parser.add_argument("--seed", type=int, default=0, help="chooses them")
    parser.add_argument("--again", action="store_true", help="copy the project anew, try survivors again")
    folder = Path(tempfile.gettempdir(), "mutants")
    parser.add_argument("--output", type=Path, default=folder, help="where the copy and verdicts.csv lie")
    args = parser.parse_args(argv)
    output = args.output.resolve()
    tree, table = output / "tree", output / "verdicts.csv"
    known = [tuple(row.values()) for row in files.read_csv(table)] if table.is_file() else []
    if args.again or not (output / "src").is_dir():
        known = [row for row in known if row[5] != "survived"]
        copy(Path.cwd(), output)
    shutil.copytree(output / "src", tree / "src", dirs_exist_ok=True)  # a killed run leaves its fault there
    source, tests = load(tree)
    if args.again or not known:
        print("all tests, without any fault", file=sys.stderr)
        verdict, by = run(tree, tests)
        if verdict != "survived":
            raise PipelineError(f"{by} fails without any fault: {verdict}, see {output}/last.log")
    found, chosen = {row[:5]: row[5:] for row in known}, sample(tree, args.count, args.seed)
    for fault in tqdm(chosen, desc="faults", unit="fault"):
        if (key := tuple(map(str, fault))) not in found:
            found[key] = attempt(fault, tree, source, tests)
            files.write_csv(table, COLUMNS, [(*key, *result) for key, result in found.items()])
    verdicts = [found[tuple(map(str, fault))][0] for fault in chosen]
    for fault, verdict in zip(chosen, verdicts, strict=True):
        if verdict == "survived":
            line = (tree / fault.file).read_text(encoding="utf-8").splitlines()[fault.line - 1].strip()
            print(f"{fault.file}:{fault.line}: {fault.old!r} → {fault.new!r} in: {line}")
    counts = ", ".join(f"{verdicts.count(name)} {name}" for name in ("caught", "timed out", "survived"))
    print(f"{len(chosen)} faults of seed {args.seed}: {counts}")


def copy(root: Path, output: Path) -> None:
    """Copies the work tree, but for what git ignores, to a clone in `output`, and src once more."""
    tree = output / "tree"
    for old in (tree, output / "src"):
        shutil.rmtree(old, ignore_errors=True)
    git.ask("clone", "--quiet", "--shared", str(root), str(tree))
    listed = git.ask("ls-files", "-z", "--cached", "--others", "--exclude-standard")
    for name in listed.rstrip("\0").split("\0"):
        if (root / name).is_file():
            (tree / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(root / name, tree / name)
        else:
            (tree / name).unlink(missing_ok=True)
    shutil.copytree(tree / "src", output / "src")


def load(tree: Path) -> tuple[Any, list[Path]]:
    """tests/source.py and all test files of a copy. Torch and all else that src imports is loaded, too."""
    sys.path[:0] = [str(tree), str(tree / "tests")]
    source: Any = importlib.import_module("source")
    source.own_imports = cache(source.own_imports)
    for name in source.modules("src"):
        importlib.import_module(name)
    return source, sorted((tree / "tests").glob("test_*.py"))


def attempt(fault: Fault, tree: Path, source: Any, tests: Sequence[Path]) -> tuple[str, str]:
    """Plants a fault, runs the tests of its module, and takes it out: the verdict, and the test behind it."""
    path, name = tree / fault.file, fault.file.removesuffix(".py").replace("/", ".")

    def reached(test: Path) -> set[str]:
        others = [tree / f"{other.replace('.', '/')}.py" for other in source.own_imports(test)]
        found: set[str] = source.reached(test)
        return found.union(*(source.reached(other) for other in others if other.is_file()))

    own = tree / f"tests/test_{path.stem}.py"  # first; then those that import least else
    near = [test for test in tests if name in source.own_imports(test) or test == own]
    near.sort(key=lambda test: (test != own, len(source.own_imports(test))))
    far = [test for test in tests if name in reached(test) and test not in near]
    far.sort(key=lambda test: len(reached(test)))
    whole = path.read_text(encoding="utf-8")
    path.write_text(fault.planted(whole), encoding="utf-8")
    try:
        verdict, by = run(tree, near)
        return run(tree, far) if verdict == "survived" else (verdict, by)
    finally:
        path.write_text(whole, encoding="utf-8")


def run(tree: Path, tests: Sequence[Path]) -> tuple[str, str]:
    """Runs test files until a test fails, in a process forked from this one: the verdict, and that test."""
    if not tests:
        return "survived", ""
    log = tree.parent / "last.log"
    process = multiprocessing.get_context("fork").Process(target=_pytest, args=(tree, tests, log))
    process.start()
    assert process.pid is not None
    try:
        process.join()
    finally:
        with suppress(ProcessLookupError):  # what the tests have started
            os.killpg(process.pid, signal.SIGKILL)
    if process.exitcode in (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED):
        return "survived", ""
    told = re.findall(r"^(?:FAILED|ERROR) (\S+)", log.read_text(errors="replace"), re.MULTILINE)
    verdict = "timed out" if process.exitcode == -signal.SIGALRM else "caught"
    return verdict, told[0] if told else f"exit code {process.exitcode}"


class _Alarm:
    """A plugin of pytest that ends the process when a test takes too long."""

    def pytest_runtest_setup(self) -> None:
        signal.alarm(SECONDS)


def _pytest(tree: Path, tests: Sequence[Path], log: Path) -> None:
    os.setsid()
    os.chdir(tree)
    with log.open("wb") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    own = ("src", "stages", "benchmarks", "conftest", "source")  # anew, with the fault
    for name in [name for name in sys.modules if name.split(".")[0] in own]:
        del sys.modules[name]
    sys.dont_write_bytecode = True  # the next fault must not meet the code of this one
    os.environ["PYTHONDONTWRITEBYTECODE"] = "1"
    signal.alarm(2 * SECONDS)  # to collect the tests
    quick = ["-m", "not smoke and not faults and not slow", "-p", "no:cacheprovider"]
    options = ["-x", "-q", *quick, "--basetemp", str(tree.parent / "temporary")]
    sys.exit(int(pytest.main([*options, *map(str, tests)], plugins=[_Alarm()])))


def sample(tree: Path, count: int, seed: int) -> list[Fault]:
    """Faults of all modules of src: one of each, a second one of each, and so on."""
    names = [path.relative_to(tree).as_posix() for path in sorted((tree / "src").rglob("*.py"))]
    found = {name: faults(name, (tree / name).read_text(encoding="utf-8")) for name in names}
    for name, each in found.items():
        random.Random(f"{seed} {name}").shuffle(each)  # the same, whatever other modules hold
    random.Random(seed).shuffle(names)
    turns = zip_longest(*(found[name] for name in names))
    return [fault for turn in turns for fault in turn if fault][:count]


def faults(file: str, text: str) -> list[Fault]:
    """All faults that may be planted in a file: none in asserts, errors and texts."""
    lines, tree = text.splitlines(keepends=True), ast.parse(text)
    starts = list(accumulate(map(len, lines), initial=0))

    def span(node: Any) -> range:
        ends = ((node.lineno, node.col_offset), (node.end_lineno, node.end_col_offset))
        return range(*(starts[row - 1] + len(lines[row - 1].encode()[:n].decode()) for row, n in ends))

    changes = [(starts[row - 1] + column, old, new) for row, column, old, new in _words(text)]
    for part, before in [one for node in ast.walk(tree) for one in _parts(node)]:
        old = text[span(part).start : span(part).stop]
        changes.append((span(part).start, old, f"{before}({old})" if before else "pass"))
    spared = [span(one) for one in ast.walk(tree) if isinstance(one, ast.Assert | ast.Raise | ast.JoinedStr)]
    found = []
    for place, old, new in changes:
        fault = Fault(file, text.count("\n", 0, place) + 1, place, old, new)
        if not any(place in one for one in spared):
            with suppress(SyntaxError):
                if ast.dump(ast.parse(fault.planted(text))) != ast.dump(tree):
                    found.append(fault)
    return found


def _words(text: str) -> Iterator[tuple[int, int, str, str]]:
    """Operators, numbers and names: line and column, and what takes whose place."""
    tokens = list(tokenize.generate_tokens(io.StringIO(text).readline))
    for before, token, after in zip(tokens, tokens[1:], tokens[2:], strict=False):
        word = token.string
        name = word.isidentifier() and not keyword.iskeyword(word)
        if token.type == tokenize.NUMBER:
            value = ast.literal_eval(word)
            for new in (value + 1, value - 1) if isinstance(value, int) else (2 * value or 1.0, value / 2):
                yield *token.start, word, str(new)
        elif word not in SWAPS or tokenize.STRING in (before.type, after.type):
            continue  # + and / join texts and paths
        elif word[0] in "*/" and not (before.type in OPERAND or before.string in (")", "]")):
            continue  # in front of arguments
        elif not name or after.string in ("(", "="):
            yield *token.start, word, SWAPS[word]


def _parts(node: ast.AST) -> list[tuple[ast.AST, str]]:
    """Conditions and results to be negated, with the sign; calls, without one, are left out."""
    match node:
        case ast.If(test=part) | ast.While(test=part) | ast.IfExp(test=part) | ast.comprehension(ifs=[part]):
            return [(part, "not ")]
        case ast.Return(value=ast.Compare() | ast.BoolOp() as part):
            return [(part, "not ")]
        case ast.Return(value=ast.BinOp() as part):
            return [(part, "-")]
        case ast.Expr(value=ast.Call()):
            return [(node, "")]
    return []


if __name__ == "__main__":
    stage.run(main)
