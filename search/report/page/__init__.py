"""The HTML report page: templates, and the texts, numbers and figures that fill them."""
