"""Pixel operations: schema, validation, execution. One file per operation."""
