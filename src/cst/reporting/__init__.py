"""Run folders to reports: files in, tables, figures and text out."""
