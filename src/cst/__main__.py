"""`python -m cst` is the command line; `torchrun -m cst train RECIPE` needs it."""

from cst.cli import main

main()
