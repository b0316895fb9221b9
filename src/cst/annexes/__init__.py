"""Parts that stand beside the method: annexes use the core, and the core never imports them."""
