"""The app when the move is done, with Talo's own defaults: at least once, dead letters, 9 is the most urgent."""

from talo import Talo

app = Talo("shop")
app.config_from_object("shop.celeryconfig")
app.conf.task_cutover = ()
app.conf.task_routes = None
