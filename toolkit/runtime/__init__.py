"""Running a submission as its evaluator would: sandbox, environments, checks, seconds and
memory."""
