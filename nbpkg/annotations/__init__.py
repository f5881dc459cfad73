"""Annotation files to tables: readers, interval algebra, agreement between raters."""
