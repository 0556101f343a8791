"""How Sphinx builds these pages: python -m sphinx -W docs docs/_build."""

import os

from skvae import __version__

os.environ.setdefault("OMP_NUM_THREADS", "1")

project = "skvae"
author = "The skvae developers"
copyright = f"2026, {author}"
release = version = __version__

extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.mathjax",
    "numpydoc",
    "myst_parser",
    "sphinx_gallery.gen_gallery",
]
exclude_patterns = ["_build", "auto_examples/*.ipynb", "sg_execution_times.rst"]
default_role = "literal"
templates_path = ["_templates"]

numpydoc_show_class_members = False
autosummary_generate = True

sphinx_gallery_conf = {
    "examples_dirs": "../examples",
    "gallery_dirs": "auto_examples",
    "filename_pattern": "plot_",
    "within_subsection_order": "FileNameSortKey",
    "show_memory": False,
    "download_all_examples": False,
}

html_theme = "pydata_sphinx_theme"
html_title = "skvae"
html_theme_options = {
    "navbar_end": ["theme-switcher"],
    "show_prev_next": False,
    "secondary_sidebar_items": ["page-toc"],
    "footer_start": ["copyright"],
    "footer_end": [],
}
# These pages have no pages below them.
html_sidebars = {
    page: [] for page in ("index", "getting_started", "add_a_likelihood", "architecture")
}
html_static_path = ["_static"]
html_css_files = ["wide.css"]
html_show_sourcelink = False
