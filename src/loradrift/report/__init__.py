"""What a reader sees: figures made of tables, one HTML page, its PDF."""
