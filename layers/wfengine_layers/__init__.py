"""The layers that come with wfengine."""
