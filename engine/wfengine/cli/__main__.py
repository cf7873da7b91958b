"""``python -m wfengine.cli`` is the ``wfengine`` command."""

from wfengine.cli import main

main()
