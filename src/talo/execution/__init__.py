"""The rules of running one task: request, plan, run, outcome, settlement. Nothing here imports the app."""
