"""Faults to be planted: what is changed to what, what is spared, and which ones make the sample."""

from pathlib import Path

from benchmarks import mutants
from benchmarks.mutants import Fault

TEXT = '''"""Not 1 and 2."""
from typing import Annotated

def f(x: Annotated[int, Bound(0)], y: float = 0.5, *, z: bool = True) -> "3 < 4":
    """Not 5."""
    if x < 6 and not z:  # ±7
        raise ValueError("é", 8)
    print(f"{x + 9}", min(y, x), y / "name", key=max)
    return x - y
'''
EXPECTED = {
    (4, "0", "1"),
    (4, "0", "-1"),
    (4, "0.5", "1.0"),
    (4, "0.5", "0.25"),
    (4, "True", "False"),
    (6, "<", "<="),
    (6, "6", "7"),
    (6, "6", "5"),
    (6, "and", "or"),
    (6, "not", ""),
    (6, "x < 6 and not z", "not (x < 6 and not z)"),
    (8, "min", "max"),
    (8, 'print(f"{x + 9}", min(y, x), y / "name", key=max)', "pass"),
    (9, "-", "+"),
    (9, "x - y", "-(x - y)"),
}


def test_code_is_changed_and_texts_types_and_errors_are_not() -> None:
    found = mutants.faults("src/x.py", TEXT)
    assert {(fault.line, fault.old, fault.new) for fault in found} == EXPECTED
    assert len(found) == len(EXPECTED)
    for fault in found:
        changed = fault.planted(TEXT)
        assert len(changed) == len(TEXT) + len(fault.new) - len(fault.old)
        assert changed.splitlines()[: fault.line - 1] == TEXT.splitlines()[: fault.line - 1]
        assert fault.new in changed.splitlines()[fault.line - 1]


def test_a_sample_takes_as_many_faults_of_each_module_and_others_with_another_seed(tmp_path: Path) -> None:
    for name in ("a", "b", "core/c"):
        path = tmp_path / "src" / f"{name}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(f"x{number} = {number}\n" for number in range(2, 30)))
    (tmp_path / "src" / "d.py").write_text("x = True\n")
    found = mutants.sample(tmp_path, 10, seed=0)
    names = [fault.file for fault in found]
    assert {name: names.count(name) for name in names} == {
        "src/a.py": 3,
        "src/b.py": 3,
        "src/core/c.py": 3,
        "src/d.py": 1,
    }
    assert found == mutants.sample(tmp_path, 10, seed=0)
    assert found[:4] == mutants.sample(tmp_path, 4, seed=0)
    assert set(found) != set(mutants.sample(tmp_path, 10, seed=1))
    (tmp_path / "src" / "a.py").write_text("x = 5\n")
    others = [fault for fault in mutants.sample(tmp_path, 100, seed=0) if fault.file == "src/b.py"]
    assert others[:3] == [fault for fault in found if fault.file == "src/b.py"]
    assert Fault("src/a.py", 1, 4, "5", "6") in mutants.sample(tmp_path, 100, seed=0)
