"""Parts that use the core and that the core never imports."""
