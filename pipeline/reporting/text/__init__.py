"""Sentences, numbers and tables of text."""
