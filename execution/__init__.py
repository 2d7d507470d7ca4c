"""From a document's text to a result. Knows nothing of billing."""
