"""Pages from templates: what is not given fails, and what is given is never taken for HTML."""

from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined


def rendered(package: str, template: str, **content: Any) -> str:
    """A template of the folder ``templates`` of a package, filled in."""
    loader = PackageLoader(package)
    environment = Environment(
        loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    return environment.get_template(template).render(**content)
