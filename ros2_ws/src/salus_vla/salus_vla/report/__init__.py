"""Pictures made from recorded bags."""
