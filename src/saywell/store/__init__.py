"""The study folder: manifest, tables, arrays, lock."""
