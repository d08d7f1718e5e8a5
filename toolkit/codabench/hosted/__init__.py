"""The programs and pages that `cbtool bundle` puts into a competition: CodaBench runs them, nothing
here does."""
