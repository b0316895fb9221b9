"""Weights, adapters, and messages as tokens."""

import logging

# Where bitsandbytes is installed, peft imports it, and it tells of a kernel that nobody asked for; 8-bit layers tell in
# each forward pass that they round their input, which is their method.
logging.getLogger("bitsandbytes").setLevel(logging.ERROR)
