"""Answers to GSM8K and MBPP: which are right, and what a program may do."""

import pytest

from meltpoint.evaluations._generation import gsm8k, mbpp, sandbox

LABEL = "She has 16 - 3 = <<16-3=13>>13 eggs.\n#### 1,018"


@pytest.mark.parametrize(
    ("text", "right"),
    [
        (" It is so. The answer is 1018.\n\nQuestion: 7", True),
        ("The answer is $1,018.00.", True),
        ("The answer is: 1018", True),
        ("The answer is 1018 dollars.", False),
        ("So \\boxed{1018} it is", True),
        ("$\\boxed{10\\text{ }18}$ or The answer is 7.", True),
        ("first 5, then 1,018 eggs", True),
        ("first 1018, then 5 eggs", False),
        ("nothing", False),
        ("", False),
        ("\n\nThe answer is 1018.\n\nThe answer is 5.", True),
    ],
)
def test_the_number_of_an_answer_is_compared(text, right):
    assert gsm8k.is_right(text, LABEL) == right


def test_the_prompt_has_eight_shots():
    prompt = gsm8k.prompt("How many?")
    assert prompt.count("Question: ") == 9
    assert prompt.count("The answer is ") == 8
    assert prompt.endswith("The answer is 8.\n\nQuestion: How many?\nAnswer:")


PROBLEM = {"test_list": ["assert f(2) == 4"], "test_setup_code": ""}
CODE = "def f(x):\n    return x * x"


@pytest.mark.parametrize(
    ("answer", "passes"),
    [
        (f"{CODE}\n[DONE]\n\nYou are", True),
        (f"Here:\n```python\n{CODE}\n```\nwhich squares", True),
        (f"{CODE}\r\n\r\nif __name__ == '__main__':\n    raise SystemExit", True),
        (f"{CODE}\n# Example usage\nf(", True),
        ("def f(x):\n    return x", False),
        ("", False),
        ("import sys\nsys.exit(0)", False),
        ("import os\nos._exit(0)", False),
    ],
)
def test_a_program_passes_that_passes_its_tests(answer, passes):
    assert sandbox.passes(mbpp.program_of(answer, PROBLEM), 5.0) == passes


@pytest.mark.parametrize(
    "program",
    [
        "while True: pass",
        "import time; time.sleep(60)",
        "x = 'a' * (1 << 31)",
        "open('x', 'w').write('a' * (1 << 22))",
        "import socket; socket.socket()",
        "import os; os.system('true')",
        "import subprocess; subprocess.run(['true'])",
        "import os; os.fork()",
        "import ctypes; ctypes.CDLL(None)",
        "input()",
    ],
)
def test_a_program_is_stopped_that_goes_beyond_its_limits(program):
    assert not sandbox.passes(program, 1.0)


def test_a_program_changes_no_file_outside_its_folder(tmp_path):
    file = tmp_path / "kept"
    file.write_text("before")
    for call in (f"open({str(file)!r}, 'w')", f"import os; os.remove({str(file)!r})"):
        assert not sandbox.passes(call, 5.0)
    assert file.read_text() == "before"
    assert sandbox.passes("open('own', 'w').write('x'); assert open('own').read() == 'x'", 5.0)
