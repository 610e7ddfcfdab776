"""The process that runs the commander's workflows and activities."""
