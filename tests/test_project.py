"""The files around the code agree with each other: pyproject.toml, constraints.txt, Makefile."""

import re
import subprocess
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
RUNTIME = [Requirement(line) for line in PROJECT["dependencies"]]
EXTRAS = [Requirement(line) for lines in PROJECT["optional-dependencies"].values() for line in lines]


@pytest.fixture(scope="module")
def pins():
    """Canonical name -> pinned version."""
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pairs = [line.split("==") for line in lines if line and not line.startswith("#")]
    return {canonicalize_name(name): version for name, version in pairs}


@pytest.mark.parametrize("requirement", RUNTIME + EXTRAS, ids=lambda requirement: requirement.name)
def test_direct_dependency_is_pinned_within_its_range(requirement, pins):
    version = pins.get(canonicalize_name(requirement.name))
    assert version is not None, f"constraints.txt has no pin for {requirement.name}"
    assert version in requirement.specifier


def test_constraints_fit_every_platform(pins):
    assert [name for name in pins if name.startswith(("nvidia-", "cuda-", "triton"))] == []


def test_omegaconf_stays_below_what_breaks_hydra():
    (omegaconf,) = [requirement for requirement in RUNTIME if requirement.name == "omegaconf"]
    assert "2.3.1" in omegaconf.specifier
    assert "2.4.0" not in omegaconf.specifier


def test_bare_make_lists_every_target():
    phony = re.search(r"^\.PHONY: (.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert phony is not None
    # within `make test` this make is a nested one, which would announce its directory
    answer = subprocess.run(["make", "--no-print-directory"], cwd=ROOT, capture_output=True, text=True, check=True)
    listed = re.findall(r"^  ([a-z0-9-]+) +\S", answer.stdout, re.MULTILINE)
    assert listed == phony[1].split()


@pytest.mark.parametrize("page", ["README.md", "CONTRIBUTING.md", *(f"docs/{p.name}" for p in ROOT.glob("docs/*.md"))])
def test_what_a_page_links_to_is_there(page):
    links = re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", (ROOT / page).read_text())
    assert [link for link in links if not (ROOT / page).parent.joinpath(link).exists()] == []
