"""How the miniature that ships with cst was made, and how it is measured: documents, pretraining, and the study.

This folder is of the repository and not of the installed package; `cst miniature pretrain` finds it in a checkout.
"""
