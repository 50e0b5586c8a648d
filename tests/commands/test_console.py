import pytest

from compfeat.commands.console import console, print_table


@pytest.mark.parametrize("name", ["run [v1]", "x[/y]", "[bold]", "a:car:b"])
def test_paths_and_names_are_printed_as_they_are(name):
    with console.capture() as printed:
        console.print(f"results in {name}", soft_wrap=True)
        print_table("AP by class", {name: 0.5})
    assert [name in line for line in printed.get().splitlines()].count(True) == 2
