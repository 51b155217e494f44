"""The one Django app of the demo site: photos, newsletters, reports, exchange rates, reminders."""
