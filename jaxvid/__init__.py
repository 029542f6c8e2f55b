"""jaxvid."""
