"""An app without tasks."""

from talo import Talo

app = Talo("nothing", set_as_current=False)
