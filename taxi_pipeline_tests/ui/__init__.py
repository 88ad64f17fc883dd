"""Browser tests: what people see and do in Dagster's UI, in Chromium on a real platform."""
