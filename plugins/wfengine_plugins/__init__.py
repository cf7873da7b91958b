"""The event plugins that come with wfengine."""
